//! Streams in whatever format, rate and number of channels a device has, as mono `f32`.

use std::{any::Any, time::Duration};

use cpal::{
    Device, Error, ErrorKind, FromSample, I24, InputCallbackInfo, OutputCallbackInfo, SampleFormat,
    SizedSample, Stream, StreamConfig, SupportedStreamConfig, SupportedStreamConfigRange, U24,
    traits::{DeviceTrait, StreamTrait},
};

#[cfg(target_os = "linux")]
use super::id_on_server;
use super::{
    buffers::in_any_size,
    callback::{microphone_callback, speaker_callback},
    failed, is_fatal,
};
#[cfg(target_os = "linux")]
use crate::audio::pulse;
use crate::audio::{
    InputFeed, InputStream, MAX_RATE, MIN_RATE, OutputFeed, OutputStream, input as input_ring,
    output as output_ring, stream::Failure,
};

/// How long the system may take to make a stream.
const BUILD: Duration = Duration::from_secs(3);

/// A device that runs until this is dropped.
pub(super) struct Running {
    pub(super) failure: Failure,
    _stream: Box<dyn Any>,
}

/// A running device, and what makes its stream once there is a guard that keeps it running.
pub(super) struct Opened<S> {
    pub(super) running: Running,
    pub(super) stream: Box<dyn FnOnce(Box<dyn Any + Send>) -> S>,
}

/// Starts a microphone.
pub(super) fn input(device: &Device, name: &str) -> Result<Opened<InputStream>, Error> {
    #[cfg(target_os = "linux")]
    if let Some(id) = id_on_server(device) {
        return server_input(id.id(), device, name);
    }
    let config = match device.default_input_config() {
        Ok(config) if fits(&config) => config,
        _ => best(device.supported_input_configs()?)?,
    };
    in_any_size(&config, |config, format| {
        let (feed, failure, stream) = input_ring(name.into(), config.sample_rate);
        let running = match format {
            SampleFormat::I8 => capture::<i8>(device, config, feed, failure.clone(), name.into()),
            SampleFormat::I16 => capture::<i16>(device, config, feed, failure.clone(), name.into()),
            SampleFormat::I24 => capture::<I24>(device, config, feed, failure.clone(), name.into()),
            SampleFormat::I32 => capture::<i32>(device, config, feed, failure.clone(), name.into()),
            SampleFormat::U8 => capture::<u8>(device, config, feed, failure.clone(), name.into()),
            SampleFormat::U16 => capture::<u16>(device, config, feed, failure.clone(), name.into()),
            SampleFormat::U24 => capture::<U24>(device, config, feed, failure.clone(), name.into()),
            SampleFormat::U32 => capture::<u32>(device, config, feed, failure.clone(), name.into()),
            SampleFormat::F32 => capture::<f32>(device, config, feed, failure.clone(), name.into()),
            SampleFormat::F64 => capture::<f64>(device, config, feed, failure.clone(), name.into()),
            _ => Err(ErrorKind::UnsupportedConfig.into()),
        }?;
        running.play()?;
        let running = Running { failure, _stream: Box::new(running) };
        Ok(Opened { running, stream: Box::new(stream) })
    })
}

/// Starts a microphone of a sound server.
#[cfg(target_os = "linux")]
fn server_input(id: &str, device: &Device, name: &str) -> Result<Opened<InputStream>, Error> {
    let rate = rate_on_server(device.default_input_config()?.sample_rate());
    let (running, failure, stream) = pulse::open_microphone(&pulse::Device { id, name, rate })?;
    Ok(Opened { running: Running { failure, _stream: Box::new(running) }, stream })
}

/// Starts a speaker of a sound server.
#[cfg(target_os = "linux")]
fn server_output(id: &str, device: &Device, name: &str) -> Result<Opened<OutputStream>, Error> {
    let rate = rate_on_server(device.default_output_config()?.sample_rate());
    let (running, failure, stream) = pulse::open_speaker(&pulse::Device { id, name, rate })?;
    Ok(Opened { running: Running { failure, _stream: Box::new(running) }, stream })
}

/// The device's own, or what the server makes of it.
#[cfg(target_os = "linux")]
fn rate_on_server(rate: u32) -> u32 {
    rate.clamp(MIN_RATE, MAX_RATE)
}

#[cfg(target_os = "linux")]
impl From<pulse::Refused> for Error {
    fn from(refused: pulse::Refused) -> Self {
        match refused {
            pulse::Refused::Gone => ErrorKind::DeviceNotAvailable.into(),
            pulse::Refused::Failed(reason) => Self::with_message(ErrorKind::BackendError, reason),
        }
    }
}

