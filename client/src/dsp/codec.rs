//! Opus, as this product uses it: 48 kHz, mono, voice.
//!
//! The bit rate is constant: under encryption the length of a packet is all that an eavesdropper sees, and
//! with a variable rate it tells what is said (RFC 6562). Encoder and decoder are both reset between bursts, so
//! that a burst can be decoded without what came before it.

use audiopus::{
    Application, Bandwidth, Bitrate, Channels, MutSignals, SampleRate, Signal,
    coder::{Decoder as OpusDecoder, Encoder as OpusEncoder, GenericCtl},
    packet::{self, Packet},
};
use voip_protocol::{limits::MAX_OPUS_FRAME, voice::FrameDuration};

/// From this bit rate on, in bits a second, Opus looks ahead by 2.5 ms instead of 6.5. It costs little here (PESQ-WB of
/// recorded English and Italian through libopus alone, frames of 10 ms: 4.40 instead of 4.55), and too much below (4.13
/// instead of 4.46 at 40,000).
const LOW_DELAY_FROM: u32 = 64_000;

/// From this bit rate on, and below that one, in bits a second, Opus is told to stay wideband. By itself it would rather
/// have less band: recorded speech loses 0.2 to 0.3 of PESQ-WB by it (16,000: 4.20 instead of 3.93; 24,000: 4.46
/// instead of 4.28).
const WIDEBAND_FROM: u32 = 10_000;
const WIDEBAND_BELOW: u32 = 28_000;

/// Why a frame could not be made or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes are no Opus frame of the duration they should have.
    #[error("the bytes are not an Opus frame of the duration that they should have")]
    Malformed,
    /// What the library says.
    #[error("Opus failed: {0}")]
    Opus(String),
}

impl From<audiopus::Error> for CodecError {
    fn from(error: audiopus::Error) -> Self {
        Self::Opus(error.to_string())
    }
}

/// Makes Opus frames.
#[derive(Debug)]
pub struct Encoder {
    opus: OpusEncoder,
    bitrate: u32,
    look_ahead: u32,
}

impl Encoder {
    /// An encoder at `bitrate` bits a second.
    pub fn new(bitrate: u32) -> Result<Self, CodecError> {
        let mut opus = OpusEncoder::new(SampleRate::Hz48000, Channels::Mono, Application::Voip)?;
        opus.set_signal(Signal::Voice)?;
        opus.set_vbr(false)?;
        let mut encoder = Self { opus, bitrate: 0, look_ahead: 0 };
        encoder.begin(bitrate)?;
        Ok(encoder)
    }

    /// Begins a burst at `bitrate` bits a second: what came before is forgotten, and the next frame stands alone.
    pub fn begin(&mut self, bitrate: u32) -> Result<(), CodecError> {
        self.opus.reset_state()?;
        if bitrate != self.bitrate {
            // Opus changes it only where nothing has been encoded yet.
            self.opus.set_application(application(bitrate))?;
            self.set_bitrate(bitrate)?;
            self.look_ahead = self.opus.lookahead()?;
        }
        Ok(())
    }

    /// Goes on at another bit rate, within a burst; what came before is forgotten only where it has to be.
    pub fn change(&mut self, bitrate: u32) -> Result<(), CodecError> {
        if application(bitrate) as i32 == application(self.bitrate) as i32 {
            self.set_bitrate(bitrate)
        } else {
            self.begin(bitrate)
        }
    }

    fn set_bitrate(&mut self, bitrate: u32) -> Result<(), CodecError> {
        self.opus.set_bitrate(Bitrate::BitsPerSecond(bitrate.clamp(6_000, 510_000) as i32))?;
        let wideband = (WIDEBAND_FROM..WIDEBAND_BELOW).contains(&bitrate);
        self.opus.set_bandwidth(if wideband { Bandwidth::Wideband } else { Bandwidth::Auto })?;
        self.bitrate = bitrate;
        Ok(())
    }

    /// Samples by which decoded sound is behind what went in.
    pub fn look_ahead(&self) -> u32 {
        self.look_ahead
    }

    /// Encodes one frame, [`FrameDuration::samples`] long; says how many bytes of `frame` it took.
    pub fn encode(&mut self, samples: &[f32], frame: &mut [u8; MAX_OPUS_FRAME]) -> Result<usize, CodecError> {
        Ok(self.opus.encode_float(samples, frame)?)
    }
}

