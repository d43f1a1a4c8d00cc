//! What a person can set about their voice.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// Devices, codec and the way a talk starts. Stored by the app as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(default, deny_unknown_fields)]
pub struct VoiceSettings {
    /// Microphone by its id; null for the system's choice.
    pub input: Option<String>,
    /// Speaker by its id; null for the system's choice.
    pub output: Option<String>,
    /// How a talk starts and ends.
    pub mode: TalkMode,
    /// What the push-to-talk key does.
    pub key: KeyAction,
    /// Voice activation opens for voices alone, not for everything that is loud.
    pub voices_only: bool,
    /// Voice activation opens above this level, in dBFS (−96 to 0).
    pub activation_threshold: f32,
    /// Voice activation stays open for this long after the last loud frame, in milliseconds.
    pub activation_hold: u32,
    /// Push-to-talk goes on for this long after the key is let go, in milliseconds.
    pub release_delay: u32,
    /// Opus bit rate, in bits a second (8,000 to 128,000).
    pub bitrate: u32,
    /// What is done to captured sound.
    pub processing: Processing,
    /// Whoever is heard is about as loud as the others.
    pub level_talkers: bool,
}

/// What is done to captured sound before anybody hears it. The system's own levels stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(default, deny_unknown_fields)]
pub struct Processing {
    /// What the speaker plays does not go back to those who said it.
    pub echo_cancellation: bool,
    /// What is no voice is made quieter.
    pub noise_suppression: NoiseSuppression,
    /// Whoever speaks softly is made louder.
    pub automatic_gain: bool,
    /// Rumble below voices is left out.
    pub high_pass: bool,
}

/// How much of the noise is suppressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum NoiseSuppression {
    /// None.
    Off,
    /// Noise gets quieter, by 12 dB at most.
    #[default]
    Light,
    /// As much as can be.
    Strong,
}

impl Processing {
    /// Sound stays as it was captured, and costs no delay.
    pub const OFF: Self = Self {
        echo_cancellation: false,
        noise_suppression: NoiseSuppression::Off,
        automatic_gain: false,
        high_pass: false,
    };
}

impl Default for Processing {
    fn default() -> Self {
        Self {
            echo_cancellation: true,
            noise_suppression: NoiseSuppression::default(),
            automatic_gain: true,
            high_pass: true,
        }
    }
}

/// What the push-to-talk key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum KeyAction {
    /// Talks while it is held.
    Hold,
    /// Talks while it is held, and after a double tap until the next press.
    HoldOrDoubleTap,
    /// Each press switches the talk on or off.
    Tap,
}

/// How a talk starts and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum TalkMode {
    /// While the key is held.
    PushToTalk,
    /// While the microphone hears a voice that is louder than the threshold.
    VoiceActivation,
    /// Always.
    Continuous,
}

impl Default for VoiceSettings {
    fn default() -> Self {
        Self {
            input: None,
            output: None,
            mode: TalkMode::PushToTalk,
            key: KeyAction::Hold,
            voices_only: true,
            activation_threshold: -45.0,
            activation_hold: 300,
            release_delay: 120,
            bitrate: 40_000,
            processing: Processing::default(),
            level_talkers: true,
        }
    }
}

impl VoiceSettings {
    /// The same with every number brought into its range; a level that is not a number becomes the default.
    #[must_use]
    pub fn clamped(mut self) -> Self {
        let default = Self::default();
        self.activation_threshold = if self.activation_threshold.is_finite() {
            self.activation_threshold.clamp(-96.0, 0.0)
        } else {
            default.activation_threshold
        };
        self.activation_hold = self.activation_hold.min(5_000);
        self.release_delay = self.release_delay.min(2_000);
        self.bitrate = self.bitrate.clamp(8_000, 128_000);
        self
    }
}
