//! The server that is measured, as a process of its own.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddrV4},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use clap::ValueEnum;
use voip_protocol::{Fingerprint, Invite};

use super::{LoadError, bare::Design, layout::Layout, options::Options, prepare::JWT_SECRET};

/// Lines of its log that are shown when it did not start.
const LOG_LINES: usize = 10;

/// A process that ends with this value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running `voip-server`.
pub struct Server {
    process: Process,
    /// The control plane.
    pub control: SocketAddrV4,
    /// Its certificate.
    pub fingerprint: Fingerprint,
}

impl Server {
    /// Starts it on a folder that was prepared, on these ports for control and voice; 0: whichever is free. Returns when
    /// it listens.
    pub fn start(options: &Options, folder: &Path, ports: (u16, u16)) -> Result<Self, LoadError> {
        let program = match &options.server {
            Some(program) => program.clone(),
            None => beside_this("voip-server")?,
        };
        let log = folder.join("server.log");
        let mut command = Command::new(&program);
        command
            .arg("serve")
            .args(["--control-port", &ports.0.to_string()])
            .args(["--voice-port", &ports.1.to_string()])
            .arg("--data-dir")
            .arg(folder)
            // A server.yaml of the folder it is started in is not meant.
            .current_dir(folder)
            .env("VOIP_SERVER__BIND_ADDRESS", Ipv4Addr::LOCALHOST.to_string())
            .env("VOIP_SECURITY__JWT_SECRET", JWT_SECRET)
            .env("VOIP_SECURITY__LOGINS_PER_MINUTE_BY_ADDRESS", "0")
            .env("VOIP_SECURITY__LOGINS_PER_MINUTE_BY_ACCOUNT", "0")
            // Prepared clients have an address each; what logs in and measures has one for all.
            .env("VOIP_LIMITS__CONNECTIONS", "0")
            .env("VOIP_LIMITS__CONNECTIONS_BY_ADDRESS", "0")
            .env("VOIP_LIMITS__NEW_CONNECTIONS_PER_SECOND_BY_ADDRESS", "0")
            .env("VOIP_LOG__LEVEL", "warn")
            .stderr(create(&log)?);
        for setting in &options.server_env {
            let (name, value) = setting.split_once('=').expect("the options were checked");
            command.env(name, value);
        }
        let (process, output) = spawn(&mut command, &program)?;
        let mut lines = BufReader::new(output).lines();
        let mut invite: Option<Invite> = None;
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some(text) = line.strip_prefix("Invite: ") {
                invite = text.parse().ok();
            }
            if line.starts_with("Stop with") {
                break;
            }
        }
        let Some(Invite { address, fingerprint: Some(fingerprint) }) = invite else {
            return Err(LoadError::NoServer { program, log: last_lines(&log) });
        };
        // A full pipe would hold it up.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { process, control: SocketAddrV4::new(Ipv4Addr::LOCALHOST, address.port), fingerprint })
    }

    /// Id of the process.
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }
}

/// A running bare loop.
pub struct Bare {
    process: Process,
    /// Where it listens.
    pub voice: SocketAddrV4,
}

impl Bare {
    /// Starts this program as a bare loop, for clients on this port. Returns when it listens.
    pub fn start(design: Design, layout: Layout, port: u16) -> Result<Self, LoadError> {
        let name = design.to_possible_value().expect("no design is hidden");
        let program = std::env::current_exe().map_err(LoadError::system("finding this program"))?;
        let mut command = Command::new(&program);
        command
            .arg("bare-loop")
            .args(["--design", name.get_name()])
            .args(["--clients", &layout.clients.to_string()])
            .args(["--per-channel", &layout.per_channel.to_string()])
            .args(["--port", &port.to_string()]);
        let (process, output) = spawn(&mut command, &program)?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).map_err(LoadError::system("hearing the bare loop"))?;
        let voice = line.trim().parse();
        let voice = voice.map_err(|_| LoadError::NoServer { program, log: line })?;
        Ok(Self { process, voice })
    }

    /// Id of the process.
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }
}

fn spawn(command: &mut Command, program: &Path) -> Result<(Process, ChildStdout), LoadError> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(LoadError::system(&format!("starting {} (--server names another)", program.display())))?;
    let output = child.stdout.take().expect("its output is a pipe");
    Ok((Process(child), output))
}

fn beside_this(name: &str) -> Result<PathBuf, LoadError> {
    let own = std::env::current_exe().map_err(LoadError::system("finding this program"))?;
    Ok(own.with_file_name(name))
}

fn create(path: &Path) -> Result<File, LoadError> {
    File::create(path).map_err(LoadError::system(&format!("creating {}", path.display())))
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