/// Reads Opus frames. Any bytes are safe to give to it.
#[derive(Debug)]
pub struct Decoder {
    opus: OpusDecoder,
}

impl Decoder {
    /// A decoder that has heard nothing yet.
    pub fn new() -> Result<Self, CodecError> {
        Ok(Self { opus: OpusDecoder::new(SampleRate::Hz48000, Channels::Mono)? })
    }

    /// Forgets what came before.
    pub fn reset(&mut self) -> Result<(), CodecError> {
        Ok(self.opus.reset_state()?)
    }

    /// Decodes `frame` into the first [`FrameDuration::samples`] of `samples`. A frame that holds more or less
    /// sound than its packet's header says is malformed: it would push its talker out of time.
    pub fn decode(
        &mut self,
        frame: &[u8],
        duration: FrameDuration,
        samples: &mut [f32],
    ) -> Result<(), CodecError> {
        let wanted = duration.samples();
        let holds =
            packet::nb_samples(packet_of(frame)?, SampleRate::Hz48000).map_err(|_| CodecError::Malformed)?;
        if holds != wanted || samples.len() < wanted {
            return Err(CodecError::Malformed);
        }
        let room = MutSignals::try_from(&mut samples[..wanted])?;
        let decoded = self.opus.decode_float(Some(packet_of(frame)?), room, false)?;
        if decoded == wanted { Ok(()) } else { Err(CodecError::Malformed) }
    }

    /// Makes up `samples` for a frame that is missing; their count is a multiple of 2.5 ms, up to 120 ms.
    pub fn conceal(&mut self, samples: &mut [f32]) -> Result<(), CodecError> {
        let wanted = samples.len();
        let decoded = self.opus.decode_float(None, MutSignals::try_from(samples)?, false)?;
        if decoded == wanted { Ok(()) } else { Err(CodecError::Malformed) }
    }
}

fn application(bitrate: u32) -> Application {
    if bitrate >= LOW_DELAY_FROM { Application::LowDelay } else { Application::Voip }
}

