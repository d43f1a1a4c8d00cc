//! What is measured while clients talk, and while nobody does.

use std::{
    net::UdpSocket,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::SyncSender,
    },
};

use serde_json::{Value, json};

use super::{
    LoadError, clock,
    listen::{Listener, Tally},
    options::Options,
    roster::Roster,
    schedule::Schedule,
    search::Search,
    stats::rounded,
    talk::Stage,
    usage::{self, CpuUse, Memory, Reading},
};

/// From the order to talk to the first packet, in s.
const LEAD: f64 = 0.05;
/// What is under way at the end of the window may take this long, in s.
const DRAIN: f64 = 0.3;
/// Unmeasured talk lasts no longer, in s.
const LONGEST: f64 = 120.0;
/// Talkers go on for this long after the window, in s: its last packets travel as all others.
const TAIL: f64 = 0.1;
/// Without voice for this long, what came before is over, in s.
const QUIET: f64 = 0.1;
/// A server that was given too much is waited for so many times that long.
const QUIET_TRIES: u32 = 150;
/// How often a step of the search is tried: other work on the machine may spoil one.
const TRIES: u32 = 2;

/// The processes that are looked at, and the machine.
struct Look {
    held: Memory,
    server: Reading,
    generator: Reading,
    machine_s: (f64, f64),
    server_drops: u64,
    generator_drops: u64,
}

/// What was used between two looks.
struct Used {
    server: CpuUse,
    generator: CpuUse,
    other_cpu_s: f64,
    steal_s: f64,
}

/// A running server and running clients.
pub struct Bench<'a> {
    /// What is asked.
    pub options: &'a Options,
    /// The server's process.
    pub pid: u32,
    /// Its voice port.
    pub voice_port: u16,
    /// The clients' socket.
    pub socket: &'a UdpSocket,
    /// The clients.
    pub roster: &'a Roster,
    /// Their ears.
    pub listener: &'a Listener,
    /// Their mouths.
    pub stages: &'a SyncSender<Arc<Stage>>,
    /// What the server uses while nobody talks, in s of CPU time a second.
    pub idle_rate: f64,
}

/// What a stretch of talking came to.
pub struct Talked {
    loss_pct: f64,
    p99_us: Option<u64>,
    json: Value,
}

