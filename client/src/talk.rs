//! When the microphone is sent: push-to-talk, voice activation, or always.
//!
//! A pure machine that is asked once for each captured frame. Time is counted in the sound of those frames, so it
//! stands still when the microphone does. The frame at which the gate closes is still sent, as the mark of the
//! burst's end; when the reason is a mute, it goes out as silence.

use voip_protocol::voice::FrameDuration;

use crate::settings::{TalkMode, VoiceSettings};

/// Samples in a millisecond.
const MS: u32 = 48;

/// What to do with a captured frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes nowhere.
    Drop,
    /// It is sent.
    Send {
        /// It begins a burst.
        first: bool,
        /// It ends the burst. Not at the same time as `first`.
        last: bool,
        /// Its sound is to be replaced by silence.
        silent: bool,
    },
}

/// Decides frame by frame.
#[derive(Clone, Debug)]
pub struct Talk {
    pressed: bool,
    muted: bool,
    sending: bool,
    /// Samples for which the gate stays open though nothing holds it.
    remaining: u32,
    /// How the last frame was decided: what one mode holds open is no reason in another.
    mode: TalkMode,
}

impl Default for Talk {
    fn default() -> Self {
        Self { pressed: false, muted: false, sending: false, remaining: 0, mode: TalkMode::PushToTalk }
    }
}

impl Talk {
    /// The key went down; again and again while it is held (auto-repeat).
    pub fn press(&mut self) {
        self.pressed = true;
    }

    /// The key went up. `settings` has how long the talk goes on.
    pub fn release(&mut self, settings: &VoiceSettings) {
        if self.pressed && settings.mode == TalkMode::PushToTalk {
            self.remaining = settings.release_delay.saturating_mul(MS);
        }
        self.pressed = false;
    }

    /// The microphone was switched off or on.
    pub fn mute(&mut self, muted: bool) {
        self.muted = muted;
        if muted {
            self.remaining = 0;
        }
    }

    /// Whether a burst is under way.
    pub fn sending(&self) -> bool {
        self.sending
    }

    /// What to do with a frame whose peak is `level` (dBFS).
    pub fn frame(&mut self, level: f32, duration: FrameDuration, settings: &VoiceSettings) -> Decision {
        if std::mem::replace(&mut self.mode, settings.mode) != settings.mode {
            self.remaining = 0;
        }
        let held = match settings.mode {
            TalkMode::PushToTalk => self.pressed,
            TalkMode::VoiceActivation => level >= settings.activation_threshold,
            TalkMode::Continuous => true,
        };
        if held && settings.mode == TalkMode::VoiceActivation {
            self.remaining = settings.activation_hold.saturating_mul(MS);
        }
        let open = !self.muted && (held || self.remaining > 0);
        if !held {
            self.remaining = self.remaining.saturating_sub(duration.samples() as u32);
        }
        let was_sending = std::mem::replace(&mut self.sending, open);
        match (was_sending, open) {
            (false, false) => Decision::Drop,
            (_, true) => Decision::Send { first: !was_sending, last: false, silent: false },
            (true, false) => Decision::Send { first: false, last: true, silent: self.muted },
        }
    }

