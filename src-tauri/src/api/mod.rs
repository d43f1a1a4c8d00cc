//! Everything the window gets to see or may ask for. `ui/src/host/bindings` is made from these types.

mod account;
mod error;
mod hosting;
mod hotkey;
mod join;
mod settings;

use serde::Serialize;
use ts_rs::TS;
use voip_client::{EngineState, Event};

pub use account::{AccountQuery, AccountRequest, CreatedAccount, PasswordChange};
pub use error::{AppError, AppErrorCode, Plane, PortOffer};
pub use hosting::{HostRequest, HostSetup, HostedServer, Hosting, HostingStep, Reach};
pub use hotkey::{Hotkey, HotkeyCapture, HotkeyInput, HotkeyState};
pub use join::{LoginRequest, NewAccount, Trust, Visit};
pub use settings::{HostDefaults, LastServer, Settings, Theme};

/// Everything, at one moment: what a window starts from.
#[derive(Clone, Debug, Serialize, TS)]
pub struct AppState {
    /// The voice engine.
    pub engine: EngineState,
    /// The server in this process.
    pub hosting: Hosting,
    /// What the person has set.
    pub settings: Settings,
    /// Whether the push-to-talk key can be heard, and is.
    pub hotkey: HotkeyState,
    /// An invite link that opened the app and waits to be used.
    pub link: Option<String>,
    /// What went wrong before the window was there to be told.
    pub problems: Vec<AppError>,
    /// Version of the app.
    pub version: String,
}

/// Something happened. A window starts from [`AppState`] and applies these in order.
#[derive(Clone, Debug, Serialize, TS)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum AppEvent {
    /// The voice engine said something.
    Engine(Event),
    /// Events of the engine were missed: start over from this.
    EngineState(Box<EngineState>),
    /// The server in this process started, stopped or failed.
    Hosting(Hosting),
    /// The push-to-talk key.
    Hotkey(HotkeyState),
    /// The settings as they are now.
    Settings(Settings),
    /// An invite link was opened.
    Link(String),
    /// Something that no request waits for.
    Problem(AppError),
}
