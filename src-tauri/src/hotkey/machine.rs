//! What a press and a release mean: pure, an input in, at most one output out.

use crate::api::HotkeyInput;

/// Follows the bound key, and takes the next one when a key is to be bound.
#[derive(Debug, Default)]
pub(super) struct Machine {
    /// Calls off the waiting for a key.
    escape: Option<HotkeyInput>,
    bound: Option<HotkeyInput>,
    held: bool,
    capturing: bool,
}

/// What happened.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Pressed(HotkeyInput),
    Released(HotkeyInput),
    Bind(Option<HotkeyInput>),
    Capture,
    CallOff,
    /// No release will be heard any more.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))] // The other source is never lost.
    Lost,
}

/// What it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Held(bool),
    Captured(Option<HotkeyInput>),
}

/// X11 buttons that a window cannot do without: left, right, and the wheel's four directions.
const NEEDED_BUTTONS: [u8; 6] = [1, 3, 4, 5, 6, 7];

impl Machine {
    pub(super) fn new(escape: Option<HotkeyInput>) -> Self {
        Self { escape, ..Self::default() }
    }

    pub(super) fn held(&self) -> bool {
        self.held
    }

    pub(super) fn step(&mut self, input: Input) -> Option<Output> {
        match input {
            Input::Pressed(input) if self.capturing => {
                if matches!(input, HotkeyInput::Button(button) if NEEDED_BUTTONS.contains(&button)) {
                    return None;
                }
                self.capturing = false;
                Some(Output::Captured((self.escape.as_ref() != Some(&input)).then_some(input)))
            }
            // A held key repeats: only its first press counts.
            Input::Pressed(input) => (self.bound == Some(input) && !self.held).then(|| self.hold(true)),
            Input::Released(input) => (self.bound == Some(input) && self.held).then(|| self.hold(false)),
            Input::Bind(bound) => {
                self.bound = bound;
                self.let_go()
            }
            Input::Capture => {
                self.capturing = true;
                self.let_go()
            }
            Input::CallOff => std::mem::take(&mut self.capturing).then_some(Output::Captured(None)),
            Input::Lost if self.capturing => {
                self.held = false;
                self.step(Input::CallOff)
            }
            Input::Lost => self.let_go(),
        }
    }

    fn let_go(&mut self) -> Option<Output> {
        self.held.then(|| self.hold(false))
    }

    fn hold(&mut self, held: bool) -> Output {
        self.held = held;
        Output::Held(held)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ESCAPE: HotkeyInput = HotkeyInput::Key(9);
    const F8: HotkeyInput = HotkeyInput::Key(74);
    const OTHER: HotkeyInput = HotkeyInput::Key(75);

    fn bound_to_f8() -> Machine {
        let mut machine = Machine::new(Some(ESCAPE));
        machine.step(Input::Bind(Some(F8)));
        machine
    }

    fn outputs(machine: &mut Machine, inputs: &[Input]) -> Vec<Output> {
        inputs.iter().filter_map(|input| machine.step(input.clone())).collect()
    }

    #[test]
    fn a_repeating_key_is_held_once() {
        let inputs = [Input::Pressed(F8), Input::Pressed(F8), Input::Pressed(F8), Input::Released(F8)];
        assert_eq!(outputs(&mut bound_to_f8(), &inputs), [Output::Held(true), Output::Held(false)]);
    }

    #[test]
    fn other_keys_do_not_matter() {
        let inputs = [Input::Pressed(OTHER), Input::Pressed(F8), Input::Released(OTHER), Input::Released(F8)];
        assert_eq!(outputs(&mut bound_to_f8(), &inputs), [Output::Held(true), Output::Held(false)]);
    }

    #[test]
    fn a_release_without_a_press_is_nothing() {
        assert_eq!(bound_to_f8().step(Input::Released(F8)), None);
    }

    #[test]
    fn a_key_that_can_no_longer_be_heard_is_let_go() {
        for ending in [Input::Lost, Input::Capture, Input::Bind(Some(OTHER)), Input::Bind(Some(F8))] {
            let mut machine = bound_to_f8();
            machine.step(Input::Pressed(F8));
            assert_eq!(machine.step(ending), Some(Output::Held(false)));
        }
    }

    #[test]
    fn the_next_key_is_taken_and_does_nothing_else() {
        let mut machine = bound_to_f8();
        let inputs = [Input::Capture, Input::Released(OTHER), Input::Pressed(F8), Input::Released(F8)];
        assert_eq!(outputs(&mut machine, &inputs), [Output::Captured(Some(F8))]);
    }

    #[test]
    fn escape_calls_off() {
        assert_eq!(
            outputs(&mut bound_to_f8(), &[Input::Capture, Input::Pressed(ESCAPE)]),
            [Output::Captured(None)]
        );
        assert_eq!(outputs(&mut bound_to_f8(), &[Input::Capture, Input::CallOff]), [Output::Captured(None)]);
        assert_eq!(bound_to_f8().step(Input::CallOff), None);
    }

    #[test]
    fn buttons_that_a_window_needs_are_not_taken() {
        let click = Input::Pressed(HotkeyInput::Button(1));
        let extra = Input::Pressed(HotkeyInput::Button(8));
        assert_eq!(
            outputs(&mut bound_to_f8(), &[Input::Capture, click, extra]),
            [Output::Captured(Some(HotkeyInput::Button(8)))]
        );
    }

    fn any_input() -> impl Strategy<Value = Input> {
        let key = prop_oneof![
            Just(ESCAPE),
            Just(F8),
            Just(OTHER),
            Just(HotkeyInput::Button(1)),
            Just(HotkeyInput::Button(8))
        ];
        prop_oneof![
            key.clone().prop_map(Input::Pressed),
            key.clone().prop_map(Input::Released),
            proptest::option::of(key).prop_map(Input::Bind),
            Just(Input::Capture),
            Just(Input::CallOff),
            Just(Input::Lost),
        ]
    }

    proptest! {
        #[test]
        fn presses_and_releases_alternate(inputs in prop::collection::vec(any_input(), 0..200)) {
            let mut machine = bound_to_f8();
            let mut held = false;
            for input in inputs {
                let output = machine.step(input);
                if let Some(Output::Held(now)) = output {
                    prop_assert_ne!(now, held);
                    held = now;
                }
                prop_assert_eq!(machine.held(), held);
            }
        }

        #[test]
        fn every_wait_ends_once(inputs in prop::collection::vec(any_input(), 0..200)) {
            let mut machine = bound_to_f8();
            let mut waiting = false;
            for input in inputs {
                let begins = matches!(input, Input::Capture);
                match machine.step(input) {
                    Some(Output::Captured(_)) => {
                        prop_assert!(waiting);
                        waiting = false;
                    }
                    _ if begins => waiting = true,
                    _ => {}
                }
            }
            prop_assert_eq!(machine.step(Input::CallOff).is_some(), waiting);
        }
    }
}
