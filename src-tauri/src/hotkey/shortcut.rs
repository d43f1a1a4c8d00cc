//! The key as a shortcut that the system reports, on systems where keys are asked for by name.

use std::{str::FromStr, sync::Arc};

use tauri::AppHandle;
use tauri_plugin_global_shortcut::{GlobalShortcutExt, Shortcut, ShortcutState};

use super::Listener;
use crate::api::{Hotkey, HotkeyInput};

/// The shortcut registered with the system.
pub struct Source {
    app: AppHandle,
    listener: Arc<Listener>,
}

impl Source {
    /// Registers through the app's plugin.
    pub fn open(app: AppHandle, listener: Listener) -> Result<Self, String> {
        Ok(Self { app, listener: Arc::new(listener) })
    }

    /// The window hears the key that is to be bound, and Escape too.
    #[allow(clippy::unused_self)] // The other source needs itself.
    pub(super) fn escape(&self) -> Option<HotkeyInput> {
        None
    }

    #[allow(clippy::unused_self)]
    pub(super) fn label(&self, input: &HotkeyInput) -> String {
        match input {
            HotkeyInput::Code(code) => code.clone(),
            HotkeyInput::Key(number) | HotkeyInput::Button(number) => number.to_string(),
        }
    }

    /// Asks the system for this key alone.
    pub(super) fn bind(&self, hotkey: Option<&Hotkey>) -> Result<(), String> {
        let shortcuts = self.app.global_shortcut();
        shortcuts.unregister_all().map_err(|error| error.to_string())?;
        let Some(hotkey) = hotkey else { return Ok(()) };
        let HotkeyInput::Code(code) = &hotkey.input else {
            return Err(format!("{} was chosen on another system: choose it again", hotkey.label));
        };
        let shortcut = Shortcut::from_str(code).map_err(|error| error.to_string())?;
        let (listener, input) = (Arc::clone(&self.listener), hotkey.input.clone());
        let registered = shortcuts.on_shortcut(shortcut, move |_, _, event| match event.state() {
            ShortcutState::Pressed => listener.pressed(input.clone()),
            ShortcutState::Released => listener.released(input.clone()),
        });
        registered.map_err(|error| format!("the system did not give the key {} ({error})", hotkey.label))
    }

    pub(super) fn limits() -> Option<&'static str> {
        None
    }
}
