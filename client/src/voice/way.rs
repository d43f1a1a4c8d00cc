//! The way to the server, UDP or the tunnel of the control socket, and the pings that decide on it. Pure: the time is
//! passed in.
//!
//! UDP is left only when it falls silent altogether: as soon as an answer is overdue, pings follow each other so
//! quickly that a network which merely loses packets answers some of them. It is taken again when most probes of some
//! seconds were answered, and each relapse makes that harder.

use std::time::{Duration, Instant};

use serde::Serialize;
use ts_rs::TS;

/// How packets get to the server and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// By themselves.
    #[default]
    Udp,
    /// Over the control socket.
    Tunnel,
}

/// The first pings follow each other quickly: the clock should be known before the first word.
const EAGER: u32 = 5;
const EAGER_EVERY: Duration = Duration::from_millis(100);
/// While nobody speaks.
const IDLE_EVERY: Duration = Duration::from_secs(1);
/// While somebody does, and for so long after the last word.
const ACTIVE_EVERY: Duration = Duration::from_millis(200);
const ACTIVE_FOR: Duration = Duration::from_secs(2);
/// While something seems to be wrong, and no more than so many.
const URGENT_EVERY: Duration = Duration::from_millis(20);
const MOST_URGENT: u32 = 40;
/// No answer is overdue before this…
const OVERDUE: Duration = Duration::from_millis(120);
/// … and before it is later than usual by this and by four deviations…
const LATER: Duration = Duration::from_millis(70);
/// … or, while nothing is known of round trips, before this.
const OVERDUE_AT_FIRST: Duration = Duration::from_millis(250);
/// UDP is blocked if it answered nothing for so long…
const BLOCKED: Duration = Duration::from_millis(600);
/// … and so many answers are overdue. Where a fifth of all packets is lost either way, that happens once in months.
const CHANCES: usize = 15;
/// UDP is probed this often while the tunnel is in use.
const PROBE_EVERY: Duration = Duration::from_millis(400);
/// Answered probes that bring UDP back; a lost one takes back two.
const TRUST: u32 = 5;
/// Trust that a network which relapses again and again must earn at most.
const MOST_TRUST: u32 = 64;
/// UDP that fails within this time of its return has relapsed.
const RELAPSE: Duration = Duration::from_secs(10);
/// Pings that are sent for a burst that breaks off.
const NUDGES: u32 = 4;
/// What the next frame of a burst may be late by before that.
const LATE: Duration = Duration::from_millis(20);
/// Pings that loss and round trip are computed over.
const HISTORY: usize = 64;
/// A ping that is not answered within this time is lost.
const LOST_AFTER: Duration = Duration::from_secs(1);

/// A ping to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Of all pings of the session, whichever way they go.
    pub sequence: u32,
    /// Which way it goes.
    pub way: Way,
    /// Whether voice is to come back the same way from now on.
    pub follow: bool,
}

/// What the pings say of the way in use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quality {
    /// Round trip, smoothed; none before the first answer.
    pub rtt: Option<Duration>,
    /// The shortest round trip of the last pings.
    pub rtt_min: Option<Duration>,
    /// How far round trips stray from the smoothed one.
    pub jitter: Duration,
    /// Share of the last pings that were not answered, 0 to 1.
    pub loss: f32,
    /// Share that was lost on the way to the server. Nothing is lost in the tunnel.
    pub loss_up: f32,
    /// Share of the answers that was lost on the way back.
    pub loss_down: f32,
}

/// Decides when to ping and which way to take.
#[derive(Debug)]
pub struct Ways {
    way: Way,
    has_tunnel: bool,
    pings: [Option<Ping>; HISTORY],
    next_sequence: u32,
    /// On the way in use; none: at once.
    last_ping: Option<Instant>,
    last_probe: Option<Instant>,
    /// Of each way.
    trips: [RoundTrip; 2],
    /// The newest ping that UDP answered.
    udp_answered: Option<u32>,
    /// Since the way in use was taken.
    first_sequence: u32,
    /// Probes older than this have been judged.
    judged: u32,
    /// Urgent pings since the last answer.
    urgent: u32,
    trust: u32,
    trust_wanted: u32,
    returned_at: Option<Instant>,
    last_voice: Option<Instant>,
    /// When the next frame of a burst is missed.
    missed_from: Option<Instant>,
    nudges: u32,
}

