//! The product's programs as processes of their own.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use voip_protocol::{Address, Invite};

use crate::client::{TestClient, login};

/// The path of a program of the workspace, built if need be.
pub fn program(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let status = Command::new(cargo)
            .args(["build", "--quiet", "-p", "voip-server", "-p", "voip-client", "--bins"])
            // Where the toolchain is named.
            .current_dir(workspace)
            .stdin(Stdio::null())
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the programs do not build");
    });
    let own = std::env::current_exe().expect("a running program has a path");
    // Test programs lie one folder deeper than the others.
    let folder =
        own.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).expect("programs lie in a folder");
    folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// A `voip-server` process on a folder of its own.
pub struct Server {
    folder: PathBuf,
    /// In a mount namespace of its own, where the folder is a disk of this many bytes.
    disk: Option<u64>,
    /// Instead of one in the folder.
    database_url: Option<String>,
    /// More of its environment.
    env: Vec<(&'static str, String)>,
    ports: (u16, u16),
    child: Option<Child>,
    /// Where it is and who it is.
    pub invite: Invite,
    admin_password: String,
}

impl Server {
    /// Starts on a folder; port 0 takes a free one. Returns when it serves.
    pub fn start(folder: &Path, control_port: u16, voice_port: u16) -> Self {
        Self::start_on(folder, None, None, control_port, voice_port, &[])
    }

    /// Starts on a database outside its folder.
    pub fn start_on_database(folder: &Path, url: &str) -> Self {
        Self::start_on(folder, None, Some(url), 0, 0, &[])
    }

    /// Starts with these variables of the environment beside the others.
    pub fn start_with(folder: &Path, env: &[(&'static str, String)]) -> Self {
        Self::start_on(folder, None, None, 0, 0, env)
    }

    /// Starts on a disk of this size, which only the server sees.
    pub fn start_on_small_disk(folder: &Path, bytes: u64) -> Self {
        Self::start_on(folder, Some(bytes), None, 0, 0, &[])
    }

    /// Id of the process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Where its routes are, as `https://127.0.0.1:9000`.
    pub fn base(&self) -> String {
        format!("https://{}", self.invite.address)
    }

    /// The server's folder, as the server sees it.
    pub fn inner_folder(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.pid(), self.folder.display()))
    }

    fn start_on(
        folder: &Path,
        disk: Option<u64>,
        database_url: Option<&str>,
        control_port: u16,
        voice_port: u16,
        env: &[(&'static str, String)],
    ) -> Self {
        let mut server = Self {
            folder: folder.to_owned(),
            disk,
            database_url: database_url.map(str::to_owned),
            env: env.to_vec(),
            ports: (control_port, voice_port),
            child: None,
            invite: Invite { address: Address { host: String::new(), port: 0 }, fingerprint: None },
            admin_password: String::new(),
        };
        server.restart();
        server
    }

    /// Starts again, on the same ports. Returns when it serves.
    pub fn restart(&mut self) {
        let mut command = match self.disk {
            None => Command::new(program("voip-server")),
            Some(bytes) => {
                // A tmpfs in a namespace: no trace of it stays, and nobody's disk is filled.
                let script = format!("mount -t tmpfs -o size={bytes} tmpfs \"$0\" && exec \"$@\"");
                let mut command = Command::new("unshare");
                command.args(["--map-root-user", "--mount", "sh", "-c", &script]);
                command.arg(&self.folder).arg(program("voip-server"));
                command
            }
        };
        if let Some(url) = &self.database_url {
            command.env("VOIP_DATABASE__URL", url);
        }
        for limit in [
            "LOGINS_PER_MINUTE_BY_ADDRESS",
            "LOGINS_PER_MINUTE_BY_ACCOUNT",
            "REGISTRATIONS_PER_HOUR_BY_ADDRESS",
        ] {
            command.env(format!("VOIP_SECURITY__{limit}"), "0");
        }
        let mut child = command
            .args([
                "serve",
                "--control-port",
                &self.ports.0.to_string(),
                "--voice-port",
                &self.ports.1.to_string(),
            ])
            .arg("--data-dir")
            .arg(&self.folder)
            .env("VOIP_SERVER__BIND_ADDRESS", "127.0.0.1")
            .env("VOIP_LOG__LEVEL", "warn")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output is a pipe")).lines();
        let mut serves = false;
        for line in lines.by_ref() {
            let line = line.expect("the server speaks UTF-8");
            if let Some(password) = line.strip_prefix("First start: log in as admin with the password ") {
                password.clone_into(&mut self.admin_password);
            } else if let Some(invite) = line.strip_prefix("Invite: ") {
                self.invite = invite.parse().expect("the server prints a good invite");
            } else if let Some(voice) = line.strip_prefix("Voice:   ") {
                let port = voice
                    .rsplit(':')
                    .next()
                    .and_then(|rest| rest.split(' ').next())
                    .and_then(|port| port.parse().ok());
                self.ports.1 = port.expect("the server prints its voice port");
            } else if line.starts_with("Stop with") {
                serves = true;
                break;
            }
        }
        assert!(serves, "the server ended at its start: see what it says above");
        self.ports.0 = self.invite.address.port;
        self.child = Some(child);
        // It prints that before it accepts: the first connection waits in the queue of the socket.
        std::thread::spawn(move || lines.for_each(drop));
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it runs");
            child.wait().expect("it was a child of this process");
        }
    }

    /// An engine that is logged in: as the administrator, or as a new account.
    pub async fn client(&self, name: &str) -> TestClient {
        let client = TestClient::new();
        let fingerprint = self.invite.fingerprint.expect("the server speaks TLS");
        let mut login = login(&self.invite.address, fingerprint, name, name != "admin");
        if name == "admin" {
            login.password = self.admin_password.clone().into();
        }
        client.handle.connect(login).await.unwrap();
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
