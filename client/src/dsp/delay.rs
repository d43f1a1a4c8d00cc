//! How long a talker's frames have to wait, so that most late ones are still in time.
//!
//! A frame's *transit* is its arrival here less its capture there. The two clocks have nothing in common, so only
//! differences of transits mean something (the idea of RFC 3550 §6.4.1): a frame's *lag* is its transit over the
//! smallest one of the last ten seconds. Lags are collected in a histogram that forgets exponentially, as
//! `WebRTC`'s `NetEQ` does; the wanted delay is its 97th percentile and a margin for this machine's own timers. Three
//! frames in a hundred may thus come late in the steady state; what happens then is up to [`Jitter`](super::Jitter).
//!
//! Times are ticks: 1/48000 s.

use super::RATE;

/// Ticks in a millisecond.
pub(super) const MS: u32 = RATE / 1_000;
/// Width of a bin of the histogram.
const BIN: u32 = 2 * MS;
/// Bins: lags of half a second, and whatever is above in the last one.
const BINS: usize = 256;
/// Share of the frames that the wanted delay covers.
const QUANTILE: f32 = 0.97;
/// What is added for the jitter of threads and timers here.
const MARGIN: u32 = 3 * MS;
/// The lag that is assumed before any has been seen, as if this many frames had had it.
const FIRST_LAG: u32 = 9 * MS;
const FIRST_WEIGHT: f32 = 8.0;
/// Sound after which a lag has 1/e of its weight left.
const MEMORY: f32 = 8.0 * RATE as f32;
/// The smallest transit is that of the last `BUCKETS` buckets.
const BUCKET: u64 = RATE as u64;
const BUCKETS: usize = 10;
/// Transits this far from the smallest are no jitter: the talker's clock was set anew.
const CLOCK_JUMP: i64 = 2 * RATE as i64;

/// Learns one talker's spread of arrivals.
#[derive(Clone, Debug)]
pub struct DelayEstimator {
    /// The first transit, that the others are compared with.
    reference: Option<u32>,
    /// Number of the newest bucket, and the smallest transit of each.
    newest: u64,
    smallest: [i64; BUCKETS],
    /// The smallest of them.
    base: i64,
    weights: [f32; BINS],
    seen: f32,
}

impl Default for DelayEstimator {
    fn default() -> Self {
        let mut weights = [0.0; BINS];
        weights[bin_of(FIRST_LAG)] = 1.0;
        Self {
            reference: None,
            newest: 0,
            smallest: [i64::MAX; BUCKETS],
            base: 0,
            weights,
            seen: FIRST_WEIGHT,
        }
    }
}

impl DelayEstimator {
    /// Learns from a frame of `samples` that was captured at `capture_time` (the talker's clock, wrapping) and came
    /// at `arrival` (the listener's). Says its lag.
    pub fn observe(&mut self, capture_time: u32, arrival: u64, samples: u32) -> u32 {
        let transit = (arrival as u32).wrapping_sub(capture_time);
        let reference = *self.reference.get_or_insert(transit);
        let mut transit = i64::from(transit.wrapping_sub(reference) as i32);
        if (transit - self.base).abs() > CLOCK_JUMP {
            self.reference = Some((arrival as u32).wrapping_sub(capture_time));
            (self.smallest, self.base, transit) = ([i64::MAX; BUCKETS], 0, 0);
        }
        self.note_transit(transit, arrival / BUCKET);
        // Not negative: this transit is among those that the base is the smallest of.
        let lag = (transit - self.base) as u32;
        self.note_lag(lag, samples);
        lag
    }

    /// The lag of what was captured at `capture_time` and is there at `arrival`; nothing is learnt from it. None before
    /// anything has been observed, and where the clock has nothing to do with that of what has been.
    pub fn lag(&self, capture_time: u32, arrival: u64) -> Option<u32> {
        let transit = (arrival as u32).wrapping_sub(capture_time).wrapping_sub(self.reference?);
        let lag = i64::from(transit.cast_signed()) - self.base;
        (lag.abs() <= CLOCK_JUMP).then_some(lag.max(0) as u32)
    }

    /// The delay that the spread seen so far asks for, in ticks.
    pub fn wanted(&self) -> u32 {
        let (mut sum, mut bin) = (0.0, 0);
        for (n, weight) in self.weights.iter().enumerate() {
            sum += weight;
            bin = n;
            if sum >= QUANTILE {
                break;
            }
        }
        (bin as u32 + 1) * BIN + MARGIN
    }

