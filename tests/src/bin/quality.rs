//! `make quality`: how good speech sounds, and how late, over networks that lose and delay; what has a goal stands
//! beside it. Everything happens in virtual time. The last line is one JSON object; the exit code is 0 when all hold.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread,
};

use clap::Parser;
use serde::Serialize;
use voip_client::{NoiseSuppression, Processing, VoiceSettings};
use voip_tests::quality::{
    Activity, Call, Heard, Judge, Network, Noise, Verdict, echo_of, gated, level, processed, with_pauses,
};

/// How good speech sounds over bad networks, beside what was promised.
#[derive(Parser)]
struct Options {
    /// The Python with the packages of tests/quality/requirements.txt.
    #[arg(long, env = "QUALITY_PYTHON")]
    python: PathBuf,
    /// How often each lossy network is met, each time with other losses.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Opus bit rate, in bits a second; the goals are for the default.
    #[arg(long, default_value_t = 40_000)]
    bitrate: u32,
    /// Only networks with this in their names, and the one without loss; "room": noise and echo.
    #[arg(long, default_value = "")]
    only: String,
    /// Keeps what was said and heard in this folder, as 48 kHz WAV files.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

/// Shares that are lost, and by how much PESQ may fall; the first is the one it falls from.
const LOSSES: [(f64, f64); 5] = [(0.0, 0.0), (0.05, 0.3), (0.1, 0.3), (0.2, 0.6), (0.3, 1.0)];
/// Lost in a row, on average, where losses come in bursts.
const BURST: f64 = 2.0;
const NO_LOSS: &str = "0 % lost";
/// Name of what happens before anything is sent.
const ROOM: &str = "room";
/// Name of what voice activation lets through.
const GATE: &str = "gate";
/// PESQ without loss.
const CLEAN: f64 = 4.3;
/// Of payload, in bits for a second of sound, all told.
const PAYLOAD: f64 = 40_000.0;
/// What repair may add to the delay, in ms.
const ADDED: f64 = 40.0;
/// How far noise is below speech, in dB, by how much suppression has to raise speech over it; how much less there has to
/// be of an echo, and how well speech beside one is to be understood.
const NOISE: f64 = 10.0;
const RAISED: f64 = 10.0;
const ERLE: f64 = 25.0;
const DOUBLE_TALK: f64 = 0.85;
/// Of what voice activation may cut of speech, and let through of noise, in percent.
const CUT: f64 = 0.2;
const LET_THROUGH: f64 = 1.0;
/// Sound in which what cancels echoes adapts: five seconds.
const ADAPTED: usize = 240_000;
const TRACES: [(&str, Network); 4] = [
    ("LAN", Network::LAN),
    ("Wi-Fi", Network::WIFI),
    ("LTE", Network::LTE),
    ("congested", Network::CONGESTED),
];

/// Calls over one network, and what became of them.
struct Point {
    name: String,
    network: Network,
    calls: Vec<Measured>,
}

struct Measured {
    verdict: Verdict,
    buffer_ms: f64,
    payload: f64,
    packets: f64,
    lost: f64,
    concealed: f64,
}

/// A figure beside its goal.
#[derive(Serialize)]
struct Figure {
    #[serde(rename = "figure")]
    what: String,
    value: f64,
    goal: String,
    holds: bool,
}

impl Figure {
    fn at_least(what: &str, value: f64, goal: f64) -> Self {
        Self { what: what.into(), value, goal: format!("at least {goal}"), holds: value >= goal }
    }