impl Bench<'_> {
    /// Measures silence.
    pub fn idle(&mut self) -> Value {
        let seconds = self.options.idle_seconds;
        let before = self.look();
        clock::sleep(seconds);
        let used = self.look().since(&before);
        self.idle_rate = if seconds > 0.0 { used.server.cpu_s / seconds } else { 0.0 };
        json!({
            "seconds": seconds,
            "server": used.server.json(),
            "server_cpu_pct": rounded(100.0 * self.idle_rate, 3),
            "generator_cpu_s": rounded(used.generator.cpu_s, 3),
            "other_cpu_s": rounded(used.other_cpu_s, 2),
        })
    }

    /// Measures so many talkers in each channel.
    pub fn voice(&self, talkers: usize) -> Result<Value, LoadError> {
        Ok(self.talk(talkers)?.json)
    }

    /// Seeks the most talkers in each channel that hold.
    pub fn find_max(&self) -> Result<Value, LoadError> {
        let top = match self.options.max_talkers {
            0 => self.roster.layout.per_channel,
            most => most.min(self.roster.layout.per_channel),
        };
        let mut search = Search::new(self.options.talkers, top);
        let (mut best, mut steps) = (Value::Null, Vec::new());
        // Of the least that failed: whether this program was too slow itself.
        let mut generator_lost = false;
        while let Some(talkers) = search.next() {
            let (mut holds, mut lost) = (false, false);
            for _ in 0..TRIES {
                let talked = self.talk(talkers)?;
                holds = self.holds(&talked);
                lost |= talked.json["generator_udp_drops"] != 0;
                steps.push(json!({
                    "talkers_per_channel": talkers,
                    "held": holds,
                    "received_per_s": talked.json["received_per_s"],
                    "loss_pct": talked.json["loss_pct"],
                    "p99_us": talked.p99_us,
                    "server_cpu_pct": talked.json["server_cpu_pct"],
                    "server_udp_drops": talked.json["server_udp_drops"],
                    "generator_udp_drops": talked.json["generator_udp_drops"],
                    "generator_worst_send_lag_us": talked.json["generator_worst_send_lag_us"],
                    "other_cpu_s": talked.json["other_cpu_s"],
                }));
                eprintln!(
                    "{talkers:>5} talkers: {} packets/s out, loss {} %, p99 {} µs, server {} %: {}",
                    talked.json["received_per_s"],
                    talked.json["loss_pct"],
                    talked.json["latency_us"]["p99"],
                    talked.json["server_cpu_pct"],
                    if holds { "holds" } else { "does not hold" },
                );
                if holds {
                    best = talked.json;
                    break;
                }
            }
            if !holds {
                generator_lost = lost;
            }
            search.note(talkers, holds);
        }
        Ok(json!({
            "held_talkers_per_channel": search.held,
            "failed_talkers_per_channel": search.failed,
            "failed_with_generator_drops": generator_lost,
            "max_loss_pct": self.options.max_loss,
            "max_p99_ms": self.options.max_p99_ms,
            "best": best,
            "steps": steps,
        }))
    }

    fn holds(&self, talked: &Talked) -> bool {
        let most_us = self.options.max_p99_ms * 1e3;
        talked.loss_pct <= self.options.max_loss && talked.p99_us.is_some_and(|p99| p99 as f64 <= most_us)
    }

    /// Waits until nothing of an earlier stretch is under way: it would spoil the next one.
    fn wait_until_quiet(&self) {
        for _ in 0..QUIET_TRIES {
            let arrived = self.listener.tally().arrived;
            clock::sleep(QUIET);
            if self.listener.tally().arrived == arrived {
                return;
            }
        }
    }

    /// Has so many talkers in each channel talk until the next order, unmeasured.
    pub fn talk_on(&self, talkers: usize) -> Result<(), LoadError> {
        let now = clock::monotonic_ns();
        self.begin(talkers, now, now..now + clock::ns(LONGEST)).map(drop)
    }

    /// Orders talk from `start` on; what is sent in the window is measured, both on the monotonic clock.
    fn begin(&self, talkers: usize, start: u64, window: Range<u64>) -> Result<Arc<Stage>, LoadError> {
        let options = self.options;
        let realtime = |monotonic| clock::realtime_ns() + monotonic - clock::monotonic_ns();
        let stop_ns = window.end + clock::ns(TAIL);
        let window = realtime(window.start)..realtime(window.end);
        let who = self.roster.layout.talkers(talkers);
        let stage = Arc::new(Stage {
            schedule: Schedule {
                start_ns: start,
                frame_ns: clock::ns(options.frame_ms / 1e3),
                talkers: who.len(),
                burst: options.burst,
            },
            talkers: who,
            stop_ns,
            window: window.clone(),
            payload: options.payload,
            duration: options.duration()?,
            sent: AtomicU64::new(0),
            expected: AtomicU64::new(0),
            worst_lag_ns: AtomicU64::new(0),
        });
        *self.listener.tally() = Tally { window, ..Tally::default() };
        self.stages.send(Arc::clone(&stage)).map_err(|_| LoadError::Thread("sends"))?;
        Ok(stage)
    }

    fn talk(&self, talkers: usize) -> Result<Talked, LoadError> {
        let options = self.options;
        self.wait_until_quiet();
        let start = clock::monotonic_ns() + clock::ns(LEAD);
        let first = start + clock::ns(options.warmup_seconds);
        let last = first + clock::ns(options.seconds);
        let stage = self.begin(talkers, start, first..last)?;
        clock::sleep_until(first);
        let before = self.look();
        clock::sleep_until(u64::midpoint(first, last));
        let memory = Memory::of(self.pid);
        clock::sleep_until(last);
        let after = self.look();
        clock::sleep(DRAIN);
        let tally = std::mem::take(&mut *self.listener.tally());
        Ok(self.talked(talkers, &stage, &tally, memory, &before, &after))
    }

    fn talked(
        &self,
        talkers: usize,
        stage: &Stage,
        tally: &Tally,
        memory: Memory,
        before: &Look,
        after: &Look,
    ) -> Talked {
        let seconds = self.options.seconds;
        let (sent, expected) = (stage.sent.load(Relaxed), stage.expected.load(Relaxed));
        let received = tally.received;
        let used = after.since(before);
        let less_idle = (used.server.cpu_s - self.idle_rate * seconds).max(0.0);
        let loss_pct = 100.0 * (1.0 - ratio(received as f64, expected).unwrap_or(1.0));
        let us_per = |cpu_s: f64, packets| ratio(cpu_s * 1e6, packets).map(|us| rounded(us, 3));
        let rate = |packets: u64| rounded(packets as f64 / seconds, 1);
        let share = |cpu_s: f64| rounded(100.0 * cpu_s / seconds, 2);
        let json = json!({
            "talkers_per_channel": talkers,
            "talkers": stage.talkers.len(),
            "seconds": seconds,
            "sent": sent,
            "expected": expected,
            "received": received,
            "misrouted": tally.misrouted,
            "duplicate": tally.duplicate,
            "anomalies": tally.anomalies(),
            "lost_connections": self.roster.lost_connections.load(Relaxed),
            "loss_pct": rounded(loss_pct, 4),
            "sent_per_s": rate(sent),
            "received_per_s": rate(received),
            "latency_us": tally.latency.json(),
            "server": used.server.json(),
            "server_cpu_pct": share(used.server.cpu_s),
            "server_us_per_out": us_per(used.server.cpu_s, received),
            "server_us_per_out_less_idle": us_per(less_idle, received),
            "server_us_per_in": us_per(used.server.cpu_s, sent),
            "server_switches_per_in": ratio(used.server.switches() as f64, sent).map(|each| rounded(each, 3)),
            "server_rss_kib": memory.resident,
            "server_rss_kib_first_last": [before.held.resident, after.held.resident],
            "server_descriptors_first_last": [before.held.descriptors, after.held.descriptors],
            "server_udp_drops": after.server_drops.saturating_sub(before.server_drops),
            "generator": used.generator.json(),
            "generator_cpu_pct": share(used.generator.cpu_s),
            "generator_udp_drops": after.generator_drops.saturating_sub(before.generator_drops),
            "generator_worst_send_lag_us": stage.worst_lag_ns.load(Relaxed) / 1_000,
            "other_cpu_s": rounded(used.other_cpu_s, 2),
            "steal_s": rounded(used.steal_s, 2),
        });
        Talked { loss_pct, p99_us: tally.latency.quantile_us(0.99), json }
    }

    fn look(&self) -> Look {
        let own_port = self.socket.local_addr().map_or(0, |address| address.port());
        Look {
            held: Memory::of(self.pid),
            server: usage::reading(self.pid),
            generator: usage::reading(std::process::id()),
            machine_s: usage::machine_s(),
            server_drops: usage::udp_drops(self.voice_port),
            generator_drops: usage::udp_drops(own_port),
        }
    }
}

impl Look {
    fn since(&self, earlier: &Self) -> Used {
        let server = self.server.since(&earlier.server);
        let generator = self.generator.since(&earlier.generator);
        let busy_s = self.machine_s.0 - earlier.machine_s.0;
        Used {
            other_cpu_s: busy_s - server.cpu_s - generator.cpu_s,
            steal_s: self.machine_s.1 - earlier.machine_s.1,
            server,
            generator,
        }
    }
}

/// None where there is nothing to divide by.
fn ratio(amount: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| amount / count as f64)
}
