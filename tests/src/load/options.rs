//! What a run is asked to do.

use std::path::PathBuf;

use voip_protocol::{
    limits::MAX_OPUS_FRAME,
    voice::{FrameDuration, HEADER_LEN, SEAL_LEN, TAG_LEN},
};

use super::{LoadError, bare::Design, flood::Kind, layout::Layout, packet::MARK_LEN};

/// More than this is no bench of one machine.
const MOST_CLIENTS: usize = 50_000;
/// Each is a task, and has an account.
const MOST_STORM: usize = 1_000;

/// Measures a voice server: talkers and listeners on loopback, many of them, against the server as a process of its
/// own. A table goes to standard error, one JSON object to standard output.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "voip-load", args_conflicts_with_subcommands = true)]
pub struct Options {
    /// Clients that are connected.
    #[arg(long, default_value_t = 50)]
    pub clients: usize,
    /// Clients in each channel.
    #[arg(long, default_value_t = 50)]
    pub per_channel: usize,
    /// Talkers in each channel; where the search for the most begins.
    #[arg(long, default_value_t = 1)]
    pub talkers: usize,
    /// What is measured, in seconds.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Bytes of a frame before it is sealed.
    #[arg(long, default_value_t = 80)]
    pub payload: usize,
    /// A talker's time from frame to frame: 2.5, 5, 10, 20, 40 or 60.
    #[arg(long, default_value_t = 20.0)]
    pub frame_ms: f64,
    /// All talkers send at the same moment, instead of spread over the frame's time.
    #[arg(long)]
    pub burst: bool,
    /// Talking before what is measured, in seconds.
    #[arg(long, default_value_t = 1.0)]
    pub warmup_seconds: f64,
    /// Silence that is measured first, in seconds.
    #[arg(long, default_value_t = 3.0)]
    pub idle_seconds: f64,
    /// Each client's time from ping to ping on UDP; 0: none.
    #[arg(long, default_value_t = 5.0)]
    pub ping_seconds: f64,
    /// The receiver's nap between two looks at its socket, in microseconds.
    #[arg(long, default_value_t = 1_000)]
    pub nap_us: u64,
    /// Seeks the most talkers in each channel that the server holds.
    #[arg(long)]
    pub find_max: bool,
    /// More are not tried; 0: all of a channel.
    #[arg(long, default_value_t = 0)]
    pub max_talkers: usize,
    /// Loss that is still held, in percent.
    #[arg(long, default_value_t = 1.0)]
    pub max_loss: f64,
    /// 99th percentile of latency that is still held, in ms.
    #[arg(long, default_value_t = 20.0)]
    pub max_p99_ms: f64,
    /// Connects and disconnects so many clients instead of talking.
    #[arg(long, default_value_t = 0)]
    pub churn: usize,
    /// Of these so many at a time.
    #[arg(long, default_value_t = 1)]
    pub concurrency: usize,
    /// Kills the server while clients talk and starts it again: how long until everybody hears again.
    #[arg(long)]
    pub restart: bool,
    /// For how long it is away then, in seconds, its start aside.
    #[arg(long, default_value_t = 1.0)]
    pub down_seconds: f64,
    /// So many other clients connect and go meanwhile, again and again, each as soon as it can; also while silence is
    /// measured.
    #[arg(long, default_value_t = 0)]
    pub storm: usize,
    /// Sends packets that the server must reject meanwhile, as many as one thread can.
    #[arg(long)]
    pub flood: Option<Kind>,
    /// Measures the least that a forwarder can do instead of the server: nothing but sockets.
    #[arg(long, value_name = "DESIGN", num_args = 0..=1, require_equals = true, default_missing_value = "one-by-one")]
    pub bare: Option<Design>,
    /// The server's program; without it, the one beside this.
    #[arg(long)]
    pub server: Option<PathBuf>,
    /// Setting of the server, as `VOIP_LOG__LEVEL=info`; may be given several times.
    #[arg(long, value_name = "NAME=VALUE")]
    pub server_env: Vec<String>,
    /// Writes the JSON to this file as well.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Copied into the JSON.
    #[arg(long, default_value = "")]
    pub label: String,
    /// What this program does as a child of itself.
    #[command(subcommand)]
    pub role: Option<Role>,
}

/// The longest time without the server, in s: clients give up some time after it.
const MOST_DOWN: f64 = 30.0;
/// The longest run, in s.
const MOST_SECONDS: f64 = 7_200.0;

