//! When the microphone is sent: push-to-talk, voice activation, or always.
//!
//! A pure machine that is asked once for each captured frame. Time is counted in the sound of those frames, so it
//! stands still when the microphone does. The frame at which the gate closes is still sent, as the mark of the
//! burst's end; when the reason is a mute, it goes out as silence.

use voip_protocol::voice::FrameDuration;

use crate::settings::{KeyAction, TalkMode, VoiceSettings};

/// Samples in a millisecond.
const MS: u32 = 48;
/// Two presses that begin within this time are a double tap, in samples.
const DOUBLE_TAP: u32 = 400 * MS;
/// How sure it has to be that there is a voice (0 to 1) before the gate opens for it, and for it to stay open.
const OPENS: f32 = 0.8;
const STAYS: f32 = 0.5;

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

/// What is in a captured frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sound {
    /// Its peak, in dBFS.
    pub level: f32,
    /// How sure it is that somebody speaks (0 to 1); none: nobody has looked.
    pub voice: Option<f32>,
}

/// Decides frame by frame.
#[derive(Clone, Debug)]
pub struct Talk {
    pressed: bool,
    /// Talks on without the key.
    locked: bool,
    /// Samples since the key last went down.
    since_press: u32,
    muted: bool,
    sending: bool,
    /// Samples for which the gate stays open though nothing holds it.
    remaining: u32,
    /// How the last frame was decided: what one mode, or one use of the key, holds open is no reason in another.
    mode: (TalkMode, KeyAction),
}

impl Default for Talk {
    fn default() -> Self {
        Self {
            pressed: false,
            locked: false,
            since_press: DOUBLE_TAP,
            muted: false,
            sending: false,
            remaining: 0,
            mode: (TalkMode::PushToTalk, KeyAction::Hold),
        }
    }
}

impl Talk {
    /// The key went down; again and again while it is held (auto-repeat).
    pub fn press(&mut self, settings: &VoiceSettings) {
        self.follow(settings);
        if std::mem::replace(&mut self.pressed, true) {
            return;
        }
        let twice = std::mem::replace(&mut self.since_press, 0) < DOUBLE_TAP;
        let locked = self.locked;
        self.locked = match settings.key {
            KeyAction::Hold => false,
            KeyAction::HoldOrDoubleTap => twice && !locked,
            KeyAction::Tap => !locked,
        };
        if locked {
            // A third tap is not the second one of another two.
            self.since_press = DOUBLE_TAP;
            self.go_on(settings);
        }
    }

    /// The key went up. `settings` has how long the talk goes on.
    pub fn release(&mut self, settings: &VoiceSettings) {
        if std::mem::take(&mut self.pressed) && settings.key != KeyAction::Tap {
            self.go_on(settings);
        }
    }

    fn go_on(&mut self, settings: &VoiceSettings) {
        if settings.mode == TalkMode::PushToTalk {
            self.remaining = settings.release_delay.saturating_mul(MS);
        }
    }

    /// Without the key nothing goes on: those who hear it are others now, or the microphone is.
    pub fn unlock(&mut self) {
        (self.locked, self.since_press) = (false, DOUBLE_TAP);
    }

    /// The microphone was switched off or on. Who switches it on again does not talk before the next press.
    pub fn mute(&mut self, muted: bool) {
        self.muted = muted;
        if muted {
            (self.remaining, self.locked) = (0, false);
        }
    }

    /// Whether a burst is under way.
    pub fn sending(&self) -> bool {
        self.sending
    }

    /// What to do with a frame of `sound`.
    pub fn frame(&mut self, sound: Sound, duration: FrameDuration, settings: &VoiceSettings) -> Decision {
        self.follow(settings);
        let held = match settings.mode {
            TalkMode::PushToTalk => self.locked || self.pressed && settings.key != KeyAction::Tap,
            TalkMode::VoiceActivation => self.is_voice(sound, settings),
            TalkMode::Continuous => true,
        };
        if held && settings.mode == TalkMode::VoiceActivation && !self.muted {
            self.remaining = settings.activation_hold.saturating_mul(MS);
        }
        let open = !self.muted && (held || self.remaining > 0);
        let samples = duration.samples() as u32;
        if !held {
            self.remaining = self.remaining.saturating_sub(samples);
        }
        self.since_press = self.since_press.saturating_add(samples);
        let was_sending = std::mem::replace(&mut self.sending, open);
        match (was_sending, open) {
            (false, false) => Decision::Drop,
            (_, true) => Decision::Send { first: !was_sending, last: false, silent: false },
            (true, false) => Decision::Send { first: false, last: true, silent: self.muted },
        }
    }

    fn follow(&mut self, settings: &VoiceSettings) {
        let mode = (settings.mode, settings.key);
        if std::mem::replace(&mut self.mode, mode) != mode {
            (self.remaining, self.locked) = (0, false);
        }
    }

    fn is_voice(&self, sound: Sound, settings: &VoiceSettings) -> bool {
        let sure = if self.sending { STAYS } else { OPENS };
        sound.level >= settings.activation_threshold && sound.voice.is_none_or(|voice| voice >= sure)
    }

