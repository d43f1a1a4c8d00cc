//! What the server tells Prometheus. One [`Metrics`] for each server, as several may live in one process.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use crate::{control::TunnelFigures, door::DoorFigures, store::PoolFigures, voice::VoiceFigures};

/// Media type of [`Metrics::encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is counted as it happens. The rest is read at each scrape.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Attempts to log in.
    pub logins: Logins,
    /// Messages on `/control` that came too fast.
    pub messages_refused: AtomicU64,
}

/// How an attempt to log in ended. Unknown, locked and disabled accounts are not told apart: where others may read
/// the figures, they would learn from them which names there are. The audit log has the difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Logged in.
    Ok,
    /// Name or password was wrong, or the account may not log in now.
    Refused,
    /// Not tried: too many attempts.
    Limited,
    /// The server could not tell: its database, say.
    Failed,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Ok, Self::Refused, Self::Limited, Self::Failed];

    fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Limited => "limited",
            Self::Failed => "failed",
        }
    }
}

/// Attempts to log in, by outcome.
#[derive(Debug, Default)]
pub struct Logins([AtomicU64; Outcome::ALL.len()]);

impl Logins {
    /// One more attempt ended so.
    pub fn inc(&self, outcome: Outcome) {
        self.0[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many ended so.
    pub fn get(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize].load(Ordering::Relaxed)
    }
}

/// Upper bounds of the buckets of [`Latency`], in microseconds; one more bucket has what is above.
const BOUNDS_US: [u64; 13] =
    [10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000];
const BUCKETS: usize = BOUNDS_US.len() + 1;

/// How long things took. Recording is one look and two additions: no lock, no allocation.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [AtomicU64; BUCKETS],
    nanoseconds: AtomicU64,
}

/// A [`Latency`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencyFigures {
    /// How many fell into each bucket.
    buckets: [u64; BUCKETS],
    /// All of them together.
    nanoseconds: u64,
}

impl Latency {
    /// Counts one.
    pub fn record(&self, took: Duration) {
        let nanoseconds = took.as_nanos() as u64;
        let bucket = BOUNDS_US.partition_point(|bound| bound * 1_000 < nanoseconds);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// All of it, now.
    pub fn figures(&self) -> LatencyFigures {
        LatencyFigures {
            buckets: std::array::from_fn(|bucket| self.buckets[bucket].load(Ordering::Relaxed)),
            nanoseconds: self.nanoseconds.load(Ordering::Relaxed),
        }
    }
}

impl LatencyFigures {
    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// What is read at the moment of a scrape.
#[derive(Clone, Copy, Debug)]
pub struct Scrape {
    /// The database's pool.
    pub pool: PoolFigures,
    /// Logins that are good now; none where the database does not answer: the other figures are there all the same.
    pub active_sessions: Option<u64>,
    /// People connected.
    pub connected: u64,
    /// Channels, of all organizations.
    pub channels: u64,
    /// Rows written to the audit log since the start.
    pub audit_writes: u64,
    /// What the way in has seen.
    pub door: DoorFigures,
    /// What the voice plane has seen.
    pub voice: VoiceFigures,
    /// From the receipt of a voice packet until it is handed to the system for the last of its listeners.
    pub forwarding: LatencyFigures,
    /// Voice on the control socket.
    pub tunnels: TunnelFigures,
}

impl Metrics {
    /// All figures as OpenMetrics text, which Prometheus reads.
    pub fn encode(&self, scrape: &Scrape) -> String {
        let mut registry = Registry::with_prefix("voip");
        registry.register_collector(Box::new(Figures {
            logins: Outcome::ALL.map(|outcome| (outcome, self.logins.get(outcome))),
            messages_refused: self.messages_refused.load(Ordering::Relaxed),
            scrape: *scrape,
        }));
        let mut out = String::new();
        text::encode(&mut out, &registry).expect("a String takes whatever is written");
        out
    }
}

#[derive(Debug)]
struct Figures {
    logins: [(Outcome, u64); Outcome::ALL.len()],
    messages_refused: u64,
    scrape: Scrape,
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        let Scrape {
            pool,
            active_sessions,
            connected,
            channels,
            audit_writes,
            door,
            voice,
            forwarding,
            tunnels,
        } = self.scrape;

        out.gauge(
            "database_up",
            "Whether the database answered at this scrape",
            u64::from(active_sessions.is_some()),
        )?;
        out.gauges(
            "database_connections",
            "Open connections to the database",
            ("state", [("idle", pool.idle as u64), ("in_use", pool.in_use as u64)]),
        )?;
        out.gauge("database_connections_max", "Connections to the database that there may be", pool.max)?;

