//! A microphone from one backend and a speaker from another.

use super::{AudioError, Backend, Devices, InputStream, OutputStream};

/// Takes inputs from one backend and outputs from another.
pub struct Split {
    /// For inputs.
    pub input: Box<dyn Backend>,
    /// For outputs.
    pub output: Box<dyn Backend>,
}

impl Backend for Split {
    fn devices(&self) -> Result<Devices, AudioError> {
        Ok(Devices { inputs: self.input.devices()?.inputs, outputs: self.output.devices()?.outputs })
    }

    fn open_input(&self, id: Option<&str>) -> Result<InputStream, AudioError> {
        self.input.open_input(id)
    }

    fn open_output(&self, id: Option<&str>) -> Result<OutputStream, AudioError> {
        self.output.open_output(id)
    }
}
