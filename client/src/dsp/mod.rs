//! What happens to sound between a device and the network. No devices, no sockets, no clock: times are passed in.
//!
//! Everything here runs at 48 kHz, mono, `f32`; only [`Resampler`] knows other rates.

mod clock;
mod codec;
mod delay;
mod jitter;
mod level;
mod leveler;
mod losses;
mod mix;
mod pace;
mod process;
mod resample;
mod shares;
mod stretch;

pub use clock::CaptureClock;
pub use codec::{CodecError, Decoder, Encoder};
pub use delay::DelayEstimator;
pub use jitter::{Arrival, Counters, Frame, Inserted, Jitter, Pull};
pub use level::{FLOOR, dbfs, peak};
pub use leveler::Leveler;
pub use losses::LossMeter;
pub use mix::{Limiter, add, fade_in, fade_out};
pub use pace::Pace;
pub use process::{PROCESSED, Processor};
pub use resample::Resampler;
pub use shares::{Gather, SharePacket, Split, Whole, share_len};
pub use stretch::{STRETCH_MIN, STRETCH_ROOM, lengthen, shorten, shorten_by};

/// The rate that everything is done at, in Hz.
pub const RATE: u32 = 48_000;

#[cfg(test)]
pub(crate) mod tests {
    /// Something with a voice's pitch, harmonics, syllables and hiss, without repeating itself.
    pub(crate) fn voice_like(count: usize) -> Vec<f32> {
        let (mut phase, mut noise) = (0.0f32, 1u32);
        (0..count)
            .map(|n| {
                let at = n as f32 / 48_000.0;
                phase += (140.0 + 40.0 * (at * 5.1).sin() + 15.0 * (at * 17.0).cos()) / 48_000.0;
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let hiss = (noise >> 8) as f32 / 8_388_608.0 - 1.0;
                let harmonics: f32 =
                    (1..12).map(|k| (phase * std::f32::consts::TAU * k as f32).sin() / (k * k) as f32).sum();
                let syllable = 0.55 + 0.45 * (at * 23.0).sin();
                0.4 * syllable * harmonics + 0.01 * hiss
            })
            .collect()
    }
}