#[derive(Clone, Copy, Debug)]
struct Ping {
    sequence: u32,
    way: Way,
    sent_at: Instant,
    answer: Option<Answer>,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    rtt: Duration,
    /// Pings of the session that had reached the server.
    received: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct RoundTrip {
    smooth: Option<Duration>,
    deviation: Duration,
}

impl RoundTrip {
    /// As RFC 6298 §2 does.
    fn add(&mut self, rtt: Duration) {
        match self.smooth {
            None => (self.smooth, self.deviation) = (Some(rtt), rtt / 2),
            Some(smooth) => {
                self.deviation = self.deviation * 3 / 4 + rtt.abs_diff(smooth) / 4;
                self.smooth = Some(smooth * 7 / 8 + rtt / 8);
            }
        }
    }
}

impl Ways {
    /// Begins with the way that the last connection ended with: it is the likelier one.
    pub fn new(begin: Way, has_tunnel: bool) -> Self {
        Self {
            way: if has_tunnel { begin } else { Way::Udp },
            has_tunnel,
            pings: [None; HISTORY],
            next_sequence: 0,
            last_ping: None,
            last_probe: None,
            trips: Default::default(),
            udp_answered: None,
            first_sequence: 0,
            judged: 0,
            urgent: 0,
            trust: 0,
            trust_wanted: TRUST,
            returned_at: None,
            last_voice: None,
            missed_from: None,
            nudges: 0,
        }
    }

    /// The way to take now.
    pub fn way(&self) -> Way {
        self.way
    }

    /// The server knows no tunnel, or there is one again.
    pub fn set_tunnel(&mut self, has_tunnel: bool) {
        if !has_tunnel && self.way == Way::Tunnel {
            self.take(Way::Udp);
        }
        self.has_tunnel = has_tunnel;
    }

    /// The socket is another, or the tunnel is: the server should know at once.
    pub fn ping_at_once(&mut self) {
        self.last_ping = None;
    }

    /// Voice was sent.
    pub fn spoke(&mut self, now: Instant) {
        self.last_voice = Some(now);
    }

    /// Voice arrived that lasts for `duration`, and more of the burst follows unless it is the last of it.
    pub fn heard(&mut self, duration: Duration, last_of_burst: bool, now: Instant) {
        self.last_voice = Some(now);
        self.missed_from = (!last_of_burst).then(|| now + duration * 2 + LATE);
        self.nudges = 0;
    }

    /// Decides on the way, and says what to send now. Call until there is nothing more.
    pub fn due(&mut self, now: Instant) -> Option<Order> {
        self.decide(now);
        let since = |last: Option<Instant>| last.map(|last| now.saturating_duration_since(last));
        if since(self.last_ping).is_none_or(|since| since >= self.interval(now)) {
            if self.breaks_off(now) {
                self.nudges += 1;
            } else if self.is_urgent(now) {
                self.urgent += 1;
            }
            self.last_ping = Some(now);
            return self.order(self.way, true, now);
        }
        if self.way == Way::Tunnel && since(self.last_probe).is_none_or(|since| since >= PROBE_EVERY) {
            self.last_probe = Some(now);
            return self.order(Way::Udp, false, now);
        }
        None
    }

    /// A pong came: its round trip, unless it answers no ping that is remembered, or one that was answered.
    pub fn pong(&mut self, sequence: u32, received: u32, now: Instant) -> Option<Duration> {
        let ping = self.pings[sequence as usize % HISTORY].as_mut()?;
        if ping.sequence != sequence || ping.answer.is_some() {
            return None;
        }
        let rtt = now.saturating_duration_since(ping.sent_at);
        ping.answer = Some(Answer { rtt, received });
        let way = ping.way;
        self.trips[way as usize].add(rtt);
        if way == Way::Udp {
            self.udp_answered = self.udp_answered.max(Some(sequence));
            self.urgent = 0;
        }
        Some(rtt)
    }

    /// What the last pings say of the way in use.
    pub fn quality(&self, now: Instant) -> Quality {
        let trip = self.trips[self.way as usize];
        let pings = || {
            let own = |ping: &&Ping| ping.way == self.way && ping.sequence >= self.first_sequence;
            self.pings.iter().flatten().filter(own)
        };
        let is_lost = |ping: &Ping| now.saturating_duration_since(ping.sent_at) >= LOST_AFTER;
        let answered = pings().filter(|ping| ping.answer.is_some()).count();
        let lost = pings().filter(|ping| ping.answer.is_none() && is_lost(ping)).count();
        let mut quality = Quality {
            rtt: trip.smooth,
            rtt_min: pings().filter_map(|ping| ping.answer.map(|answer| answer.rtt)).min(),
            jitter: trip.deviation,
            loss: share(lost, answered + lost),
            ..Quality::default()
        };
        let answers =
            || pings().filter_map(|ping| ping.answer.map(|answer| (ping.sequence, answer.received)));
        if self.way == Way::Udp
            && let (Some(first), Some(last)) = (answers().min(), answers().max())
        {
            let sent = last.0 - first.0;
            let arrived = last.1.saturating_sub(first.1).min(sent);
            let back = (answered as u32 - 1).min(arrived);
            quality.loss_up = share((sent - arrived) as usize, sent as usize);
            quality.loss_down = share((arrived - back) as usize, arrived as usize);
        }
        quality
    }

