//! stub
use super::{AudioError, Backend, Devices, InputStream, OutputStream};
/// stub
#[derive(Default)]
pub struct Cpal;
impl Backend for Cpal {
    fn devices(&self) -> Result<Devices, AudioError> {
        Ok(Devices::default())
    }
    fn open_input(&self, _: Option<&str>) -> Result<InputStream, AudioError> {
        Err(AudioError::NoMicrophone)
    }
    fn open_output(&self, _: Option<&str>) -> Result<OutputStream, AudioError> {
        Err(AudioError::NoSpeaker)
    }
}
