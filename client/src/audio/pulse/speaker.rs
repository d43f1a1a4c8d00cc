//! A speaker.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use pulseaudio::protocol::{
    ChannelMap, Command, CreatePlaybackStreamReply, DESCRIPTOR_SIZE, PlaybackLatency, PlaybackStreamParams,
    ProtocolError, PulseError, Request,
    stream::{BufferAttr, StreamFlags},
};

use super::{
    Asking, Device, Opened, Refused, Running, SAMPLE, bytes,
    connection::{Connection, Message, answer},
    duration, latency,
};
use crate::audio::{OutputStream, output, speaker_callback};

/// Sound that the server asks for at once, and that it has in all, in millionths of a second. What is more than two
/// requests is shared by the device and the server.
const REQUEST: u32 = 2_500;
const BUFFER: u32 = 10_000;
/// Bytes that no server asks for at once.
const ABSURD: u32 = 16 * 1024 * 1024;

/// Starts a speaker.
pub(in crate::audio) fn open(device: &Device<'_>) -> Result<Opened<OutputStream>, Refused> {
    let mut connection = Connection::open()?;
    let params = PlaybackStreamParams {
        sample_spec: device.spec(),
        channel_map: ChannelMap::mono(),
        sink_name: Some(device.server_name()?),
        buffer_attr: BufferAttr {
            target_length: bytes(device.rate, BUFFER),
            minimum_request_length: bytes(device.rate, REQUEST),
            pre_buffering: 0,
            ..BufferAttr::default()
        },
        flags: StreamFlags { adjust_latency: true, ..StreamFlags::default() },
        ..PlaybackStreamParams::default()
    };
    let created: CreatePlaybackStreamReply = connection.ask(&Command::CreatePlaybackStream(params))?;
    connection.patient()?;
    let (feed, failure, stream) = output(device.name.into(), device.rate);
    let rate = device.rate;
    let fill = speaker_callback::<f32>(feed, 1);
    let running = Running::start(connection, device, failure.clone(), move |connection| {
        serve(connection, &created, rate, fill)
    })?;
    Ok((running, failure, Box::new(stream)))
}

/// When a sample is heard.
struct Known {
    position: i64,
    at: Instant,
}

fn serve(
    mut connection: Connection,
    created: &CreatePlaybackStreamReply,
    rate: u32,
    mut fill: impl FnMut(&mut [f32], Duration),
) -> Result<Infallible, ProtocolError> {
    let channel = created.channel;
    let (mut wanted, mut position, mut known) = (0, 0_i64, None::<Known>);
    let mut request = created.requested_bytes;
    let mut asking = Asking::about(channel);
    // As much as the ring holds: what is asked for at once is handed over at once, so that it is known how much that is.
    let most = (rate / 2).max(1) as usize;
    let (mut block, mut message) = (vec![0.0; most], vec![0; DESCRIPTOR_SIZE + most * SAMPLE]);
    let version = connection.version();
    loop {
        if request > ABSURD {
            return Err(ProtocolError::Invalid(format!("a request of {request} bytes")));
        }
        // All of it: what is not handed over is never asked for again.
        wanted += std::mem::take(&mut request) as usize / SAMPLE;
        while wanted > 0 {
            let count = wanted.min(most);
            let ahead =
                known.as_ref().map_or(Duration::ZERO, |known| known.ahead(position, rate, Instant::now()));
            fill(&mut block[..count], ahead);
            let message = &mut message[..DESCRIPTOR_SIZE + count * SAMPLE];
            let (bytes, _) = message[DESCRIPTOR_SIZE..].as_chunks_mut::<SAMPLE>();
            for (bytes, sample) in bytes.iter_mut().zip(&block[..count]) {
                *bytes = sample.to_le_bytes();
            }
            connection.play(channel, message)?;
            (wanted, position) = (wanted - count, position + count as i64);
        }
        asking.ask(&mut connection, Command::GetPlaybackLatency)?;
        match connection.next()? {
            Message::Command(Command::Request(Request { length, .. })) => request = length,
            Message::Reply { sequence, content } => {
                if let Some(now) = asking.answered(sequence, known.is_some()) {
                    known = Some(Known::now(&answer::<PlaybackLatency>(content, version)?, now));
                }
            }
            Message::Command(Command::PlaybackStreamKilled(_)) => {
                return Err(ProtocolError::ServerError(PulseError::Killed));
            }
            _ => {}
        }
    }
}

impl Known {
    /// The answer has come at `now`: the device has just taken everything before its place.
    fn now(told: &PlaybackLatency, now: Instant) -> Self {
        Self { position: told.read_offset / SAMPLE as i64, at: now + latency(told.sink_usec) }
    }

    /// How long it takes from `now` until the sample at `position` is heard.
    fn ahead(&self, position: i64, rate: u32, now: Instant) -> Duration {
        let after = position.saturating_sub(self.position);
        let apart = duration(after.unsigned_abs(), rate);
        let at = if after < 0 { self.at.checked_sub(apart).unwrap_or(self.at) } else { self.at + apart };
        at.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::connection::NO_TIME, *};

    #[test]
    fn a_sample_is_heard_when_the_device_has_played_what_is_before_it() {
        let now = Instant::now() + Duration::from_secs(100);
        let told = PlaybackLatency {
            sink_usec: 2_500,
            source_usec: 0,
            playing: true,
            local_time: NO_TIME,
            remote_time: NO_TIME,
            write_offset: 0,
            read_offset: 4_800 * SAMPLE as i64,
            underrun_for: 0,
            playing_for: 0,
        };
        let known = Known::now(&told, now);
        assert_eq!(known.ahead(5_280, 48_000, now), Duration::from_micros(12_500));
        assert_eq!(known.ahead(5_280, 48_000, now + Duration::from_millis(10)), Duration::from_micros(2_500));
        // What comes too late is not heard before now.
        assert_eq!(known.ahead(0, 48_000, now), Duration::ZERO);
        let absurd = PlaybackLatency { sink_usec: u64::MAX, read_offset: i64::MIN, ..told };
        assert!(Known::now(&absurd, now).ahead(i64::MAX, 1, now) <= Duration::from_secs(120));
    }
}
