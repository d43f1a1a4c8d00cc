//! The voice plane beside its peer, Mumble's server, and beside a bare loop: the same workloads by turns on the same
//! machine, several rounds, medians of CPU time; and ours alone beside floods, join storms and its own death. The last line on standard output is JSON with every figure and its
//! goal; the exit code is 0 only if all hold.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use clap::Parser;
use serde_json::{Value, json};

/// Measures `voip-server`, Mumble's server and a bare loop by turns.
#[derive(Parser)]
#[command(name = "bench-voice")]
struct Options {
    /// Rounds of each workload.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// What is measured of each run, in seconds.
    #[arg(long, default_value_t = 8)]
    seconds: u32,
    /// The program that starts a Mumble server, loads it and prints JSON.
    #[arg(long, env = "MUMBLE_PEER", default_value = "../shared/bench/mumble-peer.sh")]
    peer: PathBuf,
    /// Workloads to run, by their names; all without.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Ours,
    Mumble,
    Bare,
}

/// A load, and what is held against what.
struct Workload {
    name: &'static str,
    arguments: &'static str,
    /// Whom ours is held against.
    peers: &'static [Who],
    goals: &'static [Goal],
}

/// What one figure must be.
struct Goal {
    what: &'static str,
    /// Path in the JSON of a run.
    figure: &'static str,
    /// The share of whose figure, or none for the figure itself.
    of: Option<Who>,
    bound: Bound,
}

enum Bound {
    AtMost(f64),
    Below(f64),
    AtLeast(f64),
}

impl Bound {
    fn holds(&self, value: f64) -> bool {
        match *self {
            Self::AtMost(most) => value <= most,
            Self::Below(most) => value < most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "at most {most}"),
            Self::Below(most) => write!(f, "below {most}"),
            Self::AtLeast(least) => write!(f, "at least {least}"),
        }
    }
}

/// What a run may lose, in percent.
const MOST_LOSS: f64 = 1.0;

/// Packets that did not arrive, in percent.
const LOSS: &str = "voice.loss_pct";
/// CPU time for each packet that is forwarded, less what the server uses while nobody talks.
const CPU: &str = "voice.server_us_per_out_less_idle";

const fn cpu_of(of: Who, bound: Bound) -> Goal {
    Goal { what: "CPU for a packet", figure: CPU, of: Some(of), bound }
}

/// A figure of ours that is held against nobody's.
const fn alone(what: &'static str, figure: &'static str, bound: Bound) -> Goal {
    Goal { what, figure, of: None, bound }
}