    /// The microphone is gone: the burst under way, if any, is over. True if there was one, whose end is to be marked.
    pub fn cut(&mut self) -> bool {
        self.remaining = 0;
        std::mem::take(&mut self.sending)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUIET: f32 = -80.0;
    const LOUD: f32 = -10.0;
    const FIRST: Decision = Decision::Send { first: true, last: false, silent: false };
    const MIDDLE: Decision = Decision::Send { first: false, last: false, silent: false };
    const LAST: Decision = Decision::Send { first: false, last: true, silent: false };
    const CUT: Decision = Decision::Send { first: false, last: true, silent: true };

    fn settings(mode: TalkMode) -> VoiceSettings {
        VoiceSettings { mode, release_delay: 30, activation_hold: 50, ..VoiceSettings::default() }
    }

    /// Frames of 10 ms at one level.
    fn frames(talk: &mut Talk, settings: &VoiceSettings, level: f32, count: usize) -> Vec<Decision> {
        (0..count).map(|_| talk.frame(level, FrameDuration::Ms10, settings)).collect()
    }

    #[test]
    fn a_held_key_talks_and_goes_on_for_the_release_delay() {
        let (mut talk, settings) = (Talk::default(), settings(TalkMode::PushToTalk));
        assert_eq!(frames(&mut talk, &settings, LOUD, 2), [Decision::Drop; 2]);
        talk.press();
        assert_eq!(frames(&mut talk, &settings, QUIET, 2), [FIRST, MIDDLE]);
        // Auto-repeat changes nothing.
        talk.press();
        talk.press();
        assert_eq!(frames(&mut talk, &settings, QUIET, 1), [MIDDLE]);
        talk.release(&settings);
        assert_eq!(frames(&mut talk, &settings, LOUD, 5), [MIDDLE, MIDDLE, MIDDLE, LAST, Decision::Drop]);
    }

    #[test]
    fn pressing_again_during_the_delay_goes_on_with_the_burst() {
        let (mut talk, settings) = (Talk::default(), settings(TalkMode::PushToTalk));
        talk.press();
        frames(&mut talk, &settings, QUIET, 3);
        talk.release(&settings);
        frames(&mut talk, &settings, QUIET, 2);
        talk.press();
        assert_eq!(frames(&mut talk, &settings, QUIET, 10), [MIDDLE; 10]);
    }

    #[test]
    fn a_tap_between_two_frames_is_not_lost() {
        let (mut talk, settings) = (Talk::default(), settings(TalkMode::PushToTalk));
        talk.press();
        talk.release(&settings);
        assert_eq!(frames(&mut talk, &settings, QUIET, 5), [FIRST, MIDDLE, MIDDLE, LAST, Decision::Drop]);
        // A release that no press came before is nothing.
        talk.release(&settings);
        assert_eq!(frames(&mut talk, &settings, QUIET, 1), [Decision::Drop]);
    }

    #[test]
    fn a_voice_opens_the_gate_and_the_hold_bridges_pauses() {
        let (mut talk, settings) = (Talk::default(), settings(TalkMode::VoiceActivation));
        assert_eq!(frames(&mut talk, &settings, QUIET, 1), [Decision::Drop]);
        assert_eq!(frames(&mut talk, &settings, LOUD, 2), [FIRST, MIDDLE]);
        assert_eq!(frames(&mut talk, &settings, QUIET, 4), [MIDDLE; 4]);
        assert_eq!(frames(&mut talk, &settings, LOUD, 1), [MIDDLE]);
        assert_eq!(frames(&mut talk, &settings, QUIET, 6), [MIDDLE, MIDDLE, MIDDLE, MIDDLE, MIDDLE, LAST]);
        // The key means nothing here.
        talk.press();
        assert_eq!(frames(&mut talk, &settings, QUIET, 2), [Decision::Drop; 2]);
        // Exactly the threshold opens; what is not a number does not.
        assert_eq!(frames(&mut talk, &settings, f32::NAN, 1), [Decision::Drop]);
        assert_eq!(frames(&mut talk, &settings, settings.activation_threshold, 1), [FIRST]);
    }

    #[test]
    fn a_mute_cuts_at_once_and_lets_no_sound_out() {
        for mode in [TalkMode::PushToTalk, TalkMode::VoiceActivation, TalkMode::Continuous] {
            let (mut talk, settings) = (Talk::default(), settings(mode));
            talk.press();
            assert_eq!(frames(&mut talk, &settings, LOUD, 2), [FIRST, MIDDLE]);
            talk.mute(true);
            assert_eq!(frames(&mut talk, &settings, LOUD, 3), [CUT, Decision::Drop, Decision::Drop]);
            talk.mute(false);
            assert_eq!(frames(&mut talk, &settings, LOUD, 1), [FIRST], "{mode:?}");
        }
    }

    #[test]
    fn a_mute_forgets_the_release_delay() {
        let (mut talk, settings) = (Talk::default(), settings(TalkMode::PushToTalk));
        talk.press();
        frames(&mut talk, &settings, QUIET, 1);
        talk.release(&settings);
        talk.mute(true);
        talk.mute(false);
        assert_eq!(frames(&mut talk, &settings, QUIET, 2), [LAST, Decision::Drop]);
    }

    #[test]
    fn changing_the_mode_ends_or_begins_a_burst() {
        let mut talk = Talk::default();
        let (push, always) = (settings(TalkMode::PushToTalk), settings(TalkMode::Continuous));
        assert_eq!(frames(&mut talk, &always, QUIET, 2), [FIRST, MIDDLE]);
        assert_eq!(frames(&mut talk, &push, QUIET, 2), [LAST, Decision::Drop]);
        assert_eq!(frames(&mut talk, &always, QUIET, 1), [FIRST]);
        assert!(talk.cut() && !talk.cut());
        assert_eq!(frames(&mut talk, &always, QUIET, 1), [FIRST]);
    }

    #[derive(Clone, Debug)]
    enum Input {
        Press,
        Release,
        Mute(bool),
        Mode(TalkMode),
        Frames(f32, usize, usize),
        Cut,
    }

    fn inputs() -> impl Strategy<Value = Vec<Input>> {
        let mode = prop_oneof![
            Just(TalkMode::PushToTalk),
            Just(TalkMode::VoiceActivation),
            Just(TalkMode::Continuous)
        ];
        let input = prop_oneof![
            Just(Input::Press),
            Just(Input::Release),
            any::<bool>().prop_map(Input::Mute),
            mode.prop_map(Input::Mode),
            (-96.0f32..0.0, 0usize..6, 1usize..20)
                .prop_map(|(level, duration, count)| Input::Frames(level, duration, count)),
            Just(Input::Cut),
        ];
        proptest::collection::vec(input, 0..60)
    }

    proptest! {
        #[test]
        fn bursts_are_well_formed_and_nothing_gets_out_while_muted(inputs in inputs()) {
            let (mut talk, mut settings) = (Talk::default(), settings(TalkMode::PushToTalk));
            let (mut in_burst, mut muted, mut pressed) = (false, false, false);
            for input in inputs {
                match input {
                    Input::Press => { talk.press(); pressed = true; }
                    Input::Release => { talk.release(&settings); pressed = false; }
                    Input::Mute(on) => { talk.mute(on); muted = on; }
                    Input::Mode(mode) => settings.mode = mode,
                    Input::Cut => {
                        prop_assert_eq!(talk.cut(), in_burst);
                        in_burst = false;
                    }
                    Input::Frames(level, duration, count) => for _ in 0..count {
                        let decision = talk.frame(level, FrameDuration::ALL[duration], &settings);
                        match decision {
                            Decision::Drop => prop_assert!(!in_burst),
                            Decision::Send { first, last, silent } => {
                                prop_assert_eq!(first, !in_burst);
                                prop_assert!(!(first && last));
                                prop_assert!(!muted || (last && silent));
                                in_burst = !last;
                            }
                        }
                        prop_assert_eq!(talk.sending(), in_burst);
                        let open = match settings.mode {
                            TalkMode::PushToTalk => pressed,
                            TalkMode::VoiceActivation => level >= settings.activation_threshold,
                            TalkMode::Continuous => true,
                        };
                        prop_assert!(!open || muted || in_burst);
                    }
                }
            }
        }
    }
}
