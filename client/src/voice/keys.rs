//! Which key seals and which opens, and when. Pure: the time is passed in.
//!
//! A new epoch is announced before it is used (`switch_after_ms`), so that every listener has it when the first
//! packet under it comes; the old one opens for a while longer, for packets that are still under way.

use std::time::{Duration, Instant};

use voip_protocol::{
    ChannelId, ContextId, Epoch, control::ChannelKey, limits::EPOCH_LINGER_MS, secret::ContextSecret,
};

/// The secrets of the context that one is in.
#[derive(Debug, Default)]
pub struct KeyRing {
    /// Oldest first; the last one is the newest announced.
    epochs: Vec<EpochSecret>,
}

/// One epoch of a context.
#[derive(Clone, Debug)]
pub struct EpochSecret {
    /// Of which channel.
    pub channel: ChannelId,
    /// What stands for it in packets.
    pub context: ContextId,
    /// Generation.
    pub epoch: Epoch,
    /// Source of each talker's key.
    pub secret: ContextSecret,
    /// Talkers use it from here on.
    pub seals_from: Instant,
    /// Listeners open with it up to here.
    pub opens_until: Option<Instant>,
}

/// Epochs kept at most: more than a server that keeps the rules ever announces at once.
const MOST: usize = 4;

impl KeyRing {
    /// The server announced a key.
    pub fn install(&mut self, key: ChannelKey, now: Instant) {
        if self.epochs.iter().any(|known| (known.context, known.epoch) == (key.context, key.epoch)) {
            // Said again to somebody who was away for a moment.
            return;
        }
        let seals_from = now + Duration::from_millis(key.switch_after_ms);
        if self.epochs.last().is_some_and(|newest| newest.context != key.context) {
            // Another channel: what was spoken in the one before is not for these ears any more.
            self.epochs.clear();
        }
        let until = seals_from + Duration::from_millis(EPOCH_LINGER_MS);
        for old in &mut self.epochs {
            old.opens_until = Some(old.opens_until.map_or(until, |known| known.min(until)));
        }
        self.epochs.push(EpochSecret {
            channel: key.channel,
            context: key.context,
            epoch: key.epoch,
            secret: key.secret,
            seals_from,
            opens_until: None,
        });
        if self.epochs.len() > MOST {
            self.epochs.remove(0);
        }
    }

    /// One is in no channel any more.
    pub fn clear(&mut self) {
        self.epochs.clear();
    }

    /// Forgets what opens nothing any more.
    pub fn expire(&mut self, now: Instant) {
        self.epochs.retain(|epoch| epoch.opens_until.is_none_or(|until| now < until));
    }

    /// All that may still open something.
    pub fn epochs(&self) -> &[EpochSecret] {
        &self.epochs
    }

    /// The epoch to seal under.
    pub fn sealing(&self, now: Instant) -> Option<&EpochSecret> {
        self.epochs.iter().rev().find(|epoch| epoch.seals_from <= now)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(context: u32, epoch: u16, switch_after_ms: u64) -> ChannelKey {
        ChannelKey {
            channel: ChannelId(1),
            context: ContextId(context),
            epoch: Epoch(epoch),
            secret: ContextSecret::new([epoch as u8; 32]),
            switch_after_ms,
        }
    }

    fn opening(ring: &KeyRing) -> Vec<u16> {
        ring.epochs().iter().map(|epoch| epoch.epoch.0).collect()
    }

    #[test]
    fn the_old_epoch_seals_until_the_switch_and_opens_a_while_longer() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut ring = KeyRing::default();
        assert!(ring.sealing(start).is_none());
        ring.install(key(1, 7, 0), start);
        assert_eq!(ring.sealing(start).unwrap().epoch, Epoch(7));
        ring.install(key(1, 7, 0), start);
        assert_eq!(opening(&ring), [7]);
        ring.install(key(1, 8, 500), at(1_000));
        assert_eq!(ring.sealing(at(1_499)).unwrap().epoch, Epoch(7));
        assert_eq!(ring.sealing(at(1_500)).unwrap().epoch, Epoch(8));
        ring.expire(at(1_500 + EPOCH_LINGER_MS - 1));
        assert_eq!(opening(&ring), [7, 8]);
        ring.expire(at(1_500 + EPOCH_LINGER_MS));
        assert_eq!(opening(&ring), [8]);
    }

    #[test]
    fn another_channel_forgets_the_one_before() {
        let now = Instant::now();
        let mut ring = KeyRing::default();
        ring.install(key(1, 0, 0), now);
        ring.install(key(2, 0, 0), now);
        assert_eq!(ring.sealing(now).unwrap().context, ContextId(2));
        assert_eq!(ring.epochs().len(), 1);
        ring.clear();
        assert!(ring.sealing(now).is_none());
    }

    #[test]
    fn a_server_that_announces_without_end_costs_no_memory() {
        let mut ring = KeyRing::default();
        for epoch in 0..1_000 {
            ring.install(key(1, epoch, 500), Instant::now());
        }
        assert_eq!(ring.epochs().len(), MOST);
    }
}