    /// The microphone is gone: the burst under way, if any, is over. True if there was one, whose end is to be marked.
    pub fn cut(&mut self) -> bool {
        self.unlock();
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
        (0..count).map(|_| talk.frame(Sound { level, voice: None }, FrameDuration::Ms10, settings)).collect()
    }

    #[test]
    fn a_held_key_talks_and_goes_on_for_the_release_delay() {
        let (mut talk, settings) = (Talk::default(), settings(TalkMode::PushToTalk));
        assert_eq!(frames(&mut talk, &settings, LOUD, 2), [Decision::Drop; 2]);
        talk.press(&settings);
        assert_eq!(frames(&mut talk, &settings, QUIET, 2), [FIRST, MIDDLE]);
        // Auto-repeat changes nothing.
        talk.press(&settings);
        talk.press(&settings);
        assert_eq!(frames(&mut talk, &settings, QUIET, 1), [MIDDLE]);
        talk.release(&settings);
        assert_eq!(frames(&mut talk, &settings, LOUD, 5), [MIDDLE, MIDDLE, MIDDLE, LAST, Decision::Drop]);
    }

    #[test]
    fn pressing_again_during_the_delay_goes_on_with_the_burst() {
        let (mut talk, settings) = (Talk::default(), settings(TalkMode::PushToTalk));
        talk.press(&settings);
        frames(&mut talk, &settings, QUIET, 3);
        talk.release(&settings);
        frames(&mut talk, &settings, QUIET, 2);
        talk.press(&settings);
        assert_eq!(frames(&mut talk, &settings, QUIET, 10), [MIDDLE; 10]);
    }

    #[test]
    fn a_tap_between_two_frames_is_not_lost() {
        let (mut talk, settings) = (Talk::default(), settings(TalkMode::PushToTalk));
        talk.press(&settings);
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
        talk.press(&settings);
        assert_eq!(frames(&mut talk, &settings, QUIET, 2), [Decision::Drop; 2]);
        // Exactly the threshold opens; what is not a number does not.
        assert_eq!(frames(&mut talk, &settings, f32::NAN, 1), [Decision::Drop]);
        assert_eq!(frames(&mut talk, &settings, settings.activation_threshold, 1), [FIRST]);
    }

    #[test]
    fn a_mute_cuts_at_once_and_lets_no_sound_out() {
        for mode in [TalkMode::PushToTalk, TalkMode::VoiceActivation, TalkMode::Continuous] {
            let (mut talk, settings) = (Talk::default(), settings(mode));
            talk.press(&settings);
            assert_eq!(frames(&mut talk, &settings, LOUD, 2), [FIRST, MIDDLE]);
            talk.mute(true);
            assert_eq!(frames(&mut talk, &settings, LOUD, 3), [CUT, Decision::Drop, Decision::Drop]);
            talk.mute(false);
            assert_eq!(frames(&mut talk, &settings, LOUD, 1), [FIRST], "{mode:?}");
        }
    }

    #[test]
    fn what_was_loud_while_muted_opens_nothing_afterwards() {
        let (mut talk, settings) = (Talk::default(), settings(TalkMode::VoiceActivation));
        talk.mute(true);
        assert_eq!(frames(&mut talk, &settings, LOUD, 2), [Decision::Drop; 2]);
        talk.mute(false);
        assert_eq!(frames(&mut talk, &settings, QUIET, 1), [Decision::Drop]);
    }

