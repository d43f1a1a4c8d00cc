//! `voip-cli`: the engine from a terminal.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::atomic::Ordering,
    time::{Duration, Instant, SystemTime},
};

use clap::{Args, Parser, Subcommand};
use secrecy::SecretString;
use serde::Serialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use voip_client::{
    ClientError, ClientErrorCode, Connection, Engine, EngineConfig, EngineHandle, Event, Levels, Login,
    Processing, Register, Statistics, TalkMode, VoiceSettings,
    audio::{Backend, Cpal, File, Split, Started},
    net::{KnownServers, Trust, probe},
};
use voip_protocol::{ChannelId, Fingerprint, Invite};

#[derive(Parser)]
#[command(version, about = "Talk and listen from a terminal")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Join a channel: send a recording or the microphone, record or play what is heard.
    Talk(Box<Talk>),
    /// List microphones and speakers.
    Devices,
}

#[derive(Args)]
struct Talk {
    /// Server: host, host:port or an invite link.
    #[arg(long)]
    server: String,
    /// User name.
    #[arg(long)]
    user: String,
    /// Password.
    #[arg(long, env = "VOIP_PASSWORD", hide_env_values = true)]
    password: SecretString,
    /// Make the account first.
    #[arg(long)]
    register: bool,
    /// Tag of the organization, where the server has several.
    #[arg(long)]
    organization: Option<String>,
    /// Name of the channel to join.
    #[arg(long)]
    channel: String,
    /// WAV file to send instead of the microphone.
    #[arg(long, value_name = "FILE", conflicts_with = "listen")]
    input: Option<PathBuf>,
    /// WAV file to record what is heard into, instead of the speaker.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Microphone by its id, as `voip-cli devices` tells it; without it the system's choice.
    #[arg(long, value_name = "ID", conflicts_with_all = ["input", "listen"])]
    microphone: Option<String>,
    /// Speaker by its id; without it the system's choice.
    #[arg(long, value_name = "ID", conflicts_with = "output")]
    speaker: Option<String>,
    /// Send nothing.
    #[arg(long)]
    listen: bool,
    /// Leave after this many seconds; without it at the end of the input, or at Ctrl+C.
    #[arg(long)]
    seconds: Option<f64>,
    /// SHA-256 of the server's certificate; an invite link has it already.
    #[arg(long)]
    fingerprint: Option<Fingerprint>,
    /// File of trusted servers, to use and to add to.
    #[arg(long, value_name = "FILE")]
    known_servers: Option<PathBuf>,
    /// Opus bit rate, in bits a second.
    #[arg(long, default_value_t = 40_000)]
    bitrate: u32,
    /// Cancel echoes, suppress noise and adjust the gain, as the app does unless it is told otherwise.
    #[arg(long)]
    processing: bool,
    /// Print statistics as one JSON object at the end.
    #[arg(long)]
    json: bool,
}

/// What is printed at the end.
#[derive(Serialize)]
struct Report {
    channel: String,
    seconds: f64,
    #[serde(flatten)]
    statistics: Statistics,
    /// Of the talker heard most: delay of the jitter buffer, in milliseconds.
    jitter_buffer_ms: Option<f32>,
    /// Of the talker heard most: from their microphone to this speaker, in milliseconds.
    mouth_to_ear_ms: Option<f32>,
    /// When the first sample of `--input` was sent on its way, in seconds since 1970.
    input_started_at: Option<f64>,
    /// When the first sample of `--output` was heard, in seconds since 1970.
    output_started_at: Option<f64>,
}

/// What is under way at the end of a recording still arrives.
const TAIL: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    // The only provider in the tree; whoever installed one before us installed the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("voip-cli: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match arguments.command {
            Command::Talk(talk) => talk.run().await,
            Command::Devices => list_devices(),
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("voip-cli: {error}");
            ExitCode::FAILURE
        }
    }
}

