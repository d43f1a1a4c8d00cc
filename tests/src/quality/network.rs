//! A network that does to packets what real ones do, by a seed.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

/// What a network does to packets. Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    /// The shortest way through it.
    pub delay: f64,
    /// What is added to it on average; many packets get little and few get much (exponentially distributed).
    pub spread: f64,
    /// Share of the packets that are lost, below 1.
    pub loss: f64,
    /// How many are lost in a row, on average (Gilbert's model); 1: each by itself.
    pub burst: f64,
    /// How often in a second nothing passes for a while; what waits comes all at once.
    pub stalls: f64,
    /// The shortest and the longest of these times.
    pub stall: (f64, f64),
    /// A queue on the way fills up to this and empties again.
    pub swell: f64,
    /// In this time, there and back.
    pub swell_period: f64,
    /// Share of the packets that take another way, and come up to 30 ms later than those around them.
    pub astray: f64,
    /// Share of the packets that come twice.
    pub doubled: f64,
}

/// The longest that a packet on another way is behind.
const ASTRAY: f64 = 30.0;

impl Network {
    /// Nothing happens to a packet but a millisecond.
    pub const PERFECT: Self = Self {
        delay: 1.0,
        spread: 0.0,
        loss: 0.0,
        burst: 1.0,
        stalls: 0.0,
        stall: (0.0, 0.0),
        swell: 0.0,
        swell_period: 1.0,
        astray: 0.0,
        doubled: 0.0,
    };
    /// A cable in the house.
    pub const LAN: Self = Self { delay: 0.3, spread: 0.1, ..Self::PERFECT };
    /// A wireless network that others use: packets wait for their turn, now and then for long.
    pub const WIFI: Self = Self {
        delay: 2.0,
        spread: 2.0,
        loss: 0.003,
        burst: 1.5,
        stalls: 0.5,
        stall: (15.0, 60.0),
        ..Self::PERFECT
    };
    /// A mobile network: sent in grants, and still for a moment when the cell changes.
    pub const LTE: Self =
        Self { delay: 35.0, spread: 5.0, loss: 0.001, stalls: 0.1, stall: (60.0, 150.0), ..Self::PERFECT };
    /// A line that something else fills: a long queue that comes and goes, and loses some packets.
    pub const CONGESTED: Self = Self {
        delay: 15.0,
        spread: 4.0,
        loss: 0.03,
        burst: 2.0,
        swell: 120.0,
        swell_period: 8_000.0,
        astray: 0.002,
        doubled: 0.001,
        ..Self::PERFECT
    };

    /// Loses packets by themselves.
    #[must_use]
    pub fn losing(share: f64) -> Self {
        Self { loss: share, ..Self::PERFECT }
    }

    /// Loses packets several in a row, so many on average.
    #[must_use]
    pub fn losing_bursts(share: f64, burst: f64) -> Self {
        Self { loss: share, burst, ..Self::PERFECT }
    }
}

/// One direction through a network.
pub struct Link {
    network: Network,
    random: ChaCha8Rng,
    /// The last packet was lost.
    losing: bool,
    /// Nothing arrives until then, in ms from the start.
    still_until: f64,
    last_sent: f64,
    last_arrival: f64,
}

