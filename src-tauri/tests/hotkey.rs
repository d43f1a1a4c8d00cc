//! The push-to-talk key on a real X server, pressed as a person presses it. Needs Xvfb and xdotool.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    time::{Duration, Instant},
};

use voip_app::{
    api::{AppErrorCode, Hotkey, HotkeyCapture, HotkeyInput, HotkeyState},
    hotkey::{Hotkeys, Source},
};

/// Longer than any event takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

struct Bench {
    server: Child,
    display: String,
    hotkeys: Hotkeys,
    told: Receiver<HotkeyState>,
}

impl Bench {
    fn new() -> Self {
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "320x240x24", "-nolisten", "tcp"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb is installed");
        let mut number = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut number).unwrap();
        let display = format!(":{}", number.trim());
        let (tell, told) = sync_channel(64);
        let hotkeys = Hotkeys::start(
            |listener| Source::open(Some(&display), listener),
            // Whoever no longer listens has seen enough.
            move |state| drop(tell.send(state)),
        );
        Self { server, display, hotkeys, told }
    }

    fn bound_to(input: HotkeyInput) -> Self {
        let bench = Self::new();
        bench.hotkeys.bind(Some(&Hotkey { input, label: String::new() }));
        assert!(!bench.next());
        bench
    }

    fn xdotool(&self, arguments: &str) {
        let status =
            Command::new("xdotool").args(arguments.split(' ')).env("DISPLAY", &self.display).status();
        assert!(status.expect("xdotool is installed").success());
    }

    /// Whether the key is held, at the next change.
    fn next(&self) -> bool {
        self.told.recv_timeout(PATIENCE).expect("a change of the key").pressed
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

const F8: HotkeyInput = HotkeyInput::Key(74);

#[test]
fn press_and_release_are_heard_without_focus_and_with_modifiers() {
    let bench = Bench::bound_to(F8);
    bench.xdotool("keydown F8");
    assert!(bench.next());
    assert!(bench.hotkeys.state().pressed);
    bench.xdotool("keyup F8");
    assert!(!bench.next());
    bench.xdotool("keydown shift keydown F8");
    assert!(bench.next());
    bench.xdotool("keyup F8 keyup shift");
    assert!(!bench.next());
    // Another key was pressed before: had it counted, it would come first.
    bench.xdotool("key F9");
    bench.xdotool("keydown F8");
    assert!(bench.next());
}

#[test]
fn a_held_key_counts_once_though_it_repeats() {
    let bench = Bench::bound_to(F8);
    bench.xdotool("keydown F8");
    assert!(bench.next());
    // X repeats after 660 ms, 25 times a second.
    let repeats = bench.told.recv_timeout(Duration::from_millis(1200));
    assert!(repeats.is_err(), "{repeats:?}");
    bench.xdotool("keyup F8");
    assert!(!bench.next());
}

#[test]
fn mouse_buttons_work_too() {
    let bench = Bench::bound_to(HotkeyInput::Button(9));
    bench.xdotool("mousedown 9");
    assert!(bench.next());
    bench.xdotool("mouseup 9");
    assert!(!bench.next());
}

#[tokio::test]
async fn the_next_key_is_captured_with_its_name() {
    let bench = Bench::new();
    for (press, input, label) in [
        ("click 1 key F8", F8, "F8"),
        ("key v", HotkeyInput::Key(55), "V"),
        ("key Pause", HotkeyInput::Key(127), "Pause"),
        ("click 8", HotkeyInput::Button(8), "Mouse 4"),
    ] {
        let captured = captured_while(&bench, press).await.unwrap();
        assert_eq!((captured.input, captured.label.as_str()), (input, label));
    }
    assert_eq!(captured_while(&bench, "key Escape").await, None);
}

#[tokio::test]
async fn waiting_is_called_off_by_the_window_and_by_the_next_one_who_waits() {
    let bench = Bench::new();
    let (first, second, ()) = tokio::join!(biased; bench.hotkeys.capture(), bench.hotkeys.capture(), async {
        bench.hotkeys.call_off();
    });
    assert_eq!((first, second), (None, None));
}

#[test]
fn a_lost_x_server_lets_the_key_go_and_is_told() {
    let mut bench = Bench::bound_to(F8);
    bench.xdotool("keydown F8");
    assert!(bench.next());
    bench.server.kill().unwrap();
    assert!(!bench.next());
    let deadline = Instant::now() + PATIENCE;
    while bench.hotkeys.state().problem.is_none() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(bench.hotkeys.state().problem.unwrap().code, AppErrorCode::HotkeyLimited);
}

#[test]
fn without_an_x_server_there_is_a_problem_and_no_panic() {
    let hotkeys = Hotkeys::start(|listener| Source::open(Some(":9999"), listener), |_| {});
    assert_eq!(hotkeys.state().problem.unwrap().code, AppErrorCode::HotkeyLimited);
    assert_eq!(hotkeys.state().capture, HotkeyCapture::Window);
    hotkeys.bind(Some(&Hotkey { input: F8, label: "F8".into() }));
    assert!(!hotkeys.state().pressed);
}

async fn captured_while(bench: &Bench, press: &str) -> Option<Hotkey> {
    // The capture begins before the first await of the other, as both are polled in turn.
    let (captured, ()) = tokio::join!(biased; bench.hotkeys.capture(), async { bench.xdotool(press) });
    captured
}
