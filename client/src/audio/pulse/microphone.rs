//! A microphone.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use pulseaudio::protocol::{
    ChannelMap, Command, CreateRecordStreamReply, ProtocolError, PulseError, RecordLatency,
    RecordStreamMovedParams, RecordStreamParams,
    stream::{BufferAttr, StreamFlags},
};

use super::{
    Asking, Device, Opened, Refused, Running, SAMPLE, bytes,
    connection::{Connection, Message, answer},
    duration, latency,
};
use crate::audio::{InputStream, input, microphone_callback};

/// Sound that is handed over at once, in millionths of a second; the server gives half of it to the device.
const PIECE: u32 = 5_000;
/// How the name of what hears a speaker ends.
const MONITOR: &str = ".monitor";
/// Samples that are taken at once at most.
const BLOCK: usize = 1_024;

/// Starts a microphone.
pub(in crate::audio) fn open(device: &Device<'_>) -> Result<Opened<InputStream>, Refused> {
    let mut connection = Connection::open()?;
    let params = RecordStreamParams {
        sample_spec: device.spec(),
        channel_map: ChannelMap::mono(),
        source_name: Some(device.server_name()?),
        buffer_attr: BufferAttr { fragment_size: bytes(device.rate, PIECE), ..BufferAttr::default() },
        flags: StreamFlags { adjust_latency: true, ..StreamFlags::default() },
        ..RecordStreamParams::default()
    };
    let created: CreateRecordStreamReply = connection.ask(&Command::CreateRecordStream(params))?;
    connection.patient()?;
    let (feed, failure, stream) = input(device.name.into(), device.rate);
    let (channel, rate, monitor) = (created.channel, device.rate, device.id.ends_with(MONITOR));
    let take = microphone_callback::<f32>(feed, 1);
    let running = Running::start(connection, device, failure.clone(), move |connection| {
        serve(connection, channel, rate, monitor, take)
    })?;
    Ok((running, failure, Box::new(stream)))
}

fn is_monitor(moved: &RecordStreamMovedParams) -> bool {
    moved.device_name.to_bytes().ends_with(MONITOR.as_bytes())
}

/// When a sample was in the air.
struct Known {
    position: u64,
    at: Instant,
}

fn serve(
    mut connection: Connection,
    channel: u32,
    rate: u32,
    monitor: bool,
    mut take: impl FnMut(&[f32], Duration),
) -> Result<Infallible, ProtocolError> {
    let (mut position, mut known) = (0_u64, None::<Known>);
    let mut asking = Asking::about(channel);
    let mut block = [0.0; BLOCK];
    let version = connection.version();
    loop {
        asking.ask(&mut connection, Command::GetRecordLatency)?;
        match connection.next()? {
            Message::Sound(sound) => {
                let now = Instant::now();
                let (samples, _) = sound.as_chunks::<SAMPLE>();
                let mut left = samples.len();
                for piece in samples.chunks(BLOCK) {
                    for (sample, bytes) in block.iter_mut().zip(piece) {
                        *sample = f32::from_le_bytes(*bytes);
                    }
                    // Before the server has told, the newest sample is taken for one that has just been captured.
                    let newest = || duration(left as u64, rate);
                    let age = known.as_ref().map_or_else(newest, |known| known.age(position, rate, now));
                    take(&block[..piece.len()], age);
                    position += piece.len() as u64;
                    left -= piece.len();
                }
            }
            Message::Reply { sequence, content } => {
                if let Some(now) = asking.answered(sequence, known.is_some()) {
                    known =
                        Some(Known::next(position, rate, &answer::<RecordLatency>(content, version)?, now));
                }
            }
            // A microphone that is gone, and now this would be what the speaker plays.
            Message::Command(Command::RecordStreamMoved(moved)) if is_monitor(&moved) && !monitor => {
                return Err(ProtocolError::ServerError(PulseError::Killed));
            }
            Message::Command(Command::RecordStreamKilled(_)) => {
                return Err(ProtocolError::ServerError(PulseError::Killed));
            }
            _ => {}
        }
    }
}

impl Known {
    /// The answer has come at `now`: the next sample is the oldest of those that the server still has.
    fn next(position: u64, rate: u32, told: &RecordLatency, now: Instant) -> Self {
        let waiting =
            told.write_offset.saturating_sub(told.read_offset).max(0).unsigned_abs() / SAMPLE as u64;
        let age = duration(waiting, rate) + latency(told.source_usec);
        // What a speaker plays is captured before it is heard.
        let at = now.checked_sub(age).unwrap_or(now) + latency(told.sink_usec);
        Self { position, at }
    }

    fn age(&self, position: u64, rate: u32, now: Instant) -> Duration {
        now.saturating_duration_since(self.at + duration(position.saturating_sub(self.position), rate))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::connection::NO_TIME, *};

    #[test]
    fn a_sample_is_as_old_as_what_waits_before_it_and_the_device_say() {
        let now = Instant::now() + Duration::from_secs(100);
        let told = RecordLatency {
            sink_usec: 0,
            source_usec: 3_000,
            playing: true,
            local_time: NO_TIME,
            remote_time: NO_TIME,
            write_offset: 480 * SAMPLE as i64 + 96,
            read_offset: 96,
        };
        let known = Known::next(1_000, 48_000, &told, now);
        assert_eq!(known.age(1_000, 48_000, now), Duration::from_millis(13));
        // A sample is younger than the one before it, and ages.
        assert_eq!(known.age(1_048, 48_000, now + Duration::from_millis(5)), Duration::from_millis(17));
        // What a speaker plays is not in the air yet.
        let monitor = RecordLatency { sink_usec: 20_000, ..told };
        assert_eq!(Known::next(0, 48_000, &monitor, now).age(0, 48_000, now), Duration::ZERO);
        let absurd =
            RecordLatency { source_usec: u64::MAX, write_offset: i64::MAX, read_offset: i64::MIN, ..told };
        assert!(Known::next(0, 1, &absurd, now).age(u64::MAX, 1, now) <= Duration::from_secs(200));
    }
}
