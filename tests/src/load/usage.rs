//! What processes and the machine used, from /proc.

use std::collections::HashMap;

use procfs::{
    CurrentSI, KernelStats, ProcResult,
    process::{Process, Task},
};
use serde_json::{Value, json};

use super::stats::rounded;

/// What a thread used since it began.
#[derive(Clone, Default)]
struct ThreadUse {
    name: String,
    run_ns: u64,
    voluntary: u64,
    involuntary: u64,
}

/// What a process used until a moment.
pub struct Reading {
    /// Clock ticks in user mode and in the kernel, threads that ended included.
    ticks: (u64, u64),
    threads: HashMap<i32, ThreadUse>,
}

/// What a process used in a time.
pub struct CpuUse {
    /// The scheduler's run time, in s.
    pub cpu_s: f64,
    utime_s: f64,
    stime_s: f64,
    voluntary: u64,
    involuntary: u64,
    threads: Vec<(String, f64)>,
}

/// What a process holds: memory, in KiB, and files.
#[derive(Clone, Copy)]
pub struct Memory {
    /// Resident.
    pub resident: u64,
    anonymous: u64,
    peak: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

/// Reads what a process used until now; nothing of one that is gone.
pub fn reading(pid: u32) -> Reading {
    let process = Process::new(pid as i32).ok();
    let stat = process.as_ref().and_then(|process| process.stat().ok());
    let tasks = process.as_ref().and_then(|process| process.tasks().ok());
    let threads = tasks.into_iter().flatten().flatten();
    Reading {
        ticks: stat.map_or((0, 0), |stat| (stat.utime, stat.stime)),
        // A thread may end while it is looked at.
        threads: threads.filter_map(|task| Some((task.tid, thread_use(&task).ok()?))).collect(),
    }
}

fn thread_use(task: &Task) -> ProcResult<ThreadUse> {
    let status = task.status()?;
    Ok(ThreadUse {
        name: status.name,
        run_ns: task.schedstat()?.sum_exec_runtime,
        voluntary: status.voluntary_ctxt_switches.unwrap_or(0),
        involuntary: status.nonvoluntary_ctxt_switches.unwrap_or(0),
    })
}

impl Reading {
    /// What was used since an earlier reading.
    pub fn since(&self, earlier: &Self) -> CpuUse {
        let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
        let mut used = CpuUse {
            cpu_s: 0.0,
            utime_s: seconds(self.ticks.0.saturating_sub(earlier.ticks.0)),
            stime_s: seconds(self.ticks.1.saturating_sub(earlier.ticks.1)),
            voluntary: 0,
            involuntary: 0,
            threads: Vec::new(),
        };
        for (tid, now) in &self.threads {
            let before = earlier.threads.get(tid).cloned().unwrap_or_default();
            let run_s = now.run_ns.saturating_sub(before.run_ns) as f64 / 1e9;
            used.cpu_s += run_s;
            used.voluntary += now.voluntary.saturating_sub(before.voluntary);
            used.involuntary += now.involuntary.saturating_sub(before.involuntary);
            if run_s > 0.0 {
                used.threads.push((now.name.clone(), run_s));
            }
        }
        used.threads.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        used
    }
}

impl CpuUse {
    /// Times a thread gave its core away or lost it.
    pub fn switches(&self) -> u64 {
        self.voluntary + self.involuntary
    }

    /// For the report: the busiest threads by name.
    pub fn json(&self) -> Value {
        /// Threads that are told of.
        const SHOWN: usize = 6;
        let thread = |(name, cpu_s): &(String, f64)| json!({ "name": name, "cpu_s": rounded(*cpu_s, 4) });
        json!({
            "cpu_s": rounded(self.cpu_s, 4),
            "utime_s": rounded(self.utime_s, 2),
            "stime_s": rounded(self.stime_s, 2),
            "switches": self.switches(),
            "voluntary_switches": self.voluntary,
            "involuntary_switches": self.involuntary,
            "threads": self.threads.iter().take(SHOWN).map(thread).collect::<Vec<_>>(),
        })
    }
}

impl Memory {
    /// Reads what a process holds now; nothing for one that is gone.
    pub fn of(pid: u32) -> Self {
        let process = Process::new(pid as i32).ok();
        let status = process.as_ref().and_then(|process| process.status().ok());
        let field =
            |field: fn(&procfs::process::Status) -> Option<u64>| status.as_ref().and_then(field).unwrap_or(0);
        Self {
            resident: field(|status| status.vmrss),
            anonymous: field(|status| status.rssanon),
            peak: field(|status| status.vmhwm),
            descriptors: process.and_then(|process| process.fd_count().ok()).unwrap_or(0) as u64,
        }
    }

    /// For the report, in KiB.
    pub fn json(self) -> Value {
        json!({ "rss": self.resident, "anon": self.anonymous, "peak": self.peak })
    }
}

/// The machine's CPU time until now, in s: busy, and stolen by its host.
pub fn machine_s() -> (f64, f64) {
    let Ok(stats) = KernelStats::current() else { return (0.0, 0.0) };
    let total = stats.total;
    let ticks = total.user + total.nice + total.system + total.irq.unwrap_or(0) + total.softirq.unwrap_or(0);
    let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
    (seconds(ticks), seconds(total.steal.unwrap_or(0)))
}

/// Datagrams that the system dropped at the UDP sockets with this port.
pub fn udp_drops(port: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let port = format!(":{port:04X}");
    let drops = |line: &str| {
        let mut columns = line.split_whitespace();
        let ours = columns.nth(1)?.ends_with(&port);
        columns.next_back().filter(|_| ours)?.parse::<u64>().ok()
    };
    table.lines().skip(1).filter_map(drops).sum()
}
