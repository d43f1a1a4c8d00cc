//! What goes wrong with sound.

use std::path::PathBuf;

use crate::{ClientError, ClientErrorCode};

/// Why there is no sound, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AudioError {
    /// Nothing to record with, or the chosen one is not there.
    #[error("no microphone was found: plug one in, or choose another one in the settings")]
    NoMicrophone,
    /// Nothing to play on, or the chosen one is not there.
    #[error("no speaker was found: plug one in, or choose another one in the settings")]
    NoSpeaker,
    /// The device is there but does not work, or has gone away.
    #[error("the sound device \"{device}\" failed ({reason}): plug it in again, or choose another one")]
    Failed {
        /// Its name.
        device: String,
        /// What the system says.
        reason: String,
    },
    /// A sound file cannot be used.
    #[error("the sound file {} cannot be used ({reason}): check the path, the free space and that it is a WAV file", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
}

impl From<AudioError> for ClientError {
    fn from(error: AudioError) -> Self {
        let code = match error {
            AudioError::NoMicrophone => ClientErrorCode::NoMicrophone,
            AudioError::NoSpeaker => ClientErrorCode::NoSpeaker,
            AudioError::Failed { .. } => ClientErrorCode::DeviceFailed,
            AudioError::File { .. } => ClientErrorCode::SoundFile,
        };
        Self::new(code, error.to_string())
    }
}