fn list_devices() -> Result<(), ClientError> {
    let devices = Cpal.devices()?;
    for (title, list) in [("Microphones", devices.inputs), ("Speakers", devices.outputs)] {
        println!("{title}:");
        for device in list {
            println!(
                "  {}{}  [{}]",
                device.name,
                if device.is_default { " (default)" } else { "" },
                device.id
            );
        }
    }
    Ok(())
}

impl Talk {
    async fn run(self) -> Result<(), ClientError> {
        let invite: Invite = self.server.parse().map_err(|error| {
            ClientError::new(ClientErrorCode::InvalidAddress, format!("--server: {error}"))
        })?;
        let login = Login {
            fingerprint: self.trusted(&invite).await?,
            address: invite.address,
            organization: self.organization.clone(),
            username: self.user.clone(),
            password: self.password.clone(),
            register: self.register.then(Register::default),
            device: None,
        };
        let files = File::new(self.input.clone(), self.output.clone());
        let (ended, started) = (files.ended(), files.started());
        let settings = VoiceSettings {
            input: self.microphone.clone(),
            output: self.speaker.clone(),
            bitrate: self.bitrate,
            mode: TalkMode::PushToTalk,
            processing: if self.processing { Processing::default() } else { Processing::OFF },
            ..VoiceSettings::default()
        };
        let (engine, handle) =
            Engine::new(EngineConfig { backend: self.backend(files), settings: settings.clone() });
        let mut events = handle.subscribe();
        let running = tokio::spawn(engine.run());
        handle.connect(login).await?;
        let result = async {
            let channel = self.channel_id(&handle).await?;
            handle.join(channel).await?;
            eprintln!("voip-cli: in {}", self.channel);
            let began = Instant::now();
            let mut talking = settings;
            if !self.listen {
                // Choosing the input opens it anew, so a recording starts now and not at the login.
                if let Some(path) = &self.input {
                    talking.input = Some(path.display().to_string());
                }
                handle.apply(VoiceSettings { mode: TalkMode::Continuous, ..talking.clone() }).await?;
            }
            let over = async {
                match (self.seconds, &self.input) {
                    (Some(seconds), _) => {
                        tokio::time::sleep(Duration::from_secs_f64(seconds.clamp(0.0, 1e9))).await;
                    }
                    (None, Some(_)) => {
                        while !ended.load(Ordering::Relaxed) {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        tokio::time::sleep(TAIL).await;
                    }
                    (None, None) => std::future::pending().await,
                }
            };
            tokio::select! {
                () = over => Ok(()),
                _ = tokio::signal::ctrl_c() => Ok(()),
                error = ended_by(&mut events, self.listen) => Err(error),
            }?;
            // The talk ends with a last frame, which is to be counted.
            handle.apply(VoiceSettings { mode: TalkMode::PushToTalk, release_delay: 0, ..talking }).await?;
            until_silent(&mut events).await;
            self.report(&handle, began, started()).await
        }
        .await;
        handle.shut_down().await;
        // It has shut down: nothing is left to fail.
        let _ = running.await;
        result
    }

    fn backend(&self, files: File) -> Box<dyn Backend> {
        match (self.input.is_some() || self.listen, self.output.is_some()) {
            (true, true) => Box::new(files),
            (true, false) => Box::new(Split { input: Box::new(files), output: Box::new(Cpal) }),
            (false, true) => Box::new(Split { input: Box::new(Cpal), output: Box::new(files) }),
            (false, false) => Box::new(Cpal),
        }
    }

    /// The certificate to expect: named, invited to, or trusted before.
    async fn trusted(&self, invite: &Invite) -> Result<Fingerprint, ClientError> {
        if let Some(fingerprint) = self.fingerprint.or(invite.fingerprint) {
            return Ok(fingerprint);
        }
        let shown = probe(&invite.address).await?;
        let changed = |message: String| Err(ClientError::new(ClientErrorCode::CertificateChanged, message));
        let Some(file) = &self.known_servers else {
            return changed(format!(
                "the server shows a certificate with the fingerprint {shown}: compare it with what its \
                 administrator says, then give it with --fingerprint"
            ));
        };
        let mut known = KnownServers::load(file)?;
        match known.check(&invite.address, shown) {
            Trust::Known => Ok(shown),
            Trust::New => {
                eprintln!("voip-cli: trusting {} with the fingerprint {shown} from now on", invite.address);
                known.pin(&invite.address, shown)?;
                Ok(shown)
            }
            Trust::Changed { pinned } => changed(format!(
                "the certificate has changed from {pinned} to {shown}: somebody may be in between; \
                 ask the server's administrator"
            )),
        }
    }

    async fn channel_id(&self, handle: &EngineHandle) -> Result<ChannelId, ClientError> {
        let channels = handle.state().await?.room.map(|room| room.channels).unwrap_or_default();
        let found = channels.iter().find(|channel| channel.name.eq_ignore_ascii_case(&self.channel));
        found.map(|channel| channel.id).ok_or_else(|| {
            let names: Vec<_> = channels.iter().map(|channel| channel.name.as_str()).collect();
            let message = format!("there is no channel {:?}; there are {}", self.channel, names.join(", "));
            ClientError::new(ClientErrorCode::Server(voip_protocol::ErrorCode::UnknownChannel), message)
        })
    }

    async fn report(
        &self,
        handle: &EngineHandle,
        began: Instant,
        started: Started,
    ) -> Result<(), ClientError> {
        let statistics = handle.state().await?.statistics;
        let loudest = statistics.talkers.iter().max_by_key(|talker| talker.received);
        let report = Report {
            channel: self.channel.clone(),
            seconds: began.elapsed().as_secs_f64(),
            jitter_buffer_ms: loudest.map(|talker| talker.buffer_ms),
            mouth_to_ear_ms: loudest.and_then(|talker| talker.mouth_to_ear_ms),
            input_started_at: started.input.map(unix_seconds),
            output_started_at: started.output.map(unix_seconds),
            statistics,
        };
        if self.json {
            println!("{}", serde_json::to_string(&report).expect("a report is plain data with string keys"));
        } else {
            let Statistics { frames_sent, frames_received, frames_lost, frames_concealed, rtt_ms, .. } =
                report.statistics;
            println!(
                "sent {frames_sent}, received {frames_received}, lost {frames_lost}, concealed {frames_concealed}, \
                 round trip {}",
                rtt_ms.map_or("unknown".into(), |ms| format!("{ms:.1} ms"))
            );
        }
        Ok(())
    }
}

/// Waits until nothing is sent any more.
async fn until_silent(events: &mut Receiver<Event>) {
    loop {
        match events.recv().await {
            Ok(Event::Levels(Levels { transmitting: false, .. })) | Err(RecvError::Closed) => return,
            Ok(_) | Err(RecvError::Lagged(_)) => {}
        }
    }
}

fn unix_seconds(time: SystemTime) -> f64 {
    // A clock before 1970 is a clock that was never set.
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The error that ended the session for good.
async fn ended_by(events: &mut Receiver<Event>, listen: bool) -> ClientError {
    loop {
        match events.recv().await {
            Ok(Event::Problem(error)) => eprintln!("voip-cli: {error}"),
            Ok(Event::Audio(audio)) => {
                // Who only listens wants no microphone.
                let input_problem = audio.input_problem.filter(|_| !listen);
                for error in [input_problem, audio.output_problem].into_iter().flatten() {
                    eprintln!("voip-cli: {error}");
                }
            }
            Ok(Event::Connection(Connection::Reconnecting { reason, .. })) => eprintln!("voip-cli: {reason}"),
            Ok(Event::Connection(Connection::Disconnected { reason: Some(reason) })) => return reason,
            Ok(Event::Connection(Connection::Disconnected { reason: None })) | Err(RecvError::Closed) => {
                return ClientError::new(
                    ClientErrorCode::ConnectionLost,
                    "the connection has ended: start again",
                );
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
        }
    }
}
