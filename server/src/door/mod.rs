//! The way in to the control plane: who may connect, how many, how fast, and how long they may take.
//!
//! A connection that is refused costs an accept and a close: no task, no TLS, no line of log.

mod files;
mod guest;
mod memory;
mod pace;
mod places;
mod serve;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

pub use files::raise_limit;
pub(crate) use pace::{Pace, Rate};
pub(crate) use serve::serve;

use crate::{auth::network, config::LimitsConfig};
use memory::Tide;
use places::{Places, Refusal};

/// How often the log tells of connections that could not be had, at most.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Counts who is in, and refuses who may not come in.
#[derive(Debug)]
pub struct Door {
    /// `tokio`'s time, as that of the hub.
    started: Instant,
    inside: Mutex<Inside>,
    handshakes: AtomicU64,
    counters: Counters,
}

struct Inside {
    places: Places,
    tide: Tide,
    refused: Telling,
    starved: Telling,
}

/// What the log is told of now and then, however often it happens.
#[derive(Debug, Default)]
struct Telling {
    told_at: Option<Duration>,
    untold: u64,
}

impl Telling {
    /// It happened once more; if it is time to tell, how often since the last time.
    fn again(&mut self, now: Duration) -> Option<u64> {
        self.untold += 1;
        if self.told_at.is_some_and(|at| now < at + TELL_EVERY) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[derive(Debug, Default)]
struct Counters {
    refused: [AtomicU64; REFUSALS.len()],
    starved: AtomicU64,
    handshakes_timed_out: AtomicU64,
    handshakes_failed: AtomicU64,
}

const REFUSALS: [Refusal; 3] = [Refusal::Full, Refusal::Address, Refusal::Rate];

/// What the door has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct DoorFigures {
    /// Connections now.
    pub open: u64,
    /// Those of them that have not shaken hands yet.
    pub handshaking: u64,
    /// Refused: there were as many as there may be.
    pub refused_full: u64,
    /// Refused: there were as many of the address as there may be.
    pub refused_address: u64,
    /// Refused: the address opened them too fast.
    pub refused_rate: u64,
    /// Times that the system gave no connection: it was out of file descriptors, say.
    pub starved: u64,
    /// TLS handshakes that took too long.
    pub handshakes_timed_out: u64,
    /// TLS handshakes that went wrong.
    pub handshakes_failed: u64,
}

/// A connection's place, until this value ends.
struct Place {
    door: Arc<Door>,
    network: IpAddr,
}

impl Door {
    /// As configured, and as the system's limit of open files allows.
    pub fn new(limits: &LimitsConfig) -> Arc<Self> {
        let most = files::most_connections(limits.connections);
        if most < limits.connections {
            tracing::info!(
                most,
                configured = limits.connections,
                "fewer connections than configured: the limit of open files is too low for them"
            );
        }
        let places =
            Places::new(most, limits.connections_by_address, limits.new_connections_per_second_by_address);
        Arc::new(Self {
            started: Instant::now(),
            inside: Mutex::new(Inside {
                places,
                tide: Tide::default(),
                refused: Telling::default(),
                starved: Telling::default(),
            }),
            handshakes: AtomicU64::new(0),
            counters: Counters::default(),
        })
    }

    /// All of it, now.
    pub fn figures(&self) -> DoorFigures {
        let refused = |refusal: Refusal| self.counters.refused[refusal as usize].load(Relaxed);
        DoorFigures {
            open: self.inside().places.open() as u64,
            handshaking: self.handshakes.load(Relaxed),
            refused_full: refused(Refusal::Full),
            refused_address: refused(Refusal::Address),
            refused_rate: refused(Refusal::Rate),
            starved: self.counters.starved.load(Relaxed),
            handshakes_timed_out: self.counters.handshakes_timed_out.load(Relaxed),
            handshakes_failed: self.counters.handshakes_failed.load(Relaxed),
        }
    }

    /// A place for a connection, if it may have one.
    fn admit(self: &Arc<Self>, address: SocketAddr) -> Option<Place> {
        let network = network(address.ip());
        let now = self.started.elapsed();
        let mut inside = self.inside();
        match inside.places.enter(network, now) {
            Ok(()) => {
                let open = inside.places.open();
                inside.tide.is_out(open);
                Some(Place { door: Arc::clone(self), network })
            }
            Err(refusal) => {
                self.counters.refused[refusal as usize].fetch_add(1, Relaxed);
                let told = inside.refused.again(now);
                drop(inside);
                if let Some(connections) = told {
                    tracing::warn!(
                        connections,
                        last = %network,
                        reason = ?refusal,
                        "connections were refused: see limits in the configuration, and voip_connections_refused_total"
                    );
                }
                None
            }
        }
    }

    /// The system gave no connection.
    fn starves(&self, error: &std::io::Error) {
        self.counters.starved.fetch_add(1, Relaxed);
        let told = self.inside().starved.again(self.started.elapsed());
        if let Some(times) = told {
            tracing::error!(%error, times, "no connection can be accepted: raise the limit of open files");
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Nothing in there is left half done by a panic.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = self.door.started.elapsed();
        let mut inside = self.door.inside();
        inside.places.leave(self.network, now);
        let open = inside.places.open();
        let rush_is_over = inside.tide.is_out(open);
        drop(inside);
        // It takes some milliseconds. A runtime that is ending has no thread for it, and needs none.
        if rush_is_over && let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(memory::give_back);
        }
    }
}

impl std::fmt::Debug for Inside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inside").field("open", &self.places.open()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_hears_of_it_once_a_minute() {
        let mut telling = Telling::default();
        let told: Vec<_> = (0..200).filter_map(|second| telling.again(Duration::from_secs(second))).collect();
        assert_eq!(told, [1, 60, 60, 60]);
    }

    #[tokio::test]
    async fn a_place_ends_with_its_value() {
        let limits = LimitsConfig { connections_by_address: 1, ..LimitsConfig::default() };
        let door = Door::new(&limits);
        let (one, same): (SocketAddr, SocketAddr) =
            ("[2001:db8::1]:1".parse().unwrap(), "[2001:db8::2]:2".parse().unwrap());
        let place = door.admit(one).unwrap();
        assert!(door.admit(same).is_none(), "a whole network of IPv6 is one");
        assert_eq!((door.figures().open, door.figures().refused_address), (1, 1));
        drop(place);
        assert_eq!(door.figures().open, 0);
        assert!(door.admit(same).is_some());
    }
}
