//! The server dies while clients talk, and comes back: how long until everybody hears again.

use std::{
    net::{SocketAddrV4, UdpSocket},
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, TryStreamExt, stream::FuturesUnordered};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use uuid::Uuid;
use voip_client::Backoff;
use voip_protocol::{ChannelId, Token};

use super::{
    LoadError, Voices, be_heard, clock,
    control::Door,
    options::Options,
    prepare::Prepared,
    roster::Roster,
    server::Server,
    stats::{quantiles_ms, rounded},
    talk::Talker,
};

/// Whoever is not back within this time does not come back.
const LIMIT: Duration = Duration::from_secs(60);
/// From ping to ping of a client that is connected and has no pong yet.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// From look to look at who hears, in s.
const LOOK_EVERY: f64 = 0.01;
/// Until the clients are quiet after the talk before, in s.
const SETTLE: f64 = 0.5;

/// A server with connected clients, and what it takes to begin again.
pub struct Load<'a> {
    /// What is asked.
    pub options: &'a Options,
    /// The server's folder.
    pub folder: &'a Path,
    /// Where clients connect.
    pub door: &'a Door,
    /// Where their voice goes.
    pub voice: SocketAddrV4,
    /// Their tokens and channels.
    pub prepared: Prepared,
    /// Their socket.
    pub socket: Arc<UdpSocket>,
}

/// A client that is connected again.
struct Returned {
    at: Instant,
    /// When it tried in vain.
    failed: Vec<Instant>,
}

impl Load<'_> {
    /// Kills the server and starts it again; what the talk after it came to, and how long it took.
    pub fn restart(
        self,
        runtime: &Runtime,
        server: Server,
        roster: &Arc<Roster>,
    ) -> Result<(Value, Value), LoadError> {
        let options = self.options;
        let before = Voices::start(options, self.voice, &self.socket, roster)?;
        be_heard(&before.talker)?;
        before.bench(options, server.pid()).talk_on(options.talkers)?;
        clock::sleep(options.warmup_seconds);
        let ports = (server.control.port(), self.voice.port());
        let killed = Instant::now();
        drop(server);
        before.stop()?;

        let roster = Arc::new(Roster::new(roster.layout));
        let after = Voices::start(options, self.voice, &self.socket, &roster)?;
        after.bench(options, 0).talk_on(options.talkers)?;
        let clients: FuturesUnordered<_> = self
            .prepared
            .tokens
            .iter()
            .take(roster.layout.clients)
            .enumerate()
            .map(|(client, token)| {
                let channel = self.prepared.channels[roster.layout.channel_of(client)];
                come_back(self.door.clone(), Arc::clone(&after.talker), client, token.clone(), channel)
            })
            .map(|client| runtime.spawn(client))
            .collect();
        clock::sleep(options.down_seconds);
        let server = Server::start(options, self.folder, ports)?;
        let (up, up_ns) = (Instant::now(), clock::realtime_ns());
        let returned: Vec<Returned> = runtime.block_on(
            clients.map(|ended| ended.unwrap_or_else(|_| Err(LoadError::Thread("returns")))).try_collect(),
        )?;
        let heard = until_all_hear(&after, options.talkers)?;

        let since_up = |ns: u64| ns.saturating_sub(up_ns) as f64 / 1e6;
        let tries_in_vain = |when: fn(&Instant, &Instant) -> bool| {
            let failed = returned.iter().flat_map(|returned| &returned.failed);
            failed.filter(|at| when(at, &up)).count()
        };
        let restart = json!({
            "clients": roster.layout.clients,
            "down_s": rounded(up.duration_since(killed).as_secs_f64(), 3),
            "failed_while_down": tries_in_vain(|at, up| at < up),
            "failed_after": tries_in_vain(|at, up| at >= up),
            "connected_ms": quantiles_ms(
                returned.iter().map(|back| back.at.saturating_duration_since(up).as_secs_f64() * 1e3),
            ),
            "heard_ms": quantiles_ms(heard.into_iter().map(since_up)),
        });
        after.bench(options, server.pid()).talk_on(0)?;
        clock::sleep(SETTLE);
        let voice = after.bench(options, server.pid()).voice(options.talkers)?;
        after.stop()?;
        Ok((voice, restart))
    }
}

/// When each client first heard a word, by the system's clock, in ns: of those in whose channel somebody else talks.
fn until_all_hear(voices: &Voices, talkers: usize) -> Result<Vec<u64>, LoadError> {
    let layout = voices.talker.roster.layout;
    let talkers = layout.talkers(talkers);
    let hears = |client: &usize| {
        let mut others = talkers.iter().filter(|talker| *talker != client);
        others.any(|talker| layout.channel_of(*talker) == layout.channel_of(*client))
    };
    let hearers: Vec<_> = (0..layout.clients).filter(hears).collect();
    let began = Instant::now();
    loop {
        let heard: Vec<_> =
            hearers.iter().filter_map(|&client| voices.listener.first_heard_ns(client)).collect();
        if heard.len() == hearers.len() {
            return Ok(heard);
        }
        if began.elapsed() > LIMIT {
            return Err(LoadError::Deaf { deaf: hearers.len() - heard.len(), clients: hearers.len() });
        }
        clock::sleep(LOOK_EVERY);
    }
}

/// As the real client does: tries again after longer and longer waits, and pings until it has an answer.
async fn come_back(
    door: Door,
    talker: Arc<Talker>,
    client: usize,
    token: Token,
    channel: ChannelId,
) -> Result<Returned, LoadError> {
    let began = Instant::now();
    let (mut backoff, mut failed) = (Backoff::default(), Vec::new());
    loop {
        tokio::time::sleep(backoff.next(random())).await;
        match door.enter(Arc::clone(&talker.roster), client, &token, channel).await {
            Ok(_) => break,
            Err(error) if began.elapsed() > LIMIT => return Err(error),
            Err(_) => failed.push(Instant::now()),
        }
    }
    let at = Instant::now();
    while !talker.roster.peer(client).is_some_and(|peer| peer.heard.load(Relaxed)) {
        if at.elapsed() > LIMIT {
            return Err(LoadError::client(client, "it has no answer on UDP".into()));
        }
        talker.ping(client).map_err(LoadError::system("sending a ping"))?;
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(Returned { at, failed })
}

/// From 0 to 1.
fn random() -> f64 {
    let (high, _) = Uuid::new_v4().as_u64_pair();
    f64::from((high >> 32) as u32) / f64::from(u32::MAX)
}
