//! The server's clock, as a client knows it: the one clock that talker and listener share.
//!
//! Estimated as NTP does (RFC 5905 §8): the pong's server time belongs to the middle of the round trip, and of
//! several round trips the shortest is the truest.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Ticks a second.
const RATE: u64 = 48_000;
/// Round trips that are compared.
const SAMPLES: usize = 16;

/// Maps an [`Instant`] to the server's 48 kHz clock, wrapping at 2³². Written by one thread, read by any.
#[derive(Debug)]
pub struct ServerClock {
    base: Instant,
    /// Bit 32: known. Below: what to add to the local ticks.
    offset: AtomicU64,
}

const KNOWN: u64 = 1 << 32;

impl ServerClock {
    /// Not known yet.
    pub fn new(base: Instant) -> Self {
        Self { base, offset: AtomicU64::new(0) }
    }

    /// The server's ticks at an instant; none before the first pong.
    pub fn at(&self, instant: Instant) -> Option<u32> {
        let offset = self.offset.load(Ordering::Relaxed);
        (offset & KNOWN != 0).then(|| self.local(instant).wrapping_add(offset as u32))
    }

    /// The server's ticks, or the local ones while those are not known: good enough to order a talk by.
    pub fn at_best(&self, instant: Instant) -> u32 {
        self.local(instant).wrapping_add(self.offset.load(Ordering::Relaxed) as u32)
    }

    /// The connection is another: the clock is not known.
    pub fn forget(&self) {
        self.offset.store(0, Ordering::Relaxed);
    }

    fn set(&self, offset: u32) {
        self.offset.store(KNOWN | u64::from(offset), Ordering::Relaxed);
    }

    fn local(&self, instant: Instant) -> u32 {
        match instant.checked_duration_since(self.base) {
            Some(after) => ticks(after),
            None => ticks(self.base - instant).wrapping_neg(),
        }
    }
}

/// 48 kHz ticks in a duration, wrapping.
pub fn ticks(duration: Duration) -> u32 {
    (duration.as_nanos() * u128::from(RATE) / 1_000_000_000) as u32
}

/// Picks the truest of the last round trips.
#[derive(Debug, Default)]
pub struct ClockFilter {
    samples: [Option<(Duration, u32)>; SAMPLES],
    next: usize,
}

impl ClockFilter {
    /// A pong came at `now`, `rtt` after its ping, with the server's time in it.
    pub fn sample(&mut self, clock: &ServerClock, now: Instant, rtt: Duration, server_time: u32) {
        let server_now = server_time.wrapping_add(ticks(rtt / 2));
        let offset = server_now.wrapping_sub(clock.local(now));
        self.samples[self.next] = Some((rtt, offset));
        self.next = (self.next + 1) % SAMPLES;
        if let Some((_, offset)) = self.samples.iter().flatten().min_by_key(|(rtt, _)| *rtt) {
            clock.set(*offset);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However asymmetric the ways, the error is at most half of the shortest round trip.
        #[test]
        fn the_error_is_bounded_by_the_shortest_round_trip(
            server_start: u32,
            trips in proptest::collection::vec((100u64..200_000, 100u64..200_000), 1..40),
        ) {
            let base = Instant::now();
            let clock = ServerClock::new(base);
            let mut filter = ClockFilter::default();
            let mut now = base;
            let server = |instant: Instant| server_start.wrapping_add(ticks(instant - base));
            prop_assert_eq!(clock.at(base), None);
            for (there, back) in &trips {
                let arrived = now + Duration::from_micros(*there);
                let returned = arrived + Duration::from_micros(*back);
                filter.sample(&clock, returned, returned - now, server(arrived));
                now = returned + Duration::from_millis(500);
            }
            let shortest = trips.iter().rev().take(SAMPLES).map(|(there, back)| there + back).min().unwrap();
            let error = clock.at(now).unwrap().wrapping_sub(server(now)) as i32;
            prop_assert!(u64::from(error.unsigned_abs()) <= shortest * 48 / 2_000 + 2, "{} ticks", error);
        }
    }

    #[test]
    fn instants_before_the_base() {
        let start = Instant::now();
        let base = start + Duration::from_secs(1);
        let clock = ServerClock::new(base);
        assert_eq!(clock.at_best(start + Duration::from_millis(990)), 480u32.wrapping_neg());
    }
}