    fn note_transit(&mut self, transit: i64, bucket: u64) {
        // Frames that come out of order into an older bucket count for the newest.
        let passed = bucket.saturating_sub(self.newest).min(BUCKETS as u64);
        for n in 0..passed {
            self.smallest[(self.newest + 1 + n) as usize % BUCKETS] = i64::MAX;
        }
        if passed == BUCKETS as u64 {
            self.smallest = [i64::MAX; BUCKETS];
        }
        self.newest = self.newest.max(bucket);
        let slot = &mut self.smallest[self.newest as usize % BUCKETS];
        *slot = transit.min(*slot);
        self.base = self.smallest.iter().copied().fold(i64::MAX, i64::min);
    }

    fn note_lag(&mut self, lag: u32, samples: u32) {
        // The first frames count alike; later each new one counts as much as fits the memory.
        let share = (samples as f32 / MEMORY).max(1.0 / (self.seen + 1.0)).min(1.0);
        self.seen = (self.seen + 1.0).min(1e6);
        for weight in &mut self.weights {
            *weight *= 1.0 - share;
        }
        self.weights[bin_of(lag)] += share;
    }
}

fn bin_of(lag: u32) -> usize {
    ((lag / BIN) as usize).min(BINS - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds frames of 10 ms that each come `lag(n)` ticks after the fastest possible.
    fn fed(frames: u64, capture_start: u32, lag: impl Fn(u64) -> u32) -> DelayEstimator {
        let mut estimator = DelayEstimator::default();
        for n in 0..frames {
            let capture = capture_start.wrapping_add(n as u32 * 480);
            estimator.observe(capture, 1_000_000 + n * 480 + u64::from(lag(n)), 480);
        }
        estimator
    }

    #[test]
    fn starts_at_about_a_frame_and_comes_down_on_a_quiet_network() {
        assert_eq!(DelayEstimator::default().wanted(), 10 * MS + MARGIN);
        let quiet = fed(400, 0, |_| 7);
        assert_eq!(quiet.wanted(), BIN + MARGIN);
    }

    #[test]
    fn covers_the_spread_but_not_the_rare_straggler() {
        let spread = fed(2_000, 5, |n| (n as u32 * 7_919) % (30 * MS));
        assert!((29 * MS..=32 * MS + MARGIN).contains(&spread.wanted()), "{}", spread.wanted());
        let straggler = fed(2_000, 5, |n| if n % 100 == 0 { 200 * MS } else { MS });
        assert_eq!(straggler.wanted(), BIN + MARGIN);
    }

    #[test]
    fn forgets_within_the_memory() {
        let calmer = fed(6_000, 0, |n| if n < 2_000 { (n as u32 % 10) * 10 * MS } else { 0 });
        assert_eq!(calmer.wanted(), BIN + MARGIN);
    }

    #[test]
    fn a_clock_that_wraps_or_drifts_changes_nothing() {
        let wrapping = fed(2_000, u32::MAX - 200_000, |_| 0);
        assert_eq!(wrapping.wanted(), BIN + MARGIN);
        // 200 ppm slow: a minute puts 12 ms between the clocks, ten seconds 2 ms.
        let drifting = fed(6_000, 0, |n| (n * 480 / 5_000) as u32);
        assert!(drifting.wanted() <= 3 * BIN + MARGIN, "{}", drifting.wanted());
    }

    #[test]
    fn a_clock_set_anew_is_no_lag() {
        let mut estimator = fed(500, 0, |_| 0);
        assert_eq!(estimator.observe(3_000_000_000, 1_000_000 + 500 * 480, 480), 0);
        assert_eq!(estimator.observe(3_000_000_480, 1_000_000 + 501 * 480, 480), 0);
        assert_eq!(estimator.observe(3_000_000_960, 1_000_000 + 502 * 480 + 96, 480), 96);
    }

    proptest! {
        #[test]
        fn any_times_are_taken(frames in proptest::collection::vec((any::<u32>(), any::<u64>(), 0usize..6), 1..200)) {
            let mut estimator = DelayEstimator::default();
            for (capture, arrival, duration) in frames {
                let samples = voip_protocol::voice::FrameDuration::ALL[duration].samples() as u32;
                let lag = estimator.observe(capture, arrival, samples);
                prop_assert!(i64::from(lag) <= 2 * CLOCK_JUMP);
                let sum: f32 = estimator.weights.iter().sum();
                prop_assert!((sum - 1.0).abs() < 1e-3);
                prop_assert!(estimator.wanted() <= BINS as u32 * BIN + MARGIN);
            }
        }
    }
}
