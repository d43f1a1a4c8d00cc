//! The voice engine without a window.
//!
//! [`Engine`] is an actor: commands in through its [`EngineHandle`], [`Event`]s out. Below it lie the session
//! (who we are, where we are: a pure machine and its driver), the network, and the voice threads that run
//! between the sound card and the voice socket. `docs/threads.md` says who owns what.

mod account;
pub mod audio;
pub mod dsp;
mod engine;
mod error;
mod event;
pub mod net;
mod room;
mod session;
mod settings;
pub mod talk;
pub mod voice;

pub use account::{Account, Login, NewUser, Register, UserQuery};
pub use engine::{Engine, EngineConfig, EngineHandle};
pub use error::{ClientError, ClientErrorCode};
pub use event::{AudioState, Connection, EngineState, Event, Levels, Statistics, TalkerStatistics};
pub use room::Room;
pub use session::Backoff;
pub use settings::{KeyAction, NoiseSuppression, Processing, TalkMode, VoiceSettings};
