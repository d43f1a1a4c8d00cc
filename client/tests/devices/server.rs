//! A sound server of the test's own: virtual sound cards, no hardware, no way to the outside.

use std::{
    io::Write,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Where the virtual microphone hears from: what is played there is in the air.
const AIR: &str = "mic_in";

/// A running `PulseAudio`; ends with this.
pub(crate) struct Pulse {
    server: Child,
    folder: tempfile::TempDir,
}

impl Pulse {
    /// With a speaker and a microphone that run at `rate`.
    pub(crate) fn start(rate: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("start.pa");
        let socket = folder.path().join("socket");
        let lines = format!(
            "load-module module-native-protocol-unix socket={} auth-anonymous=1\n\
             load-module module-null-sink sink_name=speaker rate={rate}\n\
             load-module module-null-sink sink_name={AIR} rate={rate}\n\
             load-module module-remap-source source_name=microphone master={AIR}.monitor \
             source_properties=device.description=microphone\n\
             set-default-sink speaker\nset-default-source microphone\n",
            socket.display()
        );
        std::fs::write(&script, lines).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let server = Command::new("pulseaudio")
            .args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "-F"])
            .arg(&script)
            .env("HOME", folder.path())
            .env("XDG_RUNTIME_DIR", folder.path())
            .env_remove("PULSE_SERVER")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("these tests need pulseaudio and pulseaudio-utils: `make setup` installs them");
        let pulse = Self { server, folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !pulse.is_ready() {
            assert!(Instant::now() < deadline, "PulseAudio does not start:\n{}", pulse.log());
        }
        pulse
    }

    /// What a client has to have in its environment.
    pub(crate) fn environment(&self) -> [(&'static str, PathBuf); 2] {
        let address = format!("unix:{}", self.folder.path().join("socket").display());
        [("PULSE_SERVER", address.into()), ("HOME", self.folder.path().into())]
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn is_ready(&self) -> bool {
        let info = Command::new("pactl").arg("info").envs(self.environment()).output().unwrap();
        String::from_utf8_lossy(&info.stdout).contains("Default Source: microphone")
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Plays 48 kHz mono into the air, with the system's own player.
pub(crate) fn play_into_microphone(samples: &[f32]) -> Child {
    let mut player = Command::new("pacat")
        .args(["--playback", "--device", AIR, "--rate", "48000", "--channels", "1"])
        .args(["--format", "float32le", "--latency-msec", "50"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let mut input = player.stdin.take().unwrap();
    // The pipe takes a part at a time, at the pace of the sound.
    std::thread::spawn(move || input.write_all(&bytes));
    player
}

/// Takes the microphone away.
pub(crate) fn unplug_microphone() {
    unload("source_name=microphone");
}

/// Takes the speaker away.
pub(crate) fn unplug_speaker() {
    unload("sink_name=speaker");
}

/// A microphone that has been put back.
pub(crate) struct Microphone;

impl Microphone {
    pub(crate) fn plug_in() -> Self {
        let master = format!("master={AIR}.monitor");
        pactl(&["load-module", "module-remap-source", "source_name=microphone", &master]);
        pactl(&["set-default-source", "microphone"]);
        Self
    }
}

/// Unloads the module that was loaded with this argument.
fn unload(argument: &str) {
    let modules = pactl(&["list", "short", "modules"]);
    let line = modules.lines().find(|line| line.contains(argument)).unwrap();
    pactl(&["unload-module", line.split_whitespace().next().unwrap()]);
}

fn pactl(arguments: &[&str]) -> String {
    let output = Command::new("pactl").args(arguments).output().unwrap();
    assert!(output.status.success(), "pactl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
