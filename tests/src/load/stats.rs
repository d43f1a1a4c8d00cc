//! A histogram of latencies, and quantiles of a few.

use serde_json::{Value, json};

/// Below this, in µs, each bucket is 1 µs wide.
const FINE_US: usize = 100_000;
/// Above it each is 1 ms wide, up to 20 s; what is later counts there.
const COARSE_MS: usize = 20_000;

/// Counts latencies by the microsecond.
#[derive(Clone)]
pub struct Histogram {
    fine: Vec<u32>,
    coarse: Vec<u32>,
    count: u64,
    max_ns: u64,
    negative: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { fine: vec![0; FINE_US], coarse: vec![0; COARSE_MS], count: 0, max_ns: 0, negative: 0 }
    }
}

impl Histogram {
    /// Counts a latency in ns. One below zero (the clock was set) counts as zero, and is told.
    pub fn add(&mut self, ns: i64) {
        self.negative += u64::from(ns < 0);
        let ns = ns.max(0) as u64;
        let us = (ns / 1_000) as usize;
        match self.fine.get_mut(us) {
            Some(bucket) => *bucket += 1,
            None => self.coarse[(us / 1_000).min(COARSE_MS - 1)] += 1,
        }
        self.count += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// The latency that this share of all do not exceed, in µs; none where nothing was counted.
    pub fn quantile_us(&self, share: f64) -> Option<u64> {
        let wanted = ((self.count as f64 * share).ceil() as u64).max(1);
        let fine = self.fine.iter().zip(0..);
        let coarse = self.coarse.iter().zip((0..).map(|ms: u64| ms * 1_000));
        let mut seen = 0;
        fine.chain(coarse).find_map(|(&count, us)| {
            seen += u64::from(count);
            (seen >= wanted).then_some(us)
        })
    }

    /// Percentiles in µs.
    pub fn json(&self) -> Value {
        let quantile = |share| self.quantile_us(share);
        json!({
            "p50": quantile(0.5),
            "p95": quantile(0.95),
            "p99": quantile(0.99),
            "p999": quantile(0.999),
            "max": self.max_ns / 1_000,
            "negative": self.negative,
        })
    }
}

/// A number with so many digits behind the point.
pub fn rounded(number: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (number * scale).round() / scale
}

/// Median, 95th and 99th percentile and the most of some times in ms.
pub fn quantiles_ms(times: impl Iterator<Item = f64>) -> Value {
    let mut sorted: Vec<_> = times.collect();
    sorted.sort_by(f64::total_cmp);
    let quantile = |share: f64| {
        let rank = (sorted.len() as f64 * share).ceil() as usize;
        sorted.get(rank.max(1) - 1).map(|ms| rounded(*ms, 3))
    };
    json!({ "p50": quantile(0.5), "p95": quantile(0.95), "p99": quantile(0.99), "max": quantile(1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_sorted_ones() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_us(0.5), None);
        for us in (1..=1_000).rev() {
            histogram.add(us * 1_000 + 999);
        }
        let quantiles = [0.0, 0.5, 0.99, 1.0].map(|share| histogram.quantile_us(share));
        assert_eq!(quantiles, [Some(1), Some(500), Some(990), Some(1_000)]);
    }

    #[test]
    fn what_is_late_or_early_counts() {
        let mut histogram = Histogram::default();
        histogram.add(-5);
        histogram.add(150_700_000);
        histogram.add(3_600_000_000_000);
        assert_eq!(histogram.count, 3);
        assert_eq!(histogram.quantile_us(0.1), Some(0));
        assert_eq!(histogram.quantile_us(0.6), Some(150_000));
        assert_eq!(histogram.json()["max"], 3_600_000_000u64);
        assert_eq!(histogram.json()["negative"], 1);
    }
}