    fn decide(&mut self, now: Instant) {
        match self.way {
            Way::Udp if self.has_tunnel && self.is_blocked(now) => {
                let relapse = self.returned_at.is_some_and(|at| now.saturating_duration_since(at) < RELAPSE);
                self.trust_wanted = if relapse { (self.trust_wanted * 2).min(MOST_TRUST) } else { TRUST };
                self.take(Way::Tunnel);
            }
            Way::Udp => {}
            Way::Tunnel => {
                self.judge(now);
                if self.trust >= self.trust_wanted {
                    self.take(Way::Udp);
                    self.returned_at = Some(now);
                }
            }
        }
    }

    fn take(&mut self, way: Way) {
        self.way = way;
        self.first_sequence = self.next_sequence;
        self.judged = self.next_sequence;
        (self.trust, self.urgent) = (0, 0);
        (self.last_ping, self.last_probe) = (None, None);
    }

    /// Counts the probes that have been answered or lost since the last call, oldest first.
    fn judge(&mut self, now: Instant) {
        while self.judged < self.next_sequence {
            if let Some(ping) = self.ping(self.judged)
                && ping.way == Way::Udp
            {
                if ping.answer.is_some() {
                    self.trust += 1;
                } else if now.saturating_duration_since(ping.sent_at) >= LOST_AFTER {
                    self.trust = self.trust.saturating_sub(2);
                } else {
                    return;
                }
            }
            self.judged += 1;
        }
    }

    fn interval(&self, now: Instant) -> Duration {
        if self.is_urgent(now) || self.breaks_off(now) {
            URGENT_EVERY
        } else if self.next_sequence <= EAGER {
            EAGER_EVERY
        } else if self.last_voice.is_some_and(|last| now.saturating_duration_since(last) < ACTIVE_FOR) {
            ACTIVE_EVERY
        } else {
            IDLE_EVERY
        }
    }

    /// A burst has fallen silent in its middle: the server may send it to an address that is not ours any more.
    fn breaks_off(&self, now: Instant) -> bool {
        self.nudges < NUDGES && self.missed_from.is_some_and(|from| from <= now)
    }

    fn is_urgent(&self, now: Instant) -> bool {
        self.way == Way::Udp && self.urgent < MOST_URGENT && self.overdue(now).next().is_some()
    }

    fn is_blocked(&self, now: Instant) -> bool {
        let mut overdue = self.overdue(now);
        overdue.next().is_some_and(|first| now.saturating_duration_since(first.sent_at) >= BLOCKED)
            && overdue.count() + 1 >= CHANCES
    }

    /// The pings by UDP whose answers are late, oldest first.
    fn overdue(&self, now: Instant) -> impl Iterator<Item = &Ping> {
        let trip = self.trips[Way::Udp as usize];
        let limit = trip
            .smooth
            .map_or(OVERDUE_AT_FIRST, |smooth| OVERDUE.max(smooth + LATER.max(trip.deviation * 4)));
        self.unanswered().filter(move |ping| now.saturating_duration_since(ping.sent_at) >= limit)
    }

    /// The pings by UDP after the last one that was answered, oldest first.
    fn unanswered(&self) -> impl Iterator<Item = &Ping> {
        let from = self.udp_answered.map_or(0, |answered| answered + 1).max(self.first_sequence);
        let from = from.max(self.next_sequence.saturating_sub(HISTORY as u32));
        (from..self.next_sequence)
            .filter_map(|sequence| self.ping(sequence))
            .filter(|ping| ping.way == Way::Udp)
    }

    fn ping(&self, sequence: u32) -> Option<&Ping> {
        self.pings[sequence as usize % HISTORY].as_ref().filter(|ping| ping.sequence == sequence)
    }

    fn order(&mut self, way: Way, follow: bool, now: Instant) -> Option<Order> {
        let sequence = self.next_sequence;
        // 6 years of pings every 50 ms in one connection: the number must not come round.
        self.next_sequence = sequence.checked_add(1)?;
        self.pings[sequence as usize % HISTORY] = Some(Ping { sequence, way, sent_at: now, answer: None });
        Some(Order { sequence, way, follow })
    }
}

fn share(part: usize, all: usize) -> f32 {
    if all == 0 { 0.0 } else { part as f32 / all as f32 }
}

#[cfg(test)]
mod tests;
