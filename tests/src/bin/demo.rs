//! `make demo`: two people talk, the whole way.
//!
//! Hosts a server on an embedded database, brings in two `voip-cli` clients as processes of their own: one sends
//! recorded speech, the other records what it hears. Prints one JSON object; the exit code says whether it held.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, ExitCode, Stdio},
};

use serde_json::{Value, json};
use voip_tests::{
    likeness::{RATE, compare},
    process::{Server, program},
    speech,
};

/// What was heard must be at least this like what was said.
const LIKENESS_BOUND: f32 = 0.8;
const METHOD: &str = "delay: maximum of the FFT cross-correlation of the two recordings on the system's clock; \
    likeness: mean over windows of 100 ms with speech, weighted by energy, of the highest correlation coefficient \
    within 40 ms of that delay (1 the same sound, other speech below 0.4)";

fn main() -> ExitCode {
    let folder = tempfile::tempdir().expect("the system has a folder for temporary files");
    let path = |name: &str| folder.path().join(name);
    let said = speech::speech();
    speech::write(&path("said.wav"), &said);
    let server = Server::start(&path("server"), 0, 0);
    let invite = server.invite.to_string();
    eprintln!("Server: {invite}");

    let seconds = said.len() as f64 / RATE as f64 + 3.0;
    let talk = |user: &str, more: &[&str]| {
        let mut child = Command::new(program("voip-cli"))
            .args([
                "talk",
                "--server",
                &invite,
                "--user",
                user,
                "--register",
                "--channel",
                "General",
                "--json",
            ])
            .args(more)
            .env("VOIP_PASSWORD", "a password for the demo")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("voip-cli starts");
        until_in_channel(&mut child);
        child
    };
    let heard_file = path("heard.wav").display().to_string();
    let listener =
        talk("listener", &["--listen", "--output", &heard_file, "--seconds", &seconds.to_string()]);
    let said_file = path("said.wav").display().to_string();
    let no_speaker = path("unused.wav").display().to_string();
    let talker = talk("talker", &["--input", &said_file, "--output", &no_speaker]);
    eprintln!("Talking for {seconds:.0} seconds …");
    let (sent, heard) = (report(talker), report(listener));

    let recording = speech::read(&path("heard.wav"));
    let found = compare(&said, &recording);
    let started =
        |report: &Value, key: &str| report[key].as_f64().expect("voip-cli tells when its files started");
    let offset = started(&heard, "output_started_at") - started(&sent, "input_started_at");
    let delay_ms = (found.delay as f64 / RATE as f64 + offset) * 1_000.0;
    let count = |report: &Value, key: &str| report[key].as_u64().expect("voip-cli counts frames");
    let lost = count(&heard, "frames_lost");
    let held = found.likeness >= LIKENESS_BOUND && lost == 0 && delay_ms > 0.0;
    let result = json!({
        "frames_sent": count(&sent, "frames_sent"),
        "frames_received": count(&heard, "frames_received"),
        "frames_lost": lost,
        "frames_late": count(&heard, "frames_late"),
        "frames_concealed": count(&heard, "frames_concealed"),
        "delay_ms": (delay_ms * 10.0).round() / 10.0,
        "mouth_to_ear_estimate_ms": heard["mouth_to_ear_ms"],
        "rtt_ms": heard["rtt_ms"],
        "likeness": found.likeness,
        "likeness_bound": LIKENESS_BOUND,
        "method": METHOD,
        "held": held,
    });
    println!("{result}");
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Waits until a client says that it is in its channel, and passes on what it says after that.
fn until_in_channel(child: &mut Child) {
    let mut lines = BufReader::new(child.stderr.take().expect("its errors are a pipe")).lines();
    for line in lines.by_ref().map_while(Result::ok) {
        if line.starts_with("voip-cli: in ") {
            break;
        }
        eprintln!("{line}");
    }
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
}

/// Waits for a client's end, and reads its statistics.
fn report(child: Child) -> Value {
    let output = child.wait_with_output().expect("it was a child of this process");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("voip-cli said {text:?} ({error}), {}", output.status))
}