/// Starts a speaker.
pub(super) fn output(device: &Device, name: &str) -> Result<Opened<OutputStream>, Error> {
    #[cfg(target_os = "linux")]
    if let Some(id) = id_on_server(device) {
        return server_output(id.id(), device, name);
    }
    let config = match device.default_output_config() {
        Ok(config) if fits(&config) => config,
        _ => best(device.supported_output_configs()?)?,
    };
    in_any_size(&config, |config, format| {
        let (feed, failure, stream) = output_ring(name.into(), config.sample_rate);
        let running = match format {
            SampleFormat::I8 => play::<i8>(device, config, feed, failure.clone(), name.into()),
            SampleFormat::I16 => play::<i16>(device, config, feed, failure.clone(), name.into()),
            SampleFormat::I24 => play::<I24>(device, config, feed, failure.clone(), name.into()),
            SampleFormat::I32 => play::<i32>(device, config, feed, failure.clone(), name.into()),
            SampleFormat::U8 => play::<u8>(device, config, feed, failure.clone(), name.into()),
            SampleFormat::U16 => play::<u16>(device, config, feed, failure.clone(), name.into()),
            SampleFormat::U24 => play::<U24>(device, config, feed, failure.clone(), name.into()),
            SampleFormat::U32 => play::<u32>(device, config, feed, failure.clone(), name.into()),
            SampleFormat::F32 => play::<f32>(device, config, feed, failure.clone(), name.into()),
            SampleFormat::F64 => play::<f64>(device, config, feed, failure.clone(), name.into()),
            _ => Err(ErrorKind::UnsupportedConfig.into()),
        }?;
        running.play()?;
        let running = Running { failure, _stream: Box::new(running) };
        Ok(Opened { running, stream: Box::new(stream) })
    })
}

fn capture<T>(
    device: &Device,
    config: StreamConfig,
    feed: InputFeed,
    failure: Failure,
    name: String,
) -> Result<Stream, Error>
where
    T: SizedSample,
    f32: FromSample<T>,
{
    let mut take = microphone_callback(feed, usize::from(config.channels));
    let callback = move |data: &[T], info: &InputCallbackInfo| {
        let times = info.timestamp();
        take(data, times.callback.saturating_duration_since(times.capture));
    };
    device.build_input_stream(config, callback, on_error(failure, name), Some(BUILD))
}

fn play<T>(
    device: &Device,
    config: StreamConfig,
    feed: OutputFeed,
    failure: Failure,
    name: String,
) -> Result<Stream, Error>
where
    T: SizedSample + FromSample<f32>,
{
    let mut fill = speaker_callback(feed, usize::from(config.channels));
    let callback = move |data: &mut [T], info: &OutputCallbackInfo| {
        let times = info.timestamp();
        fill(data, times.playback.saturating_duration_since(times.callback));
    };
    device.build_output_stream(config, callback, on_error(failure, name), Some(BUILD))
}

fn on_error(failure: Failure, name: String) -> impl FnMut(Error) + Send + 'static {
    move |error| {
        if is_fatal(&error) {
            failure.set(failed(&name, &error));
        }
    }
}

fn fits(config: &SupportedStreamConfig) -> bool {
    (MIN_RATE..=MAX_RATE).contains(&config.sample_rate())
        && (1..=8).contains(&config.channels())
        && rank(config.sample_format()).is_some()
}

/// How good a format is, the less the better; none: it is not known here.
fn rank(format: SampleFormat) -> Option<u8> {
    match format {
        SampleFormat::F32 => Some(0),
        SampleFormat::I16 => Some(1),
        SampleFormat::I32 | SampleFormat::I24 | SampleFormat::F64 => Some(2),
        SampleFormat::U16 | SampleFormat::U24 | SampleFormat::U32 => Some(3),
        SampleFormat::I8 | SampleFormat::U8 => Some(4),
        _ => None,
    }
}

/// Of all that a device can do, what is nearest to 48 kHz and few channels.
fn best(ranges: impl Iterator<Item = SupportedStreamConfigRange>) -> Result<SupportedStreamConfig, Error> {
    ranges
        .filter_map(|range| {
            let (low, high) = (range.min_sample_rate().max(MIN_RATE), range.max_sample_rate().min(MAX_RATE));
            let rate = (low <= high).then(|| crate::dsp::RATE.clamp(low, high))?;
            let config = range.try_with_sample_rate(rate)?;
            let rank = rank(config.sample_format())?;
            Some(((rate.abs_diff(crate::dsp::RATE), config.channels(), rank), config))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, config)| config)
        .ok_or_else(|| ErrorKind::UnsupportedConfig.into())
}