const fn flood(name: &'static str, arguments: &'static str) -> Workload {
    const GOALS: &[Goal] = &[alone("loss beside a flood, in %", LOSS, Bound::AtMost(MOST_LOSS))];
    Workload { name, arguments, peers: &[], goals: GOALS }
}

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "one-talker",
        arguments: "--clients 50 --per-channel 50 --talkers 1",
        peers: &[Who::Mumble, Who::Bare],
        goals: &[cpu_of(Who::Mumble, Bound::AtMost(0.6)), cpu_of(Who::Bare, Bound::AtMost(1.15))],
    },
    Workload {
        name: "five-talkers",
        arguments: "--clients 50 --per-channel 50 --talkers 5",
        peers: &[Who::Mumble],
        goals: &[cpu_of(Who::Mumble, Bound::AtMost(0.6))],
    },
    Workload {
        name: "ten-channels",
        arguments: "--clients 100 --per-channel 10 --talkers 2",
        peers: &[Who::Mumble],
        goals: &[cpu_of(Who::Mumble, Bound::AtMost(0.5))],
    },
    Workload {
        name: "hundred-channels",
        arguments: "--clients 1000 --per-channel 10 --talkers 1",
        peers: &[Who::Mumble],
        goals: &[
            cpu_of(Who::Mumble, Bound::AtMost(0.5)),
            alone("KiB for a client", "rss_kib_per_client", Bound::AtMost(40.0)),
        ],
    },
    Workload {
        name: "twenty-at-once",
        arguments: "--clients 50 --per-channel 50 --talkers 20 --burst",
        peers: &[Who::Bare],
        goals: &[cpu_of(Who::Bare, Bound::Below(0.8))],
    },
    Workload {
        name: "half-of-mumbles-most",
        // To 199 listeners each, 50 times a second: 79,600 packets of the 159,000 that Mumble holds at least.
        arguments: "--clients 200 --per-channel 200 --talkers 8",
        peers: &[Who::Mumble],
        goals: &[
            Goal {
                what: "latency, median",
                figure: "voice.latency_us.p50",
                of: Some(Who::Mumble),
                bound: Bound::AtMost(0.5),
            },
            alone("latency, p99 in µs", "voice.latency_us.p99", Bound::AtMost(1_000.0)),
        ],
    },
    Workload {
        name: "most",
        arguments: "--clients 200 --per-channel 200 --talkers 8 --find-max",
        peers: &[Who::Mumble],
        goals: &[
            Goal {
                what: "packets a second",
                figure: "max.best.received_per_s",
                of: Some(Who::Mumble),
                bound: Bound::AtLeast(2.5),
            },
            Goal {
                what: "CPU for a packet",
                figure: "max.best.server_us_per_out",
                of: Some(Who::Mumble),
                bound: Bound::AtMost(0.4),
            },
        ],
    },
    // Fifty talk in five channels, beside as many packets as one thread can make.
    flood("garbage", "--clients 50 --per-channel 10 --talkers 10 --flood garbage"),
    flood("spoofed", "--clients 50 --per-channel 10 --talkers 10 --flood spoofed"),
    flood("replayed", "--clients 50 --per-channel 10 --talkers 10 --flood replayed"),
    Workload {
        name: "join-storm",
        // As many as the machine can, while some talk.
        arguments: "--clients 50 --per-channel 10 --talkers 1 --storm 16",
        peers: &[],
        goals: &[
            alone("loss beside a storm, in %", LOSS, Bound::AtMost(MOST_LOSS)),
            alone("latency, p99 in µs", "voice.latency_us.p99", Bound::AtMost(5_000.0)),
        ],
    },
    Workload {
        name: "connects",
        arguments: "--clients 0 --churn 500 --concurrency 1",
        peers: &[],
        goals: &[alone("connects a second", "churn.logins_per_s", Bound::AtLeast(1_000.0))],
    },
    Workload {
        name: "restart",
        // Killed in mid-talk, and away for longer than a client's longest wait.
        arguments: "--clients 500 --per-channel 50 --talkers 2 --restart --down-seconds 3",
        peers: &[],
        goals: &[
            alone("ms from up to the last who hears", "restart.heard_ms.max", Bound::AtMost(2_000.0)),
            alone("tries that fail", "restart.failed_after", Bound::AtMost(0.0)),
        ],
    },
];

fn main() -> ExitCode {
    let options = Options::parse();
    let has_peer = options.peer.is_file();
    if !has_peer {
        eprintln!(
            "bench-voice: there is no {}: Mumble is left out. Name its script by MUMBLE_PEER or --peer.",
            options.peer.display()
        );
    }
    let (mut figures, mut all_hold) = (Vec::new(), has_peer);
    for workload in WORKLOADS {
        if !options.only.is_empty() && !options.only.iter().any(|name| name == workload.name) {
            continue;
        }
        let mut results: BTreeMap<Who, Vec<Value>> = BTreeMap::new();
        for round in 0..options.rounds {
            for who in std::iter::once(&Who::Ours).chain(workload.peers) {
                if *who == Who::Mumble && !has_peer {
                    continue;
                }
                eprintln!("{}, round {}: {who:?}", workload.name, round + 1);
                match measure(&options, *who, workload) {
                    Ok(result) => results.entry(*who).or_default().push(result),
                    Err(reason) => {
                        // The other rounds are told all the same.
                        all_hold = false;
                        eprintln!("bench-voice: {reason}");
                    }
                }
            }
        }
        for goal in workload.goals {
            let figure = judge(workload, goal, &results);
            all_hold &= figure["holds"] == true;
            figures.push(figure);
        }
    }
    println!("{}", json!({ "figures": figures, "all_hold": all_hold }));
    ExitCode::from(u8::from(!all_hold))
}

