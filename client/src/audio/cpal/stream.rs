//! Streams in whatever format, rate and number of channels a device has, as mono `f32`.

use std::{
    any::Any,
    time::{Duration, Instant},
};

use cpal::{
    BufferSize, Device, Error, ErrorKind, FromSample, I24, InputCallbackInfo, OutputCallbackInfo, Sample,
    SampleFormat, SizedSample, Stream, StreamConfig, SupportedBufferSize, SupportedStreamConfig,
    SupportedStreamConfigRange, U24, traits::DeviceTrait,
};

use super::{failed, is_fatal};
use crate::audio::{
    InputFeed, InputStream, MAX_RATE, MIN_RATE, OutputFeed, OutputStream, input as input_ring,
    output as output_ring, stream::Failure,
};

/// Callbacks a second that are asked for, best first; a device that takes none of them has its own way.
const CALLBACKS: [u32; 4] = [200, 100, 50, 25];
/// How long the system may take to make a stream.
const BUILD: Duration = Duration::from_secs(3);

/// A device that runs until this is dropped.
pub(super) struct Running {
    pub(super) stream: Stream,
    pub(super) failure: Failure,
}

/// A running device, and what makes its stream once there is a guard that keeps it running.
type Opened<S> = (Running, Box<dyn FnOnce(Box<dyn Any + Send>) -> S>);

pub(super) fn input(device: &Device, name: String) -> Result<Opened<InputStream>, Error> {
    let config = match device.default_input_config() {
        Ok(config) if fits(&config) => config,
        _ => best(device.supported_input_configs()?)?,
    };
    in_any_size(&config, |config, format| {
        let (feed, failure, stream) = input_ring(name.clone(), config.sample_rate);
        let running = match format {
            SampleFormat::I8 => capture::<i8>(device, config, feed, failure.clone(), name.clone()),
            SampleFormat::I16 => capture::<i16>(device, config, feed, failure.clone(), name.clone()),
            SampleFormat::I24 => capture::<I24>(device, config, feed, failure.clone(), name.clone()),
            SampleFormat::I32 => capture::<i32>(device, config, feed, failure.clone(), name.clone()),
            SampleFormat::U8 => capture::<u8>(device, config, feed, failure.clone(), name.clone()),
            SampleFormat::U16 => capture::<u16>(device, config, feed, failure.clone(), name.clone()),
            SampleFormat::U24 => capture::<U24>(device, config, feed, failure.clone(), name.clone()),
            SampleFormat::U32 => capture::<u32>(device, config, feed, failure.clone(), name.clone()),
            SampleFormat::F32 => capture::<f32>(device, config, feed, failure.clone(), name.clone()),
            SampleFormat::F64 => capture::<f64>(device, config, feed, failure.clone(), name.clone()),
            _ => Err(ErrorKind::UnsupportedConfig.into()),
        }?;
        Ok((Running { stream: running, failure }, Box::new(stream) as Box<dyn FnOnce(_) -> _>))
    })
}

pub(super) fn output(device: &Device, name: String) -> Result<Opened<OutputStream>, Error> {
    let config = match device.default_output_config() {
        Ok(config) if fits(&config) => config,
        _ => best(device.supported_output_configs()?)?,
    };
    in_any_size(&config, |config, format| {
        let (feed, failure, stream) = output_ring(name.clone(), config.sample_rate);
        let running = match format {
            SampleFormat::I8 => play::<i8>(device, config, feed, failure.clone(), name.clone()),
            SampleFormat::I16 => play::<i16>(device, config, feed, failure.clone(), name.clone()),
            SampleFormat::I24 => play::<I24>(device, config, feed, failure.clone(), name.clone()),
            SampleFormat::I32 => play::<i32>(device, config, feed, failure.clone(), name.clone()),
            SampleFormat::U8 => play::<u8>(device, config, feed, failure.clone(), name.clone()),
            SampleFormat::U16 => play::<u16>(device, config, feed, failure.clone(), name.clone()),
            SampleFormat::U24 => play::<U24>(device, config, feed, failure.clone(), name.clone()),
            SampleFormat::U32 => play::<u32>(device, config, feed, failure.clone(), name.clone()),
            SampleFormat::F32 => play::<f32>(device, config, feed, failure.clone(), name.clone()),
            SampleFormat::F64 => play::<f64>(device, config, feed, failure.clone(), name.clone()),
            _ => Err(ErrorKind::UnsupportedConfig.into()),
        }?;
        Ok((Running { stream: running, failure }, Box::new(stream) as Box<dyn FnOnce(_) -> _>))
    })
}

fn capture<T>(
    device: &Device,
    config: StreamConfig,
    mut feed: InputFeed,
    failure: Failure,
    name: String,
) -> Result<Stream, Error>
where
    T: SizedSample,
    f32: FromSample<T>,
{
    let channels = usize::from(config.channels).max(1);
    let callback = move |data: &[T], info: &InputCallbackInfo| {
        let times = info.timestamp();
        let latency = times.callback.saturating_duration_since(times.capture);
        let now = Instant::now();
        let mono = data
            .chunks_exact(channels)
            .map(|frame| frame.iter().map(|sample| f32::from_sample(*sample)).sum::<f32>() / channels as f32);
        feed.push(data.len() / channels, now.checked_sub(latency).unwrap_or(now), mono);
    };
    device.build_input_stream(config, callback, on_error(failure, name), Some(BUILD))
}

fn play<T>(
    device: &Device,
    config: StreamConfig,
    mut feed: OutputFeed,
    failure: Failure,
    name: String,
) -> Result<Stream, Error>
where
    T: SizedSample + FromSample<f32>,
{
    let channels = usize::from(config.channels).max(1);
    let callback = move |data: &mut [T], info: &OutputCallbackInfo| {
        let times = info.timestamp();
        let latency = times.playback.saturating_duration_since(times.callback);
        let count = data.len() / channels;
        let mut frames = data.chunks_exact_mut(channels);
        feed.pull(count, latency, |sample| {
            if let Some(frame) = frames.next() {
                frame.fill(T::from_sample(sample));
            }
        });
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

/// Tries the buffer sizes, best first.
fn in_any_size<S>(
    supported: &SupportedStreamConfig,
    mut open: impl FnMut(StreamConfig, SampleFormat) -> Result<S, Error>,
) -> Result<S, Error> {
    let dbg = std::env::var("DBG_CB").ok().and_then(|s| s.parse::<u32>().ok());
    let sizes = CALLBACKS.map(|callbacks| { let callbacks = dbg.unwrap_or(callbacks);
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
