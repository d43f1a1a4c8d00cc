//! What is done with one datagram. The socket and the clock stay outside.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use voip_protocol::{
    SessionId,
    limits::MAX_VOICE_PACKET,
    voice::{Header, Kind, LossReport, PROBE_LEN, Ping, Pong, ReplayWindow, TAG_LEN, VoicePacket, kind_of},
};

use super::{
    Accepted, Addresses, Allowance, Path, Rates, Route, Routing, Seat,
    counters::{VoiceCounters, count},
    worst::Worst,
};

/// The server's clock in pongs, in Hertz.
const CLOCK_RATE: u64 = 48_000;

/// Checks datagrams and says where they go. One thread owns it, and with it the replay windows, the allowances and the
/// addresses.
pub struct Forwarder {
    known: Known,
    counters: Arc<VoiceCounters>,
}

/// What is known of those who have been heard.
struct Known {
    /// By seat. What is left of a session that has ended goes when another one is heard there.
    heard: Vec<Option<Heard>>,
    addresses: Addresses,
    rates: Rates,
}

/// What is known of a session that has been heard.
struct Heard {
    session: SessionId,
    voice: Stream,
    ping: Stream,
    /// Of its voice, on the way to its listeners.
    lost: Worst,
}

/// The packets of one kind of one session.
struct Stream {
    window: ReplayWindow,
    allowance: Allowance,
}

impl Heard {
    fn new(session: SessionId, rates: Rates, now_ns: u64) -> Self {
        let (voice, ping) = (Stream::new(rates, now_ns), Stream::new(Rates::PINGS, now_ns));
        Self { session, voice, ping, lost: Worst::default() }
    }
}

impl Stream {
    fn new(rates: Rates, now_ns: u64) -> Self {
        Self { window: ReplayWindow::default(), allowance: Allowance::full(rates, now_ns) }
    }
}

/// What becomes of a datagram.
#[derive(Debug)]
pub enum Outcome<'b, 'r> {
    /// Nothing: it has been counted.
    Dropped,
    /// An answer to who sent it.
    Answered([u8; PROBE_LEN]),
    /// Voice to send on.
    Voice(Accepted<'b, 'r>),
}

impl Forwarder {
    /// Lets each session send so much voice, and counts into `counters`.
    pub fn new(rates: Rates, counters: Arc<VoiceCounters>) -> Self {
        let known = Known { heard: Vec::new(), addresses: Addresses::default(), rates };
        Self { known, counters }
    }

    /// Handles one datagram.
    ///
    /// `now` is the time since the server began; it must not go back. Allocates only when somebody sits higher than anybody
    /// heard before. Answers nothing that is not authentic, and nothing with more bytes than it got.
    pub fn handle<'b, 'r>(
        &mut self,
        datagram: &'b [u8],
        from: Path,
        now: Duration,
        routing: &'r Routing,
    ) -> Outcome<'b, 'r> {
        count(&self.counters.received);
        self.counters.received_bytes.fetch_add(datagram.len() as u64, Ordering::Relaxed);
        let Self { known, counters } = self;
        known.accept(datagram, from, now, routing, counters).unwrap_or_else(|reason| {
            count(reason);
            counters.dropped_bytes.fetch_add(datagram.len() as u64, Ordering::Relaxed);
            Outcome::Dropped
        })
    }

    /// Where everybody was last heard from.
    pub fn addresses(&self) -> &Addresses {
        &self.known.addresses
    }
}