/// Runs a load once, and returns what it printed.
fn measure(options: &Options, who: Who, workload: &Workload) -> Result<Value, String> {
    let arguments = workload.arguments;
    let mut command = if who == Who::Mumble {
        let mut command = Command::new("bash");
        // Nobody has a better place in the queue than the other. It builds its own programs, where it looks for them.
        command.arg(&options.peer).env("PEER_NICE", "0").env_remove("CARGO_TARGET_DIR");
        command
    } else {
        Command::new(beside("voip-load")?)
    };
    command.args(arguments.split_whitespace());
    if !arguments.contains("--churn") {
        command.args(["--seconds", &options.seconds.to_string()]);
    }
    if who == Who::Bare {
        command.arg("--bare");
    }
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| format!("{command:?} does not start: {error}"))?;
    let result: Value = serde_json::from_slice(&output.stdout).map_err(|_| {
        format!("{command:?} ended with {}:\n{}", output.status, String::from_utf8_lossy(&output.stderr))
    })?;
    // Whoever loses or misroutes has it easy. Where the loss itself is held to a goal, it is judged there.
    let voice = &result["voice"];
    let judged = workload.goals.iter().any(|goal| goal.figure == LOSS);
    if !judged && voice["loss_pct"].as_f64().is_some_and(|loss| loss > MOST_LOSS)
        || voice["misrouted"].as_u64().is_some_and(|packets| packets > 0)
    {
        return Err(format!(
            "{who:?} lost {} % and misrouted {}: the run does not count",
            voice["loss_pct"], voice["misrouted"]
        ));
    }
    Ok(result)
}

/// A program of the workspace that lies beside this one.
fn beside(name: &str) -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    Ok(own.parent().unwrap_or(Path::new(".")).join(name))
}

/// Holds the rounds of one figure against its goal, and tells people.
fn judge(workload: &Workload, goal: &Goal, results: &BTreeMap<Who, Vec<Value>>) -> Value {
    let values = |who| -> Vec<f64> {
        let pointer = format!("/{}", goal.figure.replace('.', "/"));
        let runs = results.get(&who).map(Vec::as_slice).unwrap_or_default();
        let mut values: Vec<f64> = runs.iter().filter_map(|run| run.pointer(&pointer)?.as_f64()).collect();
        values.sort_unstable_by(f64::total_cmp);
        values
    };
    let median = |values: &[f64]| values.get(values.len() / 2).copied();
    let spread = |values: &[f64]| values.first().zip(values.last()).map(|(least, most)| [*least, *most]);
    let ours = values(Who::Ours);
    let theirs = goal.of.map(values);
    let value = match &theirs {
        None => median(&ours),
        Some(theirs) => median(&ours).zip(median(theirs)).map(|(ours, theirs)| ours / theirs),
    };
    let holds = value.is_some_and(|value| goal.bound.holds(value));
    let shown = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.3}"));
    let of = goal.of.map_or_else(String::new, |who| format!(" of {who:?}'s"));
    println!(
        "{:<20}  {:<40} {:>12}   {}{}",
        workload.name,
        format!("{}{of}", goal.what),
        shown(value),
        goal.bound,
        if holds { "" } else { "  MISSED" },
    );
    println!(
        "{:<20}  ours {} {:?}; theirs {} {:?}",
        "",
        shown(median(&ours)),
        spread(&ours).unwrap_or_default(),
        shown(theirs.as_deref().and_then(median)),
        theirs.as_deref().and_then(spread).unwrap_or_default(),
    );
    json!({
        "workload": workload.name,
        "what": goal.what,
        "of": goal.of.map(|who| format!("{who:?}").to_lowercase()),
        "value": value,
        "goal": goal.bound.to_string(),
        "ours": ours,
        "theirs": theirs,
        "holds": holds,
    })
}