fn packet_of(frame: &[u8]) -> Result<Packet<'_>, CodecError> {
    Packet::try_from(frame).map_err(|_| CodecError::Malformed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dsp::{peak, tests::voice_like};

    fn encode_all(encoder: &mut Encoder, sound: &[f32], duration: FrameDuration) -> Vec<Vec<u8>> {
        let mut frame = [0; MAX_OPUS_FRAME];
        let encode = |samples: &[f32]| {
            let count = encoder.encode(samples, &mut frame).unwrap();
            frame[..count].to_vec()
        };
        sound.chunks_exact(duration.samples()).map(encode).collect()
    }

    /// Likeness of `heard`, `delay` samples late, to `said`: 1 is the same.
    fn likeness(said: &[f32], heard: &[f32], delay: usize) -> f32 {
        let pairs = said.iter().zip(&heard[delay..]);
        let (mut product, mut first, mut second) = (0.0, 0.0, 0.0);
        for (a, b) in pairs {
            product += a * b;
            first += a * a;
            second += b * b;
        }
        product / (first * second).sqrt()
    }

    #[test]
    fn every_duration_sounds_alike_and_comes_out_after_the_known_delay() {
        let sound = voice_like(48_000);
        let both = [40_000, LOW_DELAY_FROM].into_iter();
        for (bitrate, duration) in
            both.flat_map(|bitrate| FrameDuration::ALL.map(|duration| (bitrate, duration)))
        {
            let mut encoder = Encoder::new(24_000).unwrap();
            encoder.begin(bitrate).unwrap();
            assert_eq!(encoder.look_ahead(), if bitrate < LOW_DELAY_FROM { 312 } else { 120 });
            let mut decoder = Decoder::new().unwrap();
            let mut heard = Vec::new();
            for frame in encode_all(&mut encoder, &sound, duration) {
                let mut samples = vec![0.0; duration.samples()];
                decoder.decode(&frame, duration, &mut samples).unwrap();
                heard.extend_from_slice(&samples);
            }
            let best = (0..1_000).max_by(|a, b| {
                likeness(&sound[..40_000], &heard, *a).total_cmp(&likeness(&sound[..40_000], &heard, *b))
            });
            let best = best.unwrap();
            let alike = likeness(&sound[..40_000], &heard, best);
            assert!(alike > 0.9, "{duration:?}: {alike} at {best}");
            assert!(best.abs_diff(encoder.look_ahead() as usize) <= 48, "{duration:?}: delay {best}");
        }
    }

    #[test]
    fn the_rate_is_constant_and_can_be_changed() {
        let mut encoder = Encoder::new(40_000).unwrap();
        let mut sound = vec![0.0; 4_800];
        sound.extend(voice_like(4_800));
        let frames = encode_all(&mut encoder, &sound, FrameDuration::Ms10);
        assert!(frames.iter().all(|frame| frame.len() == 50));
        encoder.begin(16_000).unwrap();
        let frames = encode_all(&mut encoder, &sound, FrameDuration::Ms10);
        assert!(frames.iter().all(|frame| frame.len() == 20));
    }

    #[test]
    fn the_largest_frame_fits_a_packet() {
        let mut encoder = Encoder::new(128_000).unwrap();
        for frame in encode_all(&mut encoder, &voice_like(48_000), FrameDuration::Ms60) {
            assert_eq!(frame.len(), 960);
        }
    }

    #[test]
    fn a_burst_after_a_reset_does_not_depend_on_what_was_before() {
        let sound = voice_like(9_600);
        let mut encoder = Encoder::new(40_000).unwrap();
        let alone = encode_all(&mut encoder, &sound[4_800..], FrameDuration::Ms10);
        encoder.begin(40_000).unwrap();
        encode_all(&mut encoder, &sound[..4_800], FrameDuration::Ms10);
        encoder.begin(40_000).unwrap();
        assert_eq!(encode_all(&mut encoder, &sound[4_800..], FrameDuration::Ms10), alone);
    }

    #[test]
    fn a_missing_frame_is_made_up_and_dies_away() {
        let mut encoder = Encoder::new(40_000).unwrap();
        let mut decoder = Decoder::new().unwrap();
        let mut samples = [0.0; 480];
        for frame in encode_all(&mut encoder, &voice_like(9_600), FrameDuration::Ms10) {
            decoder.decode(&frame, FrameDuration::Ms10, &mut samples).unwrap();
        }
        let before = peak(&samples);
        decoder.conceal(&mut samples).unwrap();
        let first = peak(&samples);
        assert!(first > before / 4.0, "{first} after {before}");
        for _ in 0..30 {
            decoder.conceal(&mut samples).unwrap();
        }
        // What remains is the hiss in the background.
        assert!(peak(&samples) < first / 2.0, "{} after {first}", peak(&samples));
    }

    #[test]
    fn a_frame_of_another_duration_is_malformed() {
        let mut encoder = Encoder::new(40_000).unwrap();
        let frames = encode_all(&mut encoder, &voice_like(960), FrameDuration::Ms20);
        let mut decoder = Decoder::new().unwrap();
        let mut samples = [0.0; 2_880];
        let result = decoder.decode(&frames[0], FrameDuration::Ms10, &mut samples);
        assert_eq!(result, Err(CodecError::Malformed));
        assert_eq!(decoder.decode(&[], FrameDuration::Ms10, &mut samples), Err(CodecError::Malformed));
        decoder.decode(&frames[0], FrameDuration::Ms20, &mut samples).unwrap();
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..20),
            duration in 0usize..6,
        ) {
            let mut decoder = Decoder::new().unwrap();
            let mut samples = [0.0; 2_880];
            for frame in frames {
                let _ = decoder.decode(&frame, FrameDuration::ALL[duration], &mut samples);
                decoder.conceal(&mut samples[..480]).unwrap();
            }
        }

        #[test]
        fn flipped_bits_are_decoded_or_refused(at in 0usize..400, seed in 0usize..20) {
            let mut encoder = Encoder::new(40_000).unwrap();
            let sound = voice_like(9_600 + seed * 480);
            let mut frames = encode_all(&mut encoder, &sound[seed * 480..], FrameDuration::Ms10);
            let mut decoder = Decoder::new().unwrap();
            let mut samples = [0.0; 480];
            frames[10][at / 8] ^= 1 << (at % 8);
            for frame in frames {
                let _ = decoder.decode(&frame, FrameDuration::Ms10, &mut samples);
            }
        }
    }
}
