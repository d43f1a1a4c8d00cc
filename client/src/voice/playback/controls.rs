//! What others set and read while the playback thread runs. All of it without locks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use arc_swap::ArcSwap;

use crate::TalkerStatistics;

/// The clock that talkers stamp their frames with: its ticks (48 kHz, wrapping) at an instant; `None` while unknown.
pub type ServerTicks = Arc<dyn Fn(Instant) -> Option<u32> + Send + Sync>;

/// What has been heard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlaybackStatistics {
    /// Whoever has been heard since the last clear.
    pub talkers: Vec<TalkerStatistics>,
    /// Times that a speaker asked for sound and there was none ready.
    pub underruns: u64,
}

/// Shared with the playback thread.
pub struct PlaybackControls {
    deafened: AtomicBool,
    levels: AtomicBool,
    clear: AtomicBool,
    clock: ServerTicks,
    statistics: ArcSwap<PlaybackStatistics>,
}

impl PlaybackControls {
    /// Not deafened, talkers as loud as they are. `clock` is called on the playback thread, and must not block.
    pub fn new(clock: ServerTicks) -> Self {
        Self {
            deafened: AtomicBool::new(false),
            levels: AtomicBool::new(false),
            clear: AtomicBool::new(false),
            clock,
            statistics: ArcSwap::default(),
        }
    }

    /// Switches the sound off or on. While it is off, frames are thrown away.
    pub fn set_deafened(&self, deafened: bool) {
        self.deafened.store(deafened, Relaxed);
    }

    /// Makes all talkers about as loud, or leaves them as they are.
    pub fn level_talkers(&self, levels: bool) {
        self.levels.store(levels, Relaxed);
    }

    /// Forgets all talkers and their counters: for a new connection.
    pub fn clear(&self) {
        self.clear.store(true, Relaxed);
        self.statistics.store(Arc::default());
    }

    /// What has been heard, at most a quarter of a second ago.
    pub fn statistics(&self) -> Arc<PlaybackStatistics> {
        self.statistics.load_full()
    }

    pub(super) fn deafened(&self) -> bool {
        self.deafened.load(Relaxed)
    }

    pub(super) fn levels(&self) -> bool {
        self.levels.load(Relaxed)
    }

    pub(super) fn take_clear(&self) -> bool {
        self.clear.swap(false, Relaxed)
    }

    pub(super) fn clock(&self) -> ServerTicks {
        self.clock.clone()
    }

    pub(super) fn publish(&self, statistics: PlaybackStatistics) {
        if !self.clear.load(Relaxed) {
            self.statistics.store(Arc::new(statistics));
        }
    }
}
