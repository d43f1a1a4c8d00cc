//! What the members of an organization have not been told yet of each other.
//!
//! Not each change is told, but each changed member, as they are when it is told: what happens in quick succession is
//! told once. The first change is told at once, those after it wait a little, the longer the more there are to be told:
//! so a thousand people who come back after a restart cost each of them some messages, not a thousand.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use voip_protocol::{ChannelId, SessionId, control::Member};

/// Between two times of telling there is this much for each who is told. It is several times what telling costs, so
/// that it never takes most of a core.
const GAP_PER_VIEWER: Duration = Duration::from_micros(50);

/// What changes of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Presence {
    pub(super) channel: Option<ChannelId>,
    pub(super) muted: bool,
    pub(super) deafened: bool,
    pub(super) talking: bool,
}

impl Presence {
    pub(super) fn of(member: &Member) -> Self {
        let Member { channel, muted, deafened, talking, .. } = *member;
        Self { channel, muted, deafened, talking }
    }
}

/// What has not been told yet.
#[derive(Default)]
pub(super) struct News {
    waiting: Told,
    /// Not before this.
    next: Duration,
}

/// What is told.
#[derive(Default)]
pub(super) struct Told {
    /// Who changed, with what was last told of them; None of those who are new.
    pub(super) changed: BTreeMap<SessionId, Option<Presence>>,
    /// Who is gone.
    pub(super) gone: Vec<SessionId>,
    /// Who had a snapshot meanwhile: it may hold neither how the changed ones were nor how they are.
    pub(super) in_between: BTreeSet<SessionId>,
}

impl News {
    /// Somebody connected.
    pub(super) fn came(&mut self, id: SessionId) {
        self.waiting.changed.insert(id, None);
        self.waiting.in_between.insert(id);
    }

    /// Somebody got another snapshot.
    pub(super) fn resumed(&mut self, id: SessionId) {
        self.waiting.in_between.insert(id);
    }

    /// Somebody is not any more as they were.
    pub(super) fn changed(&mut self, id: SessionId, before: Presence) {
        self.waiting.changed.entry(id).or_insert(Some(before));
    }

    /// A connection is gone. Who connected meanwhile may know it, even where it was not told yet.
    pub(super) fn went(&mut self, id: SessionId) {
        self.waiting.changed.remove(&id);
        self.waiting.in_between.remove(&id);
        self.waiting.gone.push(id);
    }

    /// When it is to be told; None where there is nothing.
    pub(super) fn due(&self) -> Option<Duration> {
        (!self.waiting.changed.is_empty() || !self.waiting.gone.is_empty()).then_some(self.next)
    }

    /// What is to be told now, to so many.
    pub(super) fn take(&mut self, now: Duration, viewers: usize) -> Told {
        self.next = now + GAP_PER_VIEWER * u32::try_from(viewers).unwrap_or(u32::MAX);
        std::mem::take(&mut self.waiting)
    }
}

impl Told {
    /// The channels that it is about: where its members were, and where they are.
    pub(super) fn channels(&self, now_in: impl Fn(SessionId) -> Option<ChannelId>) -> Vec<ChannelId> {
        let places = self.changed.iter().flat_map(|(id, before)| {
            [before.and_then(|before| before.channel), now_in(*id)].into_iter().flatten()
        });
        let mut channels: Vec<_> = places.collect();
        channels.sort_unstable();
        channels.dedup();
        channels
    }
}
