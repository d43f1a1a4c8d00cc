//! When each sample of a microphone was in the air.
//!
//! A device's callbacks come when the system gets to them: each says "sample n was captured at t" with an error
//! of some milliseconds, and the device's crystal runs a little off the system's. A first-order loop follows
//! both: it keeps one number, the time of sample 0 at the nominal rate, averages the first stamps, and then
//! moves by a small share of each stamp's error. A large error is no noise but a gap (lost samples, a suspended
//! machine), and is taken at once.

use std::time::{Duration, Instant};

use crate::audio::Stamp;

/// Share of a stamp's error that the clock takes over, once it has settled.
const GAIN: f64 = 1.0 / 64.0;
/// An error from here on is a gap, in seconds.
const GAP: f64 = 0.03;

/// The time line of one microphone.
#[derive(Clone, Debug)]
pub struct CaptureClock {
    rate: f64,
    /// The first stamp, as the point that offsets are taken from.
    first: Option<Stamp>,
    /// What the first stamp's time is late by, in seconds.
    offset: f64,
    seen: u32,
}

impl CaptureClock {
    /// For a device with this many samples a second.
    pub fn new(sample_rate: u32) -> Self {
        Self { rate: f64::from(sample_rate), first: None, offset: 0.0, seen: 0 }
    }

    /// Learns from a stamp.
    pub fn observe(&mut self, stamp: Stamp) {
        let Some(first) = self.first else {
            self.first = Some(stamp);
            return;
        };
        self.seen = self.seen.saturating_add(1);
        let nominal = (stamp.position as f64 - first.position as f64) / self.rate;
        let error = seconds_between(first.captured_at, stamp.captured_at) - nominal - self.offset;
        let share = if error.abs() >= GAP { 1.0 } else { GAIN.max(1.0 / f64::from(self.seen + 1)) };
        self.offset += error * share;
    }

    /// When the sample at `position` (fractions allowed) was in the air; `None` before the first stamp.
    pub fn time_of(&self, position: f64) -> Option<Instant> {
        let first = self.first?;
        let after = (position - first.position as f64) / self.rate + self.offset;
        if after >= 0.0 {
            Some(first.captured_at + Duration::from_secs_f64(after))
        } else {
            // Before the epoch of the system's clock there is nothing: the first stamp is near enough.
            Some(first.captured_at.checked_sub(Duration::from_secs_f64(-after)).unwrap_or(first.captured_at))
        }
    }
}

fn seconds_between(from: Instant, to: Instant) -> f64 {
    match to.checked_duration_since(from) {
        Some(after) => after.as_secs_f64(),
        None => -from.duration_since(to).as_secs_f64(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn micros_off(clock: &CaptureClock, position: f64, truth: Instant) -> f64 {
        seconds_between(truth, clock.time_of(position).unwrap()) * 1e6
    }

    #[test]
    fn exact_stamps_give_exact_times() {
        let (start, mut clock) = (Instant::now(), CaptureClock::new(48_000));
        assert_eq!(clock.time_of(0.0), None);
        for block in 0..100 {
            clock.observe(Stamp {
                position: block * 480,
                captured_at: start + Duration::from_millis(block * 10),
            });
        }
        assert!(micros_off(&clock, 24_000.0, start + Duration::from_millis(500)).abs() < 1.0);
        assert!(micros_off(&clock, 0.5, start + Duration::from_nanos(10_417)).abs() < 1.0);
    }

    #[test]
    fn noise_is_smoothed_and_drift_is_followed() {
        let (start, mut clock) = (Instant::now(), CaptureClock::new(44_100));
        // 200 ppm fast, stamps off by up to 2 ms either way.
        let truth = |position: u64| start + Duration::from_secs_f64(position as f64 / 44_100.0 / 1.0002);
        let mut noise = 12_345u32;
        for block in 0..6_000u64 {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let jitter = Duration::from_micros(u64::from(noise >> 16) % 4_000);
            let captured_at = truth(block * 441) + jitter;
            clock.observe(Stamp { position: block * 441, captured_at });
            if block > 500 {
                let off = micros_off(&clock, (block * 441) as f64, truth(block * 441)) - 2_000.0;
                assert!(off.abs() < 700.0, "{off} µs at block {block}");
            }
        }
    }

    #[test]
    fn a_gap_is_taken_at_once() {
        let (start, mut clock) = (Instant::now(), CaptureClock::new(48_000));
        for block in 0..100 {
            clock.observe(Stamp {
                position: block * 480,
                captured_at: start + Duration::from_millis(block * 10),
            });
        }
        let after = start + Duration::from_millis(1_000 + 250);
        clock.observe(Stamp { position: 48_000, captured_at: after });
        assert!(micros_off(&clock, 48_000.0, after).abs() < 1.0);
    }
}
