//! Sound devices behind one small trait, so that the voice threads do not know what they run on.
//!
//! A device is a ring of mono samples at the device's own rate: an [`InputStream`] to read from, an
//! [`OutputStream`] to write to. The other end of the ring, an [`InputFeed`] or [`OutputFeed`], belongs to
//! whatever drives the device: the sound card's callback in [`Cpal`], a pacing thread in [`File`] and
//! [`Scripted`]. The feed never locks, allocates or waits.

mod cpal;
mod error;
mod file;
mod paced;
#[cfg(target_os = "linux")]
mod pulse;
mod scripted;
mod split;
mod stream;

use serde::Serialize;
use ts_rs::TS;

pub use cpal::{Cpal, microphone_callback, speaker_callback};
pub use error::AudioError;
pub use file::{File, Started};
pub use scripted::{PlayedBlock, Scripted};
pub use split::Split;
pub use stream::{Failure, InputFeed, InputStream, OutputFeed, OutputStream, Stamp, input, output};

/// Lowest sample rate of a device, in Hz.
pub const MIN_RATE: u32 = 8_000;
/// Highest sample rate of a device, in Hz.
pub const MAX_RATE: u32 = 192_000;

/// A device that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
pub struct DeviceInfo {
    /// Stays the same across runs; for the settings.
    pub id: String,
    /// For people.
    pub name: String,
    /// The one that the system uses when none is chosen.
    pub is_default: bool,
}

/// What there is to choose from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, TS)]
pub struct Devices {
    /// Microphones.
    pub inputs: Vec<DeviceInfo>,
    /// Speakers.
    pub outputs: Vec<DeviceInfo>,
}

/// Where sound comes from and goes to. Calls may block for some seconds: not for async threads.
pub trait Backend: Send + Sync + 'static {
    /// What there is now.
    fn devices(&self) -> Result<Devices, AudioError>;

    /// Starts the microphone with this id; `None`: the system's default.
    fn open_input(&self, id: Option<&str>) -> Result<InputStream, AudioError>;

    /// Starts the speaker with this id; `None`: the system's default.
    fn open_output(&self, id: Option<&str>) -> Result<OutputStream, AudioError>;
}

impl Backend for Box<dyn Backend> {
    fn devices(&self) -> Result<Devices, AudioError> {
        self.as_ref().devices()
    }

    fn open_input(&self, id: Option<&str>) -> Result<InputStream, AudioError> {
        self.as_ref().open_input(id)
    }

    fn open_output(&self, id: Option<&str>) -> Result<OutputStream, AudioError> {
        self.as_ref().open_output(id)
    }
}