    #[test]
    fn a_mute_forgets_the_release_delay() {
        let (mut talk, settings) = (Talk::default(), settings(TalkMode::PushToTalk));
        talk.press(&settings);
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

    #[test]
    fn only_a_voice_opens_the_gate_where_one_is_looked_for() {
        let (mut talk, settings) = (Talk::default(), settings(TalkMode::VoiceActivation));
        let mut frame =
            |level, voice| talk.frame(Sound { level, voice: Some(voice) }, FrameDuration::Ms10, &settings);
        assert_eq!(frame(LOUD, 0.7), Decision::Drop);
        assert_eq!(frame(QUIET, 1.0), Decision::Drop);
        assert_eq!(frame(LOUD, 0.9), FIRST);
        // Half sure is enough to go on, for longer than the hold.
        assert_eq!([0.5; 10].map(|voice| frame(LOUD, voice)), [MIDDLE; 10]);
        assert_eq!([0.2; 5].map(|voice| frame(LOUD, voice)), [MIDDLE; 5]);
        assert_eq!([0.2, 0.5].map(|voice| frame(LOUD, voice)), [LAST, Decision::Drop]);
    }

    fn tap(talk: &mut Talk, settings: &VoiceSettings) {
        talk.press(settings);
        talk.release(settings);
    }

    #[test]
    fn a_double_tap_talks_until_the_next_one() {
        let settings = VoiceSettings { key: KeyAction::HoldOrDoubleTap, ..settings(TalkMode::PushToTalk) };
        let mut talk = Talk::default();
        // Held and let go as ever.
        talk.press(&settings);
        assert_eq!(frames(&mut talk, &settings, QUIET, 50)[..2], [FIRST, MIDDLE]);
        talk.release(&settings);
        assert_eq!(frames(&mut talk, &settings, QUIET, 4), [MIDDLE, MIDDLE, MIDDLE, LAST]);
        // Too far apart: two taps.
        tap(&mut talk, &settings);
        frames(&mut talk, &settings, QUIET, 40);
        tap(&mut talk, &settings);
        assert_eq!(frames(&mut talk, &settings, QUIET, 40)[3..5], [LAST, Decision::Drop]);
        tap(&mut talk, &settings);
        frames(&mut talk, &settings, QUIET, 20);
        tap(&mut talk, &settings);
        assert_eq!(frames(&mut talk, &settings, QUIET, 1_000)[1..], [MIDDLE; 999]);
        // One tap ends it, and a quick one more begins nothing that lasts.
        tap(&mut talk, &settings);
        assert_eq!(frames(&mut talk, &settings, QUIET, 4), [MIDDLE, MIDDLE, MIDDLE, LAST]);
        tap(&mut talk, &settings);
        assert_eq!(frames(&mut talk, &settings, QUIET, 5)[3..], [LAST, Decision::Drop]);
    }

    #[test]
    fn a_tap_switches_on_and_the_next_one_off() {
        let settings = VoiceSettings { key: KeyAction::Tap, ..settings(TalkMode::PushToTalk) };
        let mut talk = Talk::default();
        talk.press(&settings);
        assert_eq!(frames(&mut talk, &settings, QUIET, 2), [FIRST, MIDDLE]);
        talk.release(&settings);
        assert_eq!(frames(&mut talk, &settings, QUIET, 100), [MIDDLE; 100]);
        talk.press(&settings);
        // Off with the press, however long it is.
        assert_eq!(frames(&mut talk, &settings, QUIET, 5), [MIDDLE, MIDDLE, MIDDLE, LAST, Decision::Drop]);
        talk.release(&settings);
        assert_eq!(frames(&mut talk, &settings, QUIET, 1), [Decision::Drop]);
    }

    #[test]
    fn a_mute_and_another_use_of_the_key_unlock() {
        let tapped = VoiceSettings { key: KeyAction::Tap, ..settings(TalkMode::PushToTalk) };
        let mut talk = Talk::default();
        tap(&mut talk, &tapped);
        assert_eq!(frames(&mut talk, &tapped, QUIET, 1), [FIRST]);
        talk.mute(true);
        assert_eq!(frames(&mut talk, &tapped, QUIET, 1), [CUT]);
        talk.mute(false);
        assert_eq!(frames(&mut talk, &tapped, QUIET, 1), [Decision::Drop]);
        tap(&mut talk, &tapped);
        assert_eq!(frames(&mut talk, &tapped, QUIET, 1), [FIRST]);
        let held = VoiceSettings { key: KeyAction::Hold, ..tapped.clone() };
        assert_eq!(frames(&mut talk, &held, QUIET, 1), [LAST]);
        assert_eq!(frames(&mut talk, &tapped, QUIET, 1), [Decision::Drop]);
    }

    #[test]
    fn no_lock_outlives_the_microphone_or_the_channel() {
        let settings = VoiceSettings { key: KeyAction::Tap, ..settings(TalkMode::PushToTalk) };
        let cut = |talk: &mut Talk| {
            talk.cut();
        };
        for lose in [cut, Talk::unlock] {
            let mut talk = Talk::default();
            tap(&mut talk, &settings);
            assert_eq!(frames(&mut talk, &settings, QUIET, 1), [FIRST]);
            lose(&mut talk);
            assert!(!frames(&mut talk, &settings, QUIET, 2).contains(&FIRST) && !talk.sending());
            tap(&mut talk, &settings);
            assert_eq!(frames(&mut talk, &settings, QUIET, 1), [FIRST]);
        }
    }

    #[derive(Clone, Debug)]
    enum Input {
        Press,
        Release,
        Mute(bool),
        Mode(TalkMode),
        Key(usize),
        Frames(f32, usize, usize),
        Cut,
    }

    const KEYS: [KeyAction; 3] = [KeyAction::Hold, KeyAction::HoldOrDoubleTap, KeyAction::Tap];

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
            (0usize..3).prop_map(Input::Key),
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
                    Input::Press => { talk.press(&settings); pressed = true; }
                    Input::Key(key) => settings.key = KEYS[key],
                    Input::Release => { talk.release(&settings); pressed = false; }
                    Input::Mute(on) => { talk.mute(on); muted = on; }
                    Input::Mode(mode) => settings.mode = mode,
                    Input::Cut => {
                        prop_assert_eq!(talk.cut(), in_burst);
                        in_burst = false;
                    }
                    Input::Frames(level, duration, count) => for _ in 0..count {
                        let decision = talk.frame(Sound { level, voice: None }, FrameDuration::ALL[duration], &settings);
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
                            TalkMode::PushToTalk => pressed && settings.key != KeyAction::Tap,
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