        let logins = self.logins.map(|(outcome, count)| (outcome.label(), count));
        out.counters("login_attempts", "Attempts to log in", ("outcome", logins))?;
        out.counter("audit_writes", "Rows written to the audit log", audit_writes)?;
        if let Some(sessions) = active_sessions {
            out.gauge("active_sessions", "Logins that are good", sessions)?;
        }
        out.gauge("connected_users", "Control connections of people who are logged in", connected)?;
        out.gauge("channels", "Channels of all organizations", channels)?;
        out.door(door)?;
        out.counter(
            "control_messages_refused",
            "Messages on control sockets that came too fast",
            self.messages_refused,
        )?;

        let VoiceFigures {
            received,
            received_bytes,
            forwarded,
            forwarded_bytes,
            pings,
            malformed,
            unknown_session,
            bad_tag,
            replayed,
            rate_limited,
            not_allowed,
            wrong_context,
            dropped_bytes,
            send_failed,
        } = voice;
        out.counter(
            "voice_packets_in",
            "Datagrams that came in on the voice plane, pings among them",
            received,
        )?;
        out.counter("voice_packets_out", "Voice datagrams that went out, one for each listener", forwarded)?;
        out.counter("voice_bytes_in", "Bytes of the datagrams that came in", received_bytes)?;
        out.counter("voice_bytes_out", "Bytes of the voice datagrams that went out", forwarded_bytes)?;
        out.counter("voice_pings", "Pings answered", pings)?;
        let dropped = [
            ("malformed", malformed),
            ("unknown_session", unknown_session),
            ("bad_tag", bad_tag),
            ("replayed", replayed),
            ("rate_limited", rate_limited),
            ("not_allowed", not_allowed),
            ("wrong_context", wrong_context),
            ("send_failed", send_failed),
        ];
        out.counters("voice_packets_dropped", "Datagrams that went nowhere", ("reason", dropped))?;
        out.counter("voice_bytes_dropped", "Bytes of the datagrams that were dropped", dropped_bytes)?;
        out.gauge("voice_tunnels", "Connections whose voice goes over the control socket", tunnels.open)?;
        out.counter(
            "voice_tunnel_frames_dropped",
            "Voice that a control socket was too slow for",
            tunnels.frames_dropped,
        )?;
        out.histogram(
            "voice_forwarding_latency",
            "From the receipt of a voice packet until it is sent to the last of its listeners",
            forwarding,
        )
    }
}

/// The crate's encoder, by kind of figure.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn door(&mut self, door: DoorFigures) -> fmt::Result {
        let DoorFigures {
            open,
            handshaking,
            refused_full,
            refused_address,
            refused_rate,
            starved,
            handshakes_timed_out,
            handshakes_failed,
        } = door;
        // Read one after the other: a handshake may have begun in between.
        let served = open.saturating_sub(handshaking);
        self.gauges(
            "connections",
            "TCP connections to the control plane",
            ("state", [("handshake", handshaking), ("served", served)]),
        )?;
        let refused = [("full", refused_full), ("address", refused_address), ("rate", refused_rate)];
        self.counters(
            "connections_refused",
            "TCP connections that were closed at once",
            ("reason", refused),
        )?;
        self.counter(
            "connections_starved",
            "Times that the system could not give a connection, for want of open files or memory",
            starved,
        )?;
        let failed = [("timeout", handshakes_timed_out), ("error", handshakes_failed)];
        self.counters("handshakes_failed", "TLS handshakes that came to nothing", ("reason", failed))
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Into<u64>) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value.into())
    }

    fn counters<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        (label, values): (&str, [(&str, u64); N]),
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (of, value) in values {
            ConstCounter::new(value).encode(family.encode_family(&[(label, of)])?)?;
        }
        Ok(())
    }

    fn gauges<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        (label, values): (&str, [(&str, u64); N]),
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (of, value) in values {
            ConstGauge::new(value).encode(family.encode_family(&[(label, of)])?)?;
        }
        Ok(())
    }

    /// In seconds, as the conventions have it.
    fn histogram(&mut self, name: &str, help: &str, figures: LatencyFigures) -> fmt::Result {
        let bounds = BOUNDS_US.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(figures.buckets).collect();
        self.0
            .encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(figures.nanoseconds as f64 / 1e9, figures.count(), &buckets, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape() -> Scrape {
        Scrape {
            pool: PoolFigures { size: 3, idle: 2, in_use: 1, max: 20 },
            active_sessions: Some(4),
            connected: 5,
            channels: 6,
            audit_writes: 1,
            door: DoorFigures { open: 9, handshaking: 2, refused_rate: 3, ..DoorFigures::default() },
            voice: VoiceFigures { received: 9, bad_tag: 7, rate_limited: 3, ..VoiceFigures::default() },
            forwarding: LatencyFigures::default(),
            tunnels: TunnelFigures { open: 2, frames_dropped: 3 },
        }
    }

    #[test]
    fn every_figure_is_there() {
        let metrics = Metrics::default();
        metrics.logins.inc(Outcome::Ok);
        metrics.logins.inc(Outcome::Refused);
        metrics.logins.inc(Outcome::Refused);
        let text = metrics.encode(&scrape());
        for line in [
            "voip_database_up 1",
            "voip_database_connections{state=\"in_use\"} 1",
            "voip_database_connections_max 20",
            "voip_login_attempts_total{outcome=\"ok\"} 1",
            "voip_login_attempts_total{outcome=\"refused\"} 2",
            "voip_login_attempts_total{outcome=\"limited\"} 0",
            "voip_audit_writes_total 1",
            "voip_active_sessions 4",
            "voip_connected_users 5",
            "voip_channels 6",
            "voip_connections{state=\"handshake\"} 2",
            "voip_connections{state=\"served\"} 7",
            "voip_connections_refused_total{reason=\"rate\"} 3",
            "voip_connections_refused_total{reason=\"full\"} 0",
            "voip_connections_starved_total 0",
            "voip_handshakes_failed_total{reason=\"timeout\"} 0",
            "voip_control_messages_refused_total 0",
            "voip_voice_packets_in_total 9",
            "voip_voice_packets_dropped_total{reason=\"bad_tag\"} 7",
            "voip_voice_packets_dropped_total{reason=\"rate_limited\"} 3",
            "voip_voice_packets_dropped_total{reason=\"send_failed\"} 0",
            "voip_voice_tunnels 2",
            "voip_voice_tunnel_frames_dropped_total 3",
            "voip_voice_forwarding_latency_seconds_bucket{le=\"+Inf\"} 0",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    /// Each metric has its help and type once, and its samples below.
    #[test]
    fn the_text_is_open_metrics() {
        let text = Metrics::default().encode(&scrape());
        let mut name = "";
        for line in text.lines().filter(|line| *line != "# EOF") {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["#", "HELP", new, ..] => {
                    assert_eq!(text.matches(&format!("# HELP {new} ")).count(), 1, "{new}");
                    name = new;
                }
                ["#", "TYPE" | "UNIT", of, _] => assert_eq!(of, name),
                [sample, value] => {
                    assert!(sample.starts_with(name), "{line} stands below {name}");
                    assert!(value.parse::<f64>().is_ok(), "{line}");
                }
                _ => panic!("{line}"),
            }
        }
    }

    #[test]
    fn without_a_database_the_rest_is_there() {
        let text = Metrics::default().encode(&Scrape { active_sessions: None, ..scrape() });
        assert!(text.contains("voip_database_up 0\n") && text.contains("voip_channels 6\n"));
        assert!(!text.contains("voip_active_sessions"));
    }

    #[test]
    fn servers_in_one_process_count_apart() {
        let (one, other) = (Metrics::default(), Metrics::default());
        one.logins.inc(Outcome::Ok);
        assert_eq!((one.logins.get(Outcome::Ok), other.logins.get(Outcome::Ok)), (1, 0));
    }

    #[test]
    fn a_bound_is_in_its_bucket() {
        let latency = Latency::default();
        for microseconds in [0, 10, 11, 100_000, 100_001] {
            latency.record(Duration::from_micros(microseconds));
        }
        latency.record(Duration::from_secs(60));
        let text = Metrics::default().encode(&Scrape { forwarding: latency.figures(), ..scrape() });
        let value = |sample: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(sample)).unwrap_or_default();
            line.trim().parse::<f64>().unwrap_or(f64::NAN)
        };
        let name = "voip_voice_forwarding_latency_seconds";
        assert_eq!(value(&format!("{name}_bucket{{le=\"0.00001\"}}")), 2.0, "{text}");
        assert_eq!(value(&format!("{name}_bucket{{le=\"0.000025\"}}")), 3.0);
        assert_eq!(value(&format!("{name}_bucket{{le=\"0.1\"}}")), 4.0);
        assert_eq!(value(&format!("{name}_bucket{{le=\"+Inf\"}}")), 6.0);
        assert_eq!(value(&format!("{name}_count")), 6.0);
        assert!((value(&format!("{name}_sum")) - 60.200_022).abs() < 1e-9);
    }

    #[test]
    fn recording_loses_nothing() {
        let latency = std::sync::Arc::new(Latency::default());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let latency = std::sync::Arc::clone(&latency);
                std::thread::spawn(move || (0..1_000).for_each(|n| latency.record(Duration::from_micros(n))))
            })
            .collect();
        for thread in threads {
            thread.join().expect("recording does not panic");
        }
        assert_eq!(latency.figures().count(), 4_000);
    }
}