    fn at_most(what: &str, value: f64, goal: f64) -> Self {
        Self { what: what.into(), value, goal: format!("at most {goal}"), holds: value <= goal }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("quality: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> std::io::Result<bool> {
    let folder = tempfile::tempdir()?;
    let said = Judge::speech(&options.python, folder.path())?;
    if let Some(keep) = &options.keep {
        std::fs::create_dir_all(keep)?;
        voip_tests::speech::write(&keep.join("said.wav"), &said);
    }
    let mut points = points(&options.only);
    let (rooms_too, gates_too) = (ROOM.contains(&options.only), GATE.contains(&options.only));
    if points.iter().all(|point| point.name == NO_LOSS)
        && !NO_LOSS.contains(&options.only)
        && !rooms_too
        && !gates_too
    {
        return Err(std::io::Error::other(format!("no network has {:?} in its name", options.only)));
    }
    measure(options, &said, folder.path(), &mut points)?;
    let mut figures = figures(&points);
    if rooms_too {
        figures.extend(rooms(options, &said, folder.path())?);
    }
    if gates_too {
        figures.extend(gates(&said));
    }
    print_table(&points);
    println!();
    for figure in &figures {
        let verdict = if figure.holds { "" } else { "  MISSED" };
        println!("{:<60} {:>8.3}   {}{verdict}", figure.what, figure.value, figure.goal);
    }
    let holds = figures.iter().all(|figure| figure.holds);
    println!("{}", serde_json::json!({ "figures": figures, "holds": holds }));
    Ok(holds)
}

fn points(only: &str) -> Vec<Point> {
    let losses = LOSSES.iter().flat_map(|(share, _)| {
        let percent = share * 100.0;
        let random = (format!("{percent:.0} % lost"), Network::losing(*share));
        let burst = (format!("{percent:.0} % lost in bursts"), Network::losing_bursts(*share, BURST));
        if *share > 0.0 { vec![random, burst] } else { vec![random] }
    });
    let traces = TRACES.iter().map(|(name, network)| ((*name).to_owned(), *network));
    losses
        .chain(traces)
        .filter(|(name, _)| name == NO_LOSS || name.contains(only))
        .map(|(name, network)| Point { name, network, calls: Vec::new() })
        .collect()
}

/// Makes all the calls, as many at a time as there are cores.
fn measure(options: &Options, said: &[f32], folder: &Path, points: &mut [Point]) -> std::io::Result<()> {
    let jobs: VecDeque<(usize, u64)> = (points.iter().enumerate())
        .flat_map(|(at, point)| {
            (1..=if is_certain(&point.network) { 1 } else { options.seeds }).map(move |seed| (at, seed))
        })
        .collect();
    let (jobs, networks) = (
        Mutex::new(jobs),
        points.iter().map(|point| (point.name.clone(), point.network)).collect::<Vec<_>>(),
    );
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = |number: usize| -> std::io::Result<Vec<(usize, Measured)>> {
        let mut judge = Judge::start(&options.python, folder, number)?;
        let mut measured = Vec::new();
        while let Some((at, seed)) = next() {
            let (name, network) = &networks[at];
            let mut call = Call::over(*network, seed);
            call.settings.bitrate = options.bitrate;
            let heard = call.hear(said);
            if let Some(keep) = &options.keep {
                voip_tests::speech::write(&keep.join(format!("{name}, {seed}.wav")), &heard.samples);
            }
            let verdict = judge.judge(&heard.samples)?;
            eprintln!("{name}, {seed}: PESQ {:.3}, STOI {:.4}", verdict.pesq, verdict.stoi);
            measured.push((at, Measured::new(verdict, &heard)));
        }
        Ok(measured)
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let measured: std::io::Result<Vec<_>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|number| scope.spawn(move || work(number))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    for (at, call) in measured?.into_iter().flatten() {
        points[at].calls.push(call);
    }
    Ok(())
}

/// What comes of noise and echo before anything is sent.
fn rooms(options: &Options, said: &[f32], folder: &Path) -> std::io::Result<Vec<Figure>> {
    let mut judge = Judge::start(&options.python, folder, usize::MAX)?;
    let (activity, silence) = (Activity::of(said), vec![0.0; said.len()]);
    let keep = |name: &str, sound: &[f32]| {
        if let Some(folder) = &options.keep {
            voip_tests::speech::write(&folder.join(format!("{name}.wav")), sound);
        }
    };
    let mut figures = Vec::new();
    for noise in Noise::ALL {
        let noisy = add(said, &noise.beside(said, NOISE, 1));
        let before = judge.judge(&noisy)?;
        for (name, noise_suppression) in
            [("light", NoiseSuppression::Light), ("strong", NoiseSuppression::Strong)]
        {
            let settings = Processing { noise_suppression, ..Processing::OFF };
            let out = processed(&settings, &noisy, &silence);
            keep(&format!("{noise:?}, {name}"), &out);
            let after = judge.judge(&out)?;
            let raised = activity.above_noise(&out) - activity.above_noise(&noisy);
            eprintln!(
                "{noise:?}, {name}: {raised:.1} dB, STOI {:.4} to {:.4}, PESQ {:.2} to {:.2}",
                before.stoi, after.stoi, before.pesq, after.pesq
            );
            // Light suppression lowers nothing by more than 12 dB.
            if name == "strong" {
                figures.push(Figure::at_least(
                    &format!("dB by which {name} suppression raises speech over {noise:?}"),
                    raised,
                    RAISED,
                ));
            }
            figures.push(Figure::at_most(
                &format!("STOI that {name} suppression costs in {noise:?}"),
                before.stoi - after.stoi,
                0.0,
            ));
        }
    }
    // The others say the same, half of it later.
    let mut played = said.to_vec();
    played.rotate_left(said.len() / 2);
    let echo = echo_of(&played, 1);
    for (name, noise_suppression) in
        [("alone", NoiseSuppression::Off), ("with light suppression", NoiseSuppression::Light)]
    {
        let settings = Processing { echo_cancellation: true, noise_suppression, ..Processing::OFF };
        let alone = processed(&settings, &echo, &played);
        let erle = level(&echo[ADAPTED..]) - level(&alone[ADAPTED..]);
        let both = processed(&settings, &add(said, &echo), &played);
        keep(&format!("echo, {name}"), &both);
        let talk = judge.judge(&both)?;
        eprintln!(
            "echo, {name}: ERLE {erle:.1} dB, STOI in double talk {:.4}, PESQ {:.2}",
            talk.stoi, talk.pesq
        );
        figures.push(Figure::at_least(
            &format!("dB by which echo cancellation {name} lowers an echo"),
            erle,
            ERLE,
        ));
        figures.push(Figure::at_least(
            &format!("STOI in double talk, echo cancellation {name}"),
            talk.stoi,
            DOUBLE_TALK,
        ));
    }
    Ok(figures)
}

/// What voice activation lets through, and what it cuts.
fn gates(said: &[f32]) -> Vec<Figure> {
    let mut figures = Vec::new();
    let said = with_pauses(said);
    let activity = Activity::of(&said);
    for noise in [None, Some(Noise::Fan), Some(Noise::Keyboard)] {
        let beside = noise.map(|noise| noise.beside(&said, NOISE, 1));
        let captured = beside.map_or_else(|| said.clone(), |noise| add(&said, &noise));
        for (name, processing) in [("as captured", Processing::OFF), ("processed", Processing::default())] {
            let gated =
                gated(&VoiceSettings { processing, ..VoiceSettings::default() }, &captured, &activity);
            let what = noise.map_or_else(|| "silence".into(), |noise| format!("{noise:?}"));
            eprintln!("voice activation, {what}, {name}: {gated:?}");
            let cut = format!("% of speech that voice activation cuts in {what}, {name}");
            figures.push(Figure::at_most(&cut, gated.cut * 100.0, CUT));
            let through = format!("% of {what} that voice activation lets through, {name}");
            figures.push(Figure::at_most(&through, gated.let_through * 100.0, LET_THROUGH));
        }
    }
    figures
}

fn add(one: &[f32], other: &[f32]) -> Vec<f32> {
    one.iter().zip(other).map(|(a, b)| a + b).collect()
}

/// Whether every seed gives the same.
fn is_certain(network: &Network) -> bool {
    *network == Network::PERFECT
}

impl Measured {
    fn new(verdict: Verdict, heard: &Heard) -> Self {
        let talker = &heard.talker;
        let frames = (talker.received + talker.lost).max(1) as f64;
        Self {
            verdict,
            buffer_ms: heard.buffer_ms,
            payload: heard.payload,
            packets: heard.packets,
            lost: talker.lost as f64 / frames,
            concealed: talker.concealed as f64 / frames,
        }
    }
}

impl Point {
    fn mean(&self, of: impl Fn(&Measured) -> f64) -> f64 {
        self.calls.iter().map(of).sum::<f64>() / self.calls.len().max(1) as f64
    }

    fn pesq(&self) -> f64 {
        self.mean(|call| call.verdict.pesq)
    }
}

fn figures(points: &[Point]) -> Vec<Figure> {
    let named = |name: String| points.iter().find(|point| point.name == name);
    let mut figures = Vec::new();
    let clean = named(NO_LOSS.into());
    if let Some(clean) = clean {
        let value = clean.pesq();
        figures.push(Figure::at_least("PESQ-WB without loss", value, CLEAN));
        let value = points.iter().map(|point| point.mean(|call| call.payload)).fold(0.0, f64::max) / 1e3;
        figures.push(Figure::at_most("kbit/s of payload, the most of all networks", value, PAYLOAD / 1e3));
    }
    let lossy = |point: &&Point| point.name.contains("lost") && point.name != NO_LOSS;
    let delay = |point: &Point| point.mean(|call| call.verdict.delay_ms);
    let latest = points.iter().filter(lossy).map(delay).reduce(f64::max);
    if let (Some(latest), Some(clean)) = (latest, clean) {
        let value = latest - delay(clean);
        figures.push(Figure::at_most("ms that repair adds, the most", value, ADDED));
    }
    for (share, most) in &LOSSES[1..] {
        for kind in ["", " in bursts"] {
            let name = format!("{:.0} % lost{kind}", share * 100.0);
            let (Some(point), Some(clean)) = (named(name.clone()), clean) else { continue };
            let value = clean.pesq() - point.pesq();
            figures.push(Figure::at_most(&format!("PESQ-WB falls with {name} by"), value, *most));
        }
    }
    figures
}

fn print_table(points: &[Point]) {
    println!(
        "{:<22} {:>6} {:>18} {:>7} {:>9} {:>9} {:>7} {:>9} {:>7} {:>9}",
        "network",
        "PESQ",
        "[least, most]",
        "STOI",
        "delay ms",
        "buffer ms",
        "lost %",
        "conceal %",
        "kbit/s",
        "packets/s"
    );
    for point in points {
        let pesq = point.calls.iter().map(|call| call.verdict.pesq);
        let (least, most) = (pesq.clone().fold(f64::MAX, f64::min), pesq.fold(0.0, f64::max));
        println!(
            "{:<22} {:>6.3} {:>18} {:>7.4} {:>9.1} {:>9.1} {:>7.2} {:>9.2} {:>7.1} {:>9.1}",
            point.name,
            point.pesq(),
            format!("[{least:.3}, {most:.3}]"),
            point.mean(|call| call.verdict.stoi),
            point.mean(|call| call.verdict.delay_ms),
            point.mean(|call| call.buffer_ms),
            point.mean(|call| call.lost) * 100.0,
            point.mean(|call| call.concealed) * 100.0,
            point.mean(|call| call.payload) / 1e3,
            point.mean(|call| call.packets),
        );
    }
}
