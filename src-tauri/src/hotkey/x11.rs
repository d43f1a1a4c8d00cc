//! Keys and buttons as the X server reports them to whoever asks: raw events of XInput 2. They come whatever window
//! has the focus, know no modifiers, and nobody else loses them.

use std::{fmt::Display, io, sync::Arc, thread};

use x11rb::{
    connection::Connection,
    protocol::{
        Event,
        xinput::{ConnectionExt as _, Device, EventMask, KeyEventFlags, XIEventMask},
        xproto::ConnectionExt as _,
    },
    rust_connection::RustConnection,
};

use super::{Listener, names};
use crate::api::{Hotkey, HotkeyInput};

/// XInput 2.1 lifts the rule that a grab of somebody else hides raw events.
const XINPUT: (u16, u16) = (2, 1);

/// A connection to the X server whose thread hears every key. The thread ends with the connection.
pub struct Source {
    connection: Arc<RustConnection>,
}

impl Source {
    /// Listens on a display; `None`: the one of `DISPLAY`.
    pub fn open(display: Option<&str>, listener: Listener) -> Result<Self, String> {
        let (connection, screen) = RustConnection::connect(display).map_err(no_x11)?;
        let version = connection.xinput_xi_query_version(XINPUT.0, XINPUT.1).map_err(no_x11)?;
        let version = version.reply().map_err(no_x11)?;
        if (version.major_version, version.minor_version) < XINPUT {
            return Err("the X server is too old (it has no XInput 2.1)".into());
        }
        let mask = XIEventMask::RAW_KEY_PRESS
            | XIEventMask::RAW_KEY_RELEASE
            | XIEventMask::RAW_BUTTON_PRESS
            | XIEventMask::RAW_BUTTON_RELEASE;
        let masks = [EventMask { deviceid: u8::from(Device::ALL_MASTER).into(), mask: vec![mask] }];
        let root = connection.setup().roots[screen].root;
        connection.xinput_xi_select_events(root, &masks).map_err(no_x11)?.check().map_err(no_x11)?;

        let connection = Arc::new(connection);
        let events = Arc::clone(&connection);
        thread::Builder::new()
            .name("hotkey".into())
            .spawn(move || {
                let end = hear(&events, &listener);
                listener.lost(&format!("the connection to the X server ended ({end}): restart the app"));
            })
            .map_err(|error: io::Error| format!("no thread can be started ({error})"))?;
        Ok(Self { connection })
    }

    /// The key that calls off the waiting for one.
    pub(super) fn escape(&self) -> Option<HotkeyInput> {
        let setup = self.connection.setup();
        let (first, last) = (setup.min_keycode, setup.max_keycode);
        let mapping = self.connection.get_keyboard_mapping(first, last - first + 1).ok()?.reply().ok()?;
        let meanings = mapping.keysyms.chunks(mapping.keysyms_per_keycode.max(1).into());
        let escape = |(_, meanings): &(u8, &[u32])| meanings.first() == Some(&names::ESCAPE);
        (first..=last).zip(meanings).find(escape).map(|(code, _)| HotkeyInput::Key(code))
    }

    /// What a key is called on the keyboard as it is laid out now.
    pub(super) fn label(&self, input: &HotkeyInput) -> String {
        match input {
            HotkeyInput::Key(code) => names::key_name(self.keysym(*code).unwrap_or_default(), *code),
            HotkeyInput::Button(button) => names::button_name(*button),
            HotkeyInput::Code(code) => code.clone(),
        }
    }

    /// Every key is heard anyway; one that was bound by its code on another system is not.
    #[allow(clippy::unused_self)] // The other source needs itself.
    pub(super) fn bind(&self, hotkey: Option<&Hotkey>) -> Result<(), String> {
        match hotkey {
            Some(Hotkey { input: HotkeyInput::Code(_), label }) => {
                Err(format!("{label} was chosen on another system: choose it again"))
            }
            _ => Ok(()),
        }
    }

    /// What cannot be heard, though all is well.
    pub(super) fn limits() -> Option<&'static str> {
        let wayland = std::env::var_os("WAYLAND_DISPLAY").is_some()
            || std::env::var("XDG_SESSION_TYPE").is_ok_and(|kind| kind == "wayland");
        wayland.then_some("under Wayland keys of windows that are not X11's stay hidden from the app")
    }

    /// The first meaning of a key, without modifiers.
    fn keysym(&self, code: u8) -> Option<u32> {
        let mapping = self.connection.get_keyboard_mapping(code, 1).ok()?.reply().ok()?;
        mapping.keysyms.first().copied()
    }
}

fn no_x11(error: impl Display) -> String {
    format!("there is no connection to an X server ({error})")
}

/// Hears until the connection ends; says why it did.
fn hear(connection: &RustConnection, listener: &Listener) -> x11rb::errors::ConnectionError {
    loop {
        match connection.wait_for_event() {
            Ok(Event::XinputRawKeyPress(event)) if !event.flags.contains(KeyEventFlags::KEY_REPEAT) => {
                on_number(event.detail, |code| listener.pressed(HotkeyInput::Key(code)));
            }
            Ok(Event::XinputRawKeyRelease(event)) => {
                on_number(event.detail, |code| listener.released(HotkeyInput::Key(code)));
            }
            Ok(Event::XinputRawButtonPress(event)) => {
                on_number(event.detail, |button| listener.pressed(HotkeyInput::Button(button)));
            }
            Ok(Event::XinputRawButtonRelease(event)) => {
                on_number(event.detail, |button| listener.released(HotkeyInput::Button(button)));
            }
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

/// Key codes and buttons are single bytes in X11, though XInput 2 has room for more.
fn on_number(detail: u32, act: impl FnOnce(u8)) {
    if let Ok(number) = u8::try_from(detail) {
        act(number);
    }
}
