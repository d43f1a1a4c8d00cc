//! How large the buffers of a stream are: as small as the device takes.

use cpal::{
    BufferSize, Error, ErrorKind, SampleFormat, StreamConfig, SupportedBufferSize, SupportedStreamConfig,
};

/// Callbacks a second that are asked for, best first; a device that takes none of them has its own way.
const CALLBACKS: [u32; 4] = [200, 100, 50, 25];

/// Tries the buffer sizes, best first.
pub(super) fn in_any_size<S>(
    supported: &SupportedStreamConfig,
    open: impl Fn(StreamConfig, SampleFormat) -> Result<S, Error>,
) -> Result<S, Error> {
    let sizes = CALLBACKS.map(|callbacks| {
        let frames = (supported.sample_rate() / callbacks).max(1);
        BufferSize::Fixed(match supported.buffer_size() {
            SupportedBufferSize::Range { min, max } if min <= max => frames.clamp(*min, *max),
            _ => frames,
        })
    });
    let mut refusal = None;
    for buffer_size in sizes.into_iter().chain([BufferSize::Default]) {
        let config = StreamConfig { buffer_size, ..supported.config() };
        match open(config, supported.sample_format()) {
            Ok(opened) => return Ok(opened),
            // What is not about the size will not get better with another size.
            Err(error)
                if matches!(error.kind(), ErrorKind::DeviceNotAvailable | ErrorKind::PermissionDenied) =>
            {
                return Err(error);
            }
            Err(error) => refusal = Some(error),
        }
    }
    Err(refusal.unwrap_or_else(|| ErrorKind::UnsupportedConfig.into()))
}