impl Known {
    /// As [`Forwarder::handle`], or the counter of the reason why not.
    ///
    /// What costs least is looked at first, and nothing is kept of a packet before its tag is known to be right. What
    /// the session may send comes after the replay window: or whoever repeats its packets could use it up.
    fn accept<'b, 'r, 'c>(
        &mut self,
        datagram: &'b [u8],
        from: Path,
        now: Duration,
        routing: &'r Routing,
        counters: &'c VoiceCounters,
    ) -> Result<Outcome<'b, 'r>, &'c AtomicU64> {
        let packet = Packet::parse(datagram).ok_or(&counters.malformed)?;
        let session = packet.session();
        let route = routing.routes.get(&session).ok_or(&counters.unknown_session)?;
        let body = route.peer.uplink.check(datagram).ok_or(&counters.bad_tag)?;
        let now_ns = now.as_nanos() as u64;
        let rates = self.rates;
        let heard = self.heard(session, route.seat, now_ns);
        match packet {
            Packet::Ping(ping) => {
                if !heard.ping.window.accept(ping.sequence) {
                    return Err(&counters.replayed);
                }
                if !heard.ping.allowance.take(Rates::PINGS, datagram.len(), now_ns) {
                    return Err(&counters.rate_limited);
                }
                let loss = heard.lost.loss(now_ns);
                if ping.follow {
                    self.addresses.heard_from(session, route.seat, from);
                }
                count(&counters.pings);
                if let Some(report) = ping.report {
                    self.report(report, session, now_ns, routing);
                }
                let pong = Pong {
                    session,
                    sequence: ping.sequence,
                    client_time: ping.client_time,
                    server_time: clock(now),
                    pings_received: route.peer.count_ping(),
                    loss,
                };
                Ok(Outcome::Answered(pong.to_bytes(&route.peer.downlink)))
            }
            Packet::Voice(header) => {
                if !heard.voice.window.accept(header.sequence) {
                    return Err(&counters.replayed);
                }
                if !heard.voice.allowance.take(rates, datagram.len(), now_ns) {
                    route.peer.count_clipped();
                    return Err(&counters.rate_limited);
                }
                self.addresses.heard_from(session, route.seat, from);
                match route.speaks_into {
                    None => Err(&counters.not_allowed),
                    Some(context) if context != header.context => Err(&counters.wrong_context),
                    Some(_) => {
                        Ok(Outcome::Voice(Accepted { talker: session, listeners: &route.listeners, body }))
                    }
                }
            }
        }
    }

    /// A listener tells how much it loses of a talker. Of those who do not hear the talker nothing is taken.
    fn report(&mut self, report: LossReport, listener: SessionId, now_ns: u64, routing: &Routing) {
        let hears = |route: &&Route| {
            report.talker != listener && route.listeners.iter().any(|one| one.session == listener)
        };
        let Some(route) = routing.routes.get(&report.talker).filter(hears) else { return };
        let talker = self.heard.get_mut(route.seat.index()).and_then(Option::as_mut);
        if let Some(talker) = talker.filter(|talker| talker.session == report.talker) {
            talker.lost.report(report.loss, now_ns);
        }
    }

    /// What is known of a session, which sits there now.
    fn heard(&mut self, session: SessionId, seat: Seat, now_ns: u64) -> &mut Heard {
        if self.heard.len() <= seat.index() {
            self.heard.resize_with(seat.index() + 1, || None);
        }
        let place = &mut self.heard[seat.index()];
        if place.as_ref().is_some_and(|heard| heard.session != session) {
            *place = None;
        }
        place.get_or_insert_with(|| Heard::new(session, self.rates, now_ns))
    }
}

/// A datagram that has the form of what a client sends; its tag has not been checked.
enum Packet {
    Voice(Header),
    Ping(Ping),
}

impl Packet {
    fn parse(datagram: &[u8]) -> Option<Self> {
        if datagram.len() > MAX_VOICE_PACKET {
            return None;
        }
        let (body, _tag) = datagram.split_last_chunk::<TAG_LEN>()?;
        match kind_of(body).ok()? {
            Kind::Voice => VoicePacket::parse(body).ok().map(|packet| Self::Voice(packet.header)),
            Kind::Ping => Ping::parse(body).ok().map(Self::Ping),
            Kind::Pong => None,
        }
    }

    fn session(&self) -> SessionId {
        match self {
            Self::Voice(header) => header.session,
            Self::Ping(ping) => ping.session,
        }
    }
}

/// What the server's clock shows in pongs, wrapping.
fn clock(now: Duration) -> u32 {
    (now.as_secs() * CLOCK_RATE + u64::from(now.subsec_nanos()) * CLOCK_RATE / 1_000_000_000) as u32
}

#[cfg(test)]
#[path = "forwarder_tests.rs"]
mod tests;