impl Link {
    /// With everything that will happen laid down by `seed`.
    pub fn new(network: Network, seed: u64) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed);
        Self { network, random, losing: false, still_until: 0.0, last_sent: 0.0, last_arrival: 0.0 }
    }

    /// When a packet arrives that is sent at `at`, once or twice or never. Packets are sent one after another.
    pub fn carry(&mut self, at: Duration) -> impl Iterator<Item = Duration> + use<> {
        let at = at.as_secs_f64() * 1e3;
        let network = self.network;
        // Always as many numbers for a packet: what one thing does must not change what the next one meets.
        let [stalls, stall, lost, spread, astray, astray_by, doubled] =
            std::array::from_fn(|_| self.random.random::<f64>());
        if stalls < network.stalls * (at - self.last_sent) / 1e3 {
            let (shortest, longest) = network.stall;
            let still = network.delay + shortest + (longest - shortest) * stall;
            self.still_until = self.still_until.max(at + still);
        }
        self.last_sent = at;
        self.losing = lost < self.chance_of_loss();
        let swell = network.swell * (0.5 - 0.5 * (at / network.swell_period * std::f64::consts::TAU).cos());
        let arrival =
            (at + network.delay + swell - network.spread * (1.0 - spread).ln()).max(self.still_until);
        let arrival = if astray < network.astray {
            // It neither waits in the queue nor holds anybody up.
            arrival + ASTRAY * astray_by
        } else {
            self.last_arrival = self.last_arrival.max(arrival);
            self.last_arrival
        };
        let copies = if self.losing { 0 } else { 1 + usize::from(doubled < network.doubled) };
        std::iter::repeat_n(Duration::from_secs_f64(arrival / 1e3), copies)
    }

    /// That of the next packet.
    fn chance_of_loss(&self) -> f64 {
        let Network { loss, burst, .. } = self.network;
        match (burst > 1.0, self.losing) {
            (false, _) => loss,
            (true, true) => 1.0 - 1.0 / burst,
            (true, false) => loss / ((1.0 - loss) * burst),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When each of `count` packets, one every 10 ms, arrives.
    fn carried(network: Network, seed: u64, count: u32) -> Vec<Vec<Duration>> {
        let mut link = Link::new(network, seed);
        (0..count).map(|n| link.carry(Duration::from_millis(10) * n).collect()).collect()
    }

    #[test]
    fn the_same_seed_is_the_same_network() {
        assert_eq!(carried(Network::CONGESTED, 7, 5_000), carried(Network::CONGESTED, 7, 5_000));
        assert_ne!(carried(Network::CONGESTED, 7, 5_000), carried(Network::CONGESTED, 8, 5_000));
    }

    #[test]
    fn loses_its_share_in_runs_of_the_length_it_should() {
        for (network, share, run) in [
            (Network::losing(0.1), 0.1, 1.0 / 0.9),
            (Network::losing(0.3), 0.3, 1.0 / 0.7),
            (Network::losing_bursts(0.1, 3.0), 0.1, 3.0),
            (Network::losing_bursts(0.3, 2.0), 0.3, 2.0),
        ] {
            let lost: Vec<bool> = carried(network, 1, 100_000).iter().map(Vec::is_empty).collect();
            let count = lost.iter().filter(|lost| **lost).count() as f64;
            let runs = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
            assert!((count / 1e5 - share).abs() < 0.01, "{network:?}: {count}");
            assert!((count / runs - run).abs() < 0.1, "{network:?}: {}", count / runs);
        }
    }

    #[test]
    fn packets_stay_in_order_but_for_those_astray_and_stalls_hold_them_up() {
        let ordered = Network { spread: 20.0, stalls: 1.0, stall: (100.0, 200.0), ..Network::PERFECT };
        let arrivals = carried(ordered, 3, 10_000).concat();
        assert!(arrivals.is_sorted() && arrivals.len() == 10_000);
        let together = arrivals.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!(together > 1_000, "{together}");
        let stalls = Network { delay: 50.0, stalls: 0.5, stall: (60.0, 150.0), ..Network::PERFECT };
        let arrivals = carried(stalls, 3, 10_000).concat();
        let longest =
            arrivals.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or_default();
        assert!((130..=170).contains(&longest.as_millis()), "{longest:?}");
        let astray = Network { astray: 0.01, doubled: 0.02, ..Network::PERFECT };
        let arrivals = carried(astray, 3, 10_000);
        let doubled = arrivals.iter().filter(|copies| copies.len() == 2).count();
        assert!((150..250).contains(&doubled), "{doubled}");
        assert!(!arrivals.concat().is_sorted());
    }
}
