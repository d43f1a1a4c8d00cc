//! `voip-load`: what a server costs and how fast it is, under many talkers and listeners on loopback.
//!
//! All clients share one UDP socket and differ by their address. One thread sends when packets are due, one empties
//! the socket now and then: the kernel stamps what arrives, so neither wakes the other nor spoils a latency. A thread
//! of their own holds the control connections.

mod bare;
mod clock;
mod control;
mod error;
mod flood;
mod layout;
mod listen;
mod logins;
mod measure;
mod options;
mod packet;
mod prepare;
mod report;
mod restart;
mod roster;
mod schedule;
mod search;
mod server;
mod stats;
mod talk;
mod udp;
mod usage;

use std::{
    io,
    net::{SocketAddrV4, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

pub use error::LoadError;
pub use options::{Options, Role};

use self::{
    control::Door,
    flood::Flood,
    layout::Layout,
    listen::Listener,
    measure::Bench,
    prepare::Prepared,
    roster::Roster,
    server::{Bare, Server},
    stats::rounded,
    talk::{Stage, Talker},
    usage::Memory,
};

/// Until the clients are quiet after connecting, in s.
const SETTLE: f64 = 0.7;
/// How often a client that has no pong asks again, and from when to when, in s.
const ASKS: u32 = 20;
const ASK_EVERY: f64 = 0.25;
/// Clients that ask one after the other without a pause: the server's socket holds their pings.
const ASK_TOGETHER: usize = 64;
/// Between them and the next ones, in s.
const ASK_PAUSE: f64 = 0.002;
/// Files that are open besides connections.
const FILES: u64 = 200;

/// Does what the options say; the report, where there is one.
pub fn run(options: &Options) -> Result<Option<Value>, LoadError> {
    if let Some(Role::BareLoop { design, clients, per_channel, port }) = options.role {
        let layout = Layout { clients, per_channel };
        return bare::run(design, layout, port).map(|()| None).map_err(LoadError::system("the bare loop"));
    }
    options.check()?;
    let began = Instant::now();
    let mut result = match options.bare {
        Some(design) => run_bare(options, design),
        None => run_server(options),
    }?;
    let layout = options.layout();
    let (up, down) = options.datagram();
    result["label"] = options.label.as_str().into();
    result["config"] = json!({
        "clients": options.clients,
        "per_channel": layout.per_channel,
        "channels": layout.channels(),
        "talkers": options.talkers,
        "payload": options.payload,
        "frame_ms": options.frame_ms,
        "burst": options.burst,
        "ping_seconds": options.ping_seconds,
        "datagram": { "up": up, "down": down },
    });
    result["wall_s"] = rounded(began.elapsed().as_secs_f64(), 1).into();
    report::print(&result);
    Ok(Some(result))
}

fn run_bare(options: &Options, design: bare::Design) -> Result<Value, LoadError> {
    let socket = Arc::new(udp::open().map_err(LoadError::system("opening the UDP socket"))?);
    let port = socket.local_addr().map_err(LoadError::system("the UDP socket"))?.port();
    let bare = Bare::start(design, options.layout(), port)?;
    let mut result = json!({ "server": format!("bare loop, {design:?}") });
    let roster = Arc::new(Roster::without_control(options.layout()));
    talk(options, bare.pid(), bare.voice, &socket, &roster, &mut result)?;
    Ok(result)
}

fn run_server(options: &Options) -> Result<Value, LoadError> {
    allow_files((options.clients + options.concurrency + options.storm) as u64 + FILES)?;
    // Another part of the process was first with the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(LoadError::system("starting a thread"))?;
    let folder = tempfile::tempdir().map_err(LoadError::system("making a folder"))?;
    let roster = Arc::new(Roster::new(options.layout()));
    let prepared = runtime.block_on(prepare::prepare(
        folder.path(),
        roster.layout.channels(),
        options.clients + options.churn + options.storm + 1,
    ))?;
    let server = Server::start(options, folder.path(), (0, 0))?;
    let door = Door::of(&server);
    // What the very first client costs is no client's share.
    let stranger = options.clients + options.churn + options.storm;
    runtime.block_on(door.come_and_go(stranger, &prepared.tokens[stranger]))?;
    clock::sleep(SETTLE);
    let before = Memory::of(server.pid());
    let (connect, voice_port) = connect(&runtime, &door, &server, &roster, &prepared)?;
    let mut result = json!({ "server": "voip-server", "connect": connect });
    if options.churn > 0 {
        let tokens = &prepared.tokens[options.clients..stranger];
        let (most, others) = (options.concurrency, options.clients);
        result["churn"] = logins::churn(&runtime, &door, tokens, most, others, server.pid())?;
        return Ok(result);
    }
    let socket = Arc::new(udp::open().map_err(LoadError::system("opening the UDP socket"))?);
    let voice = SocketAddrV4::new(*server.control.ip(), voice_port);
    if options.restart {
        let load = restart::Load { options, folder: folder.path(), door: &door, voice, prepared, socket };
        let restarted = load.restart(&runtime, server, &roster)?;
        (result["voice"], result["restart"]) = restarted;
        return Ok(result);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let storm = (options.storm > 0).then(|| {
        let (door, stop, first) = (door.clone(), Arc::clone(&stop), options.clients);
        let tokens = prepared.tokens[first..stranger].to_vec();
        (Instant::now(), runtime.spawn(async move { door.storm(&tokens, first, &stop).await }))
    });
    talk(options, server.pid(), voice, &socket, &roster, &mut result)?;
    stop.store(true, Relaxed);
    if let Some((began, storm)) = storm {
        let times = runtime.block_on(storm).map_err(|_| LoadError::Thread("storms"))??;
        let per_s = rounded(times as f64 / began.elapsed().as_secs_f64(), 1);
        result["storm"] = json!({ "clients": options.storm, "connects": times, "connects_per_s": per_s });
    }
    let after = result["server_memory_kib"]["clients_idle"]["rss"].as_f64().unwrap_or(0.0);
    let each = (after - before.resident as f64) / options.clients as f64;
    result["server_memory_kib"]["before"] = before.json();
    result["rss_kib_per_client"] = rounded(each, 1).into();
    Ok(result)
}

/// Connects all clients, and measures it; the voice port as well.
fn connect(
    runtime: &Runtime,
    door: &Door,
    server: &Server,
    roster: &Arc<Roster>,
    prepared: &Prepared,
) -> Result<(Value, u16), LoadError> {
    let clients = roster.layout.clients;
    let cpu = usage::reading(server.pid());
    let started = Instant::now();
    let voice_port = runtime.block_on(door.enter_all(roster, prepared))?;
    let seconds = started.elapsed().as_secs_f64();
    let used = usage::reading(server.pid()).since(&cpu);
    if roster.keyed_clients() != clients as u64 {
        let what = format!("only {} of {clients} clients got a key", roster.keyed_clients());
        return Err(LoadError::client(clients, what));
    }
    if clients == 0 {
        return Ok((Value::Null, voice_port));
    }
    let connect = json!({
        "seconds": rounded(seconds, 3),
        "per_s": rounded(clients as f64 / seconds, 1),
        "server_ms_per_login": rounded(used.cpu_s * 1e3 / clients as f64, 3),
        "server": used.json(),
    });
    Ok((connect, voice_port))
}

/// Measures silence and talk.
fn talk(
    options: &Options,
    pid: u32,
    server: SocketAddrV4,
    socket: &Arc<UdpSocket>,
    roster: &Arc<Roster>,
    result: &mut Value,
) -> Result<(), LoadError> {
    let voices = Voices::start(options, server, socket, roster)?;
    if options.bare.is_none() {
        be_heard(&voices.talker)?;
    }
    clock::sleep(SETTLE);
    let mut bench = voices.bench(options, pid);
    result["idle"] = bench.idle();
    result["server_memory_kib"] = json!({ "clients_idle": Memory::of(pid).json() });
    if options.find_max {
        result["max"] = bench.find_max()?;
    } else if let Some(kind) = options.flood {
        let flood =
            Flood::new(kind, server, Arc::clone(roster)).map_err(LoadError::system("the flood's socket"))?;
        let flood = Arc::new(flood);
        let flooding = spawn("flood", {
            let flood = Arc::clone(&flood);
            move || flood.run()
        })?;
        let voice = bench.voice(options.talkers);
        flood.stop();
        join(flooding, "floods")?;
        result["voice"] = voice?;
        result["flood"] = flood.json();
    } else {
        result["voice"] = bench.voice(options.talkers)?;
    }
    voices.stop()
}

/// The clients' mouths and ears: a thread that sends and one that receives.
struct Voices {
    talker: Arc<Talker>,
    listener: Arc<Listener>,
    stages: mpsc::SyncSender<Arc<Stage>>,
    sending: Loop,
    receiving: Loop,
}

impl Voices {
    fn start(
        options: &Options,
        server: SocketAddrV4,
        socket: &Arc<UdpSocket>,
        roster: &Arc<Roster>,
    ) -> Result<Self, LoadError> {
        let listener = Arc::new(Listener::new(Arc::clone(roster), Arc::clone(socket), options.nap_us));
        let receiving = spawn("receive", {
            let listener = Arc::clone(&listener);
            move || listener.run()
        })?;
        let pings = options.bare.is_none() && options.ping_seconds > 0.0;
        let talker = Arc::new(Talker {
            roster: Arc::clone(roster),
            socket: Arc::clone(socket),
            server,
            ping_every_ns: pings.then(|| clock::ns(options.ping_seconds)),
        });
        let (stages, coming) = mpsc::sync_channel(1);
        let sending = spawn("send", {
            let talker = Arc::clone(&talker);
            move || talker.run(&coming)
        })?;
        Ok(Self { talker, listener, stages, sending, receiving })
    }

    /// Measures them, and the server's process.
    fn bench<'a>(&'a self, options: &'a Options, pid: u32) -> Bench<'a> {
        Bench {
            options,
            pid,
            voice_port: self.talker.server.port(),
            socket: &self.talker.socket,
            roster: &self.talker.roster,
            listener: &self.listener,
            stages: &self.stages,
            idle_rate: 0.0,
        }
    }

    fn stop(self) -> Result<(), LoadError> {
        // Without anybody to order a stage, the talker ends.
        drop(self.stages);
        self.listener.stop();
        join(self.sending, "sends")?;
        join(self.receiving, "receives")
    }
}

/// Each client pings until it has a pong: then the server knows its address.
fn be_heard(talker: &Talker) -> Result<(), LoadError> {
    for _ in 0..ASKS {
        for some in talker.roster.unheard().chunks(ASK_TOGETHER) {
            for &client in some {
                talker.ping(client).map_err(LoadError::system("sending a ping"))?;
            }
            clock::sleep(ASK_PAUSE);
        }
        clock::sleep(ASK_EVERY);
        if talker.roster.unheard().is_empty() {
            return Ok(());
        }
    }
    Err(LoadError::Unheard { silent: talker.roster.unheard().len(), clients: talker.roster.layout.clients })
}

type Loop = JoinHandle<io::Result<()>>;

fn spawn(name: &str, work: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<Loop, LoadError> {
    thread::Builder::new().name(name.into()).spawn(work).map_err(LoadError::system("starting a thread"))
}

fn join(thread: Loop, what: &'static str) -> Result<(), LoadError> {
    let ended = thread.join().map_err(|_| LoadError::Thread(what))?;
    ended.map_err(LoadError::system(&format!("the thread that {what}")))
}

/// Raises this process's limit of open files as far as it must; the server inherits it.
fn allow_files(needed: u64) -> Result<(), LoadError> {
    let limit = |error: nix::Error| LoadError::system("reading the limit of open files")(error.into());
    let (now, allowed) = getrlimit(Resource::RLIMIT_NOFILE).map_err(limit)?;
    if now >= needed {
        return Ok(());
    }
    // With the right to raise it, more than is allowed may be had.
    let most = allowed.max(needed);
    setrlimit(Resource::RLIMIT_NOFILE, needed, most).map_err(|_| LoadError::Files { needed, allowed })
}