/// What the program does instead of measuring.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Role {
    /// Forwards without looking after anything: what `--bare` measures.
    #[command(hide = true)]
    BareLoop {
        /// How it reaches the system.
        #[arg(long)]
        design: Design,
        /// Clients in all.
        #[arg(long)]
        clients: usize,
        /// Clients in each channel.
        #[arg(long)]
        per_channel: usize,
        /// Their UDP port.
        #[arg(long)]
        port: u16,
    },
}

impl Options {
    /// What cannot be done is said before anything begins.
    pub fn check(&self) -> Result<(), LoadError> {
        let refuse = |why: String| Err(LoadError::Option(why));
        if self.clients > MOST_CLIENTS || self.churn > MOST_CLIENTS {
            return refuse(format!("--clients and --churn go up to {MOST_CLIENTS}"));
        }
        if self.clients == 0 && self.churn == 0 || self.per_channel == 0 || self.concurrency == 0 {
            return refuse("--clients, --per-channel and --concurrency must be at least 1".into());
        }
        if self.bare.is_some() && self.churn > 0 {
            return refuse("--bare has no logins: leave out --churn".into());
        }
        if self.storm > MOST_STORM {
            return refuse(format!("--storm goes up to {MOST_STORM}"));
        }
        if self.storm > 0 && (self.bare.is_some() || self.churn > 0 || self.restart || self.find_max) {
            return refuse("--storm goes without --bare, --churn, --restart and --find-max".into());
        }
        if self.restart && (self.bare.is_some() || self.churn > 0 || self.find_max || self.flood.is_some()) {
            return refuse("--restart goes without --bare, --churn, --find-max and --flood".into());
        }
        if self.restart && self.down_seconds.max(self.warmup_seconds) > MOST_DOWN {
            return refuse(format!(
                "with --restart, --down-seconds and --warmup-seconds go up to {MOST_DOWN}"
            ));
        }
        if self.restart && (self.clients < 2 || self.layout().per_channel < 2 || self.talkers == 0) {
            return refuse("--restart needs somebody to talk to: two in a channel".into());
        }
        if !(MARK_LEN..=MAX_OPUS_FRAME).contains(&self.payload) {
            return refuse(format!("--payload goes from {MARK_LEN} to {MAX_OPUS_FRAME}"));
        }
        let times =
            [self.seconds, self.warmup_seconds, self.idle_seconds, self.ping_seconds, self.down_seconds];
        if times.iter().any(|seconds| !(0.0..=MOST_SECONDS).contains(seconds)) || self.seconds < 0.1 {
            return refuse(format!("times go from 0 to {MOST_SECONDS} seconds, --seconds from 0.1"));
        }
        if self.server_env.iter().any(|setting| !setting.contains('=')) {
            return refuse("--server-env takes NAME=VALUE".into());
        }
        self.duration().map(drop)
    }

    /// How the clients are spread.
    pub fn layout(&self) -> Layout {
        Layout { clients: self.clients, per_channel: self.per_channel.min(self.clients).max(1) }
    }

    /// Duration of a frame.
    pub fn duration(&self) -> Result<FrameDuration, LoadError> {
        let known = |duration: &FrameDuration| (ms(*duration) - self.frame_ms).abs() < 1e-9;
        FrameDuration::ALL
            .into_iter()
            .find(known)
            .ok_or_else(|| LoadError::Option("--frame-ms is one of 2.5, 5, 10, 20, 40, 60".into()))
    }

    /// Bytes of a voice datagram on its way to the server, and from it.
    pub fn datagram(&self) -> (usize, usize) {
        let down = HEADER_LEN + self.payload + SEAL_LEN;
        (down + TAG_LEN, down)
    }
}

fn ms(duration: FrameDuration) -> f64 {
    duration.samples() as f64 / 48.0
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn refused(arguments: &str) -> bool {
        let arguments = std::iter::once("voip-load").chain(arguments.split_whitespace());
        Options::try_parse_from(arguments).map_or(true, |options| options.check().is_err())
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        assert!(!refused(""));
        assert!(!refused("--clients 0 --churn 5 --frame-ms 2.5"));
        for arguments in [
            "--clients 0",
            "--per-channel 0",
            "--payload 8",
            "--payload 1200",
            "--frame-ms 15",
            "--seconds 0",
            "--bare --churn 3",
            "--server-env LEVEL",
            "--restart --churn 3",
            "--restart --talkers 0",
            "--restart --down-seconds 60",
            "--storm 9 --churn 3",
            "--storm 5000",
        ] {
            assert!(refused(arguments), "{arguments}");
        }
    }
}
