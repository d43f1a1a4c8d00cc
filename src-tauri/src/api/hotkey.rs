//! The push-to-talk key.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::AppError;

/// A key or button to bind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct Hotkey {
    /// Which.
    pub input: HotkeyInput,
    /// What it is called: "F8", "Mouse 4".
    pub label: String,
}

/// Which key or button.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
pub enum HotkeyInput {
    /// A key by its X11 key code; the layout does not matter.
    Key(u8),
    /// A mouse button by its X11 number.
    Button(u8),
    /// A key by its W3C `KeyboardEvent.code`, on systems that take shortcuts by name.
    Code(String),
}

/// The push-to-talk key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
pub struct HotkeyState {
    /// Who hears the key that is to be bound.
    pub capture: HotkeyCapture,
    /// Held down now.
    pub pressed: bool,
    /// Why it cannot be heard outside the window, or only in part.
    pub problem: Option<AppError>,
}

/// Who hears the key that is to be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum HotkeyCapture {
    /// The host: any key or mouse button.
    Host,
    /// The window: it names the key by its code.
    Window,
}
