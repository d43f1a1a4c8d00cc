//! Who may come in: counts and rates, pure. Time is passed in, as what has passed since any one moment.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use super::pace::{Pace, Rate};

/// So many seconds' worth of new connections may come at once: a house full of people comes back together when the
/// server does.
const BURST_SECONDS: u32 = 20;
/// Addresses that are remembered without a connection. It takes an attack from that many to reach it; then their rates
/// are forgotten, and the connections there are at all still have their limit.
const MOST_KNOWN: usize = 65_536;
/// Fewer addresses than these are not worth looking through.
const SOME_KNOWN: usize = 1_024;

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There are as many as there may be.
    Full,
    /// There are as many from its address as there may be.
    Address,
    /// Its address opens them too fast.
    Rate,
}

/// Connections by address.
pub(super) struct Places {
    /// Most in all; 0: no limit.
    most: usize,
    /// Most from one address; 0: no limit.
    most_by_address: usize,
    rate: Option<Rate>,
    open: usize,
    known: HashMap<IpAddr, Known>,
    look_through_at: usize,
}

#[derive(Default)]
struct Known {
    open: usize,
    pace: Pace,
}

impl Places {
    /// Limits; 0 is none.
    pub(super) fn new(most: usize, most_by_address: usize, per_second_by_address: u32) -> Self {
        Self {
            most,
            most_by_address,
            rate: Rate::new(per_second_by_address, per_second_by_address.saturating_mul(BURST_SECONDS)),
            open: 0,
            known: HashMap::new(),
            look_through_at: SOME_KNOWN,
        }
    }

    /// A connection from an address; if it may, it has a place until [`Places::leave`].
    pub(super) fn enter(&mut self, address: IpAddr, now: Duration) -> Result<(), Refusal> {
        if self.most > 0 && self.open >= self.most {
            return Err(Refusal::Full);
        }
        self.forget(now);
        let known = self.known.entry(address).or_default();
        if self.most_by_address > 0 && known.open >= self.most_by_address {
            return Err(Refusal::Address);
        }
        if self.rate.is_some_and(|rate| !known.pace.step(rate, now)) {
            return Err(Refusal::Rate);
        }
        known.open += 1;
        self.open += 1;
        Ok(())
    }

    /// A connection that had a place is gone.
    pub(super) fn leave(&mut self, address: IpAddr, now: Duration) {
        let Some(known) = self.known.get_mut(&address) else { return };
        known.open -= 1;
        self.open -= 1;
        if known.open == 0 && known.pace.has_rested(now) {
            self.known.remove(&address);
        }
    }

    /// Connections.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Looks through the table when it has doubled, so that an entry costs the same however many there are.
    fn forget(&mut self, now: Duration) {
        if self.known.len() < self.look_through_at {
            return;
        }
        self.known.retain(|_, known| known.open > 0 || !known.pace.has_rested(now));
        if self.known.len() >= MOST_KNOWN {
            self.known.retain(|_, known| known.open > 0);
        }
        self.look_through_at = SOME_KNOWN.max(2 * self.known.len());
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::config::LimitsConfig;

    const NOW: Duration = Duration::from_secs(100);

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn each_limit_has_its_reason() {
        let mut places = Places::new(3, 2, 0);
        let (one, other) = (address(1), address(2));
        assert_eq!((places.enter(one, NOW), places.enter(one, NOW)), (Ok(()), Ok(())));
        assert_eq!(places.enter(one, NOW), Err(Refusal::Address));
        assert_eq!(places.enter(other, NOW), Ok(()));
        assert_eq!(places.enter(other, NOW), Err(Refusal::Full));
        places.leave(one, NOW);
        assert_eq!(places.enter(other, NOW), Ok(()));
        assert_eq!(places.open(), 3);
    }

    #[test]
    fn a_rate_is_each_addresss_own_and_outlives_its_connections() {
        let mut places = Places::new(0, 0, 2);
        for _ in 0..2 * BURST_SECONDS {
            assert_eq!(places.enter(address(1), NOW), Ok(()));
            places.leave(address(1), NOW);
        }
        assert_eq!(places.enter(address(1), NOW), Err(Refusal::Rate));
        assert_eq!(places.enter(address(2), NOW), Ok(()));
        assert_eq!(places.enter(address(1), NOW + Duration::from_millis(500)), Ok(()));
    }

    /// Two hundred people behind one address: each asks for a login, opens a WebSocket, and tries once more.
    #[test]
    fn a_house_full_of_people_comes_in_at_once() {
        let limits = LimitsConfig::default();
        let mut places = Places::new(
            limits.connections,
            limits.connections_by_address,
            limits.new_connections_per_second_by_address,
        );
        assert!((0..3 * 200).all(|_| places.enter(address(1), NOW).is_ok()));
    }

    #[test]
    fn without_limits_everybody_comes_in() {
        let mut places = Places::new(0, 0, 0);
        assert!((0..50_000).all(|_| places.enter(address(1), NOW).is_ok()));
        assert_eq!(places.open(), 50_000);
    }

    /// A million addresses within a moment, and after it: what is remembered stays bounded.
    #[test]
    fn addresses_are_forgotten() {
        let mut places = Places::new(0, 0, 1);
        let mut most = 0;
        for number in 0..1_000_000 {
            assert_eq!(places.enter(address(number), NOW), Ok(()));
            places.leave(address(number), NOW);
            most = most.max(places.known.len());
        }
        assert!((MOST_KNOWN / 2..=2 * MOST_KNOWN).contains(&most), "{most}");
        let later = NOW + Duration::from_secs(60);
        for number in 0..2 * MOST_KNOWN as u32 {
            assert_eq!(places.enter(address(number), later), Ok(()));
        }
        for number in 0..2 * MOST_KNOWN as u32 {
            places.leave(address(number), later + Duration::from_secs(1));
        }
        assert_eq!((places.open(), places.known.len()), (0, 0));
    }

    proptest! {
        /// Whoever comes and goes: the limits hold, and the count is right.
        #[test]
        fn counts_are_right(steps in prop::collection::vec((0u32..4, any::<bool>()), 1..300)) {
            let mut places = Places::new(5, 3, 0);
            let mut open = [0usize; 4];
            for (who, enters) in steps {
                let count = &mut open[who as usize];
                if enters {
                    if places.enter(address(who), NOW).is_ok() {
                        *count += 1;
                    }
                } else if *count > 0 {
                    places.leave(address(who), NOW);
                    *count -= 1;
                }
                prop_assert!(open.iter().all(|count| *count <= 3));
                let all: usize = open.iter().sum();
                prop_assert!(all <= 5);
                prop_assert_eq!(places.open(), all);
                prop_assert_eq!(places.known.len(), open.iter().filter(|count| **count > 0).count());
            }
        }
    }
}
