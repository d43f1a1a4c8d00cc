//! The control plane: connections by token, each from its client's address, each with a whole TLS handshake.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt, TryStreamExt, stream};
use rustls::{ClientConfig, client::Resumption, pki_types::ServerName};
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, Utf8Bytes, client::IntoClientRequest, protocol::WebSocketConfig},
};
use voip_protocol::{
    ChannelId, Token,
    control::{ServerEvent, ServerMessage, Snapshot},
    limits::MAX_SERVER_MESSAGE,
};

use super::{LoadError, layout::address_of, prepare::Prepared, roster::Roster, server::Server};

/// Clients that connect at the same time.
const CONNECTING: usize = 16;
/// What one step of a client may take.
const LIMIT: Duration = Duration::from_secs(30);
/// What most messages begin with in a large server, and no client of this program needs.
const OF_NO_INTEREST: &str = "{\"event\":\"members\"";
/// Of the one request that a client sends.
const JOIN: u64 = 1;

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Where clients connect.
#[derive(Clone)]
pub struct Door {
    address: SocketAddrV4,
    connector: TlsConnector,
}

/// A connection whose snapshot came.
struct Opened {
    socket: Socket,
    snapshot: Box<Snapshot>,
    to_tls: Duration,
    to_snapshot: Duration,
}

/// What one connection took, from the first step on.
pub struct LoginTime {
    /// To the end of the TLS handshake.
    pub to_tls: Duration,
    /// To the snapshot.
    pub to_snapshot: Duration,
}

impl Door {
    /// Of a server.
    pub fn of(server: &Server) -> Self {
        let mut config: ClientConfig = voip_client::net::pinned(server.fingerprint);
        config.resumption = Resumption::disabled();
        Self { address: server.control, connector: TlsConnector::from(Arc::new(config)) }
    }

    /// Connects every client of a roster and brings it into its channel; their connections go on in tasks of their
    /// own. The voice port that the server named.
    pub async fn enter_all(&self, roster: &Arc<Roster>, prepared: &Prepared) -> Result<u16, LoadError> {
        let entered = stream::iter(0..roster.layout.clients)
            .map(|client| {
                let channel = prepared.channels[roster.layout.channel_of(client)];
                self.enter(Arc::clone(roster), client, &prepared.tokens[client], channel)
            })
            .buffer_unordered(CONNECTING);
        entered.try_fold(0, |_, port| async move { Ok(port) }).await
    }

    /// Connects with each token and disconnects, so many at a time.
    pub async fn churn(
        &self,
        tokens: &[Token],
        first: usize,
        most: usize,
    ) -> Result<Vec<LoginTime>, LoadError> {
        stream::iter(tokens.iter().enumerate())
            .map(|(number, token)| self.come_and_go(first + number, token))
            .buffer_unordered(most)
            .try_collect()
            .await
    }

    /// Connects and disconnects with each token at the same time, again and again, until `stop`; how often.
    pub async fn storm(&self, tokens: &[Token], first: usize, stop: &AtomicBool) -> Result<u64, LoadError> {
        let each = tokens.iter().enumerate().map(async |(number, token)| {
            let mut times = 0u64;
            while !stop.load(Relaxed) {
                self.come_and_go(first + number, token).await?;
                times += 1;
            }
            Ok::<_, LoadError>(times)
        });
        Ok(futures_util::future::try_join_all(each).await?.iter().sum())
    }

    /// Connects and disconnects once.
    pub async fn come_and_go(&self, client: usize, token: &Token) -> Result<LoginTime, LoadError> {
        let mut opened = self.open(client, token).await?;
        let close = opened.socket.close(None).await;
        close.map_err(|error| LoadError::client(client, format!("closing: {error}")))?;
        Ok(LoginTime { to_tls: opened.to_tls, to_snapshot: opened.to_snapshot })
    }

    /// Connects a client and brings it into its channel; its connection goes on in a task of its own. The voice port
    /// that the server named.
    pub async fn enter(
        &self,
        roster: Arc<Roster>,
        client: usize,
        token: &Token,
        channel: ChannelId,
    ) -> Result<u16, LoadError> {
        let Opened { mut socket, snapshot, .. } = self.open(client, token).await?;
        let request = json!({ "id": JOIN, "method": "join", "params": { "channel": channel } });
        let sent = socket.send(Message::text(request.to_string())).await;
        sent.map_err(|error| LoadError::client(client, format!("joining: {error}")))?;
        loop {
            match message(client, &mut socket).await? {
                ServerMessage::Event(ServerEvent::ChannelKey(key)) => roster.keyed(client, &key),
                ServerMessage::Success { id: JOIN, .. } => break,
                ServerMessage::Failure { error, .. } => {
                    return Err(LoadError::client(client, format!("joining: {}", error.message)));
                }
                _ => {}
            }
        }
        roster.connected(client, &snapshot);
        tokio::spawn(stay(socket, roster, client));
        Ok(snapshot.voice.port)
    }

    async fn open(&self, client: usize, token: &Token) -> Result<Opened, LoadError> {
        let wrong =
            |step: &str, error: &dyn std::fmt::Display| LoadError::client(client, format!("{step}: {error}"));
        let started = Instant::now();
        let tcp =
            dial(address_of(client), self.address).await.map_err(|error| wrong("connecting", &error))?;
        let name = ServerName::from(std::net::IpAddr::from(*self.address.ip()));
        let tls = self.connector.connect(name, tcp).await.map_err(|error| wrong("TLS", &error))?;
        let to_tls = started.elapsed();
        let mut request = format!("wss://{}/control", self.address)
            .into_client_request()
            .map_err(|error| wrong("asking", &error))?;
        let bearer = format!("Bearer {}", token.expose()).parse();
        let bearer = bearer.expect("a token has no characters that a header may not have");
        request.headers_mut().insert("authorization", bearer);
        let size = Some(MAX_SERVER_MESSAGE);
        let config = WebSocketConfig::default().max_message_size(size).max_frame_size(size);
        let opening = client_async_with_config(request, tls, Some(config));
        let (mut socket, _) = opening.await.map_err(|error| wrong("WebSocket", &error))?;
        match serde_json::from_str(&text(client, &mut socket).await?) {
            Ok(ServerMessage::Event(ServerEvent::Snapshot(snapshot))) => {
                Ok(Opened { socket, snapshot, to_tls, to_snapshot: started.elapsed() })
            }
            other => Err(wrong("no snapshot", &format!("{other:?}"))),
        }
    }
}

async fn dial(from: Ipv4Addr, to: SocketAddrV4) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddrV4::new(from, 0).into())?;
    let stream = socket.connect(to.into()).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Answers the server's pings, and keeps the keys that come.
async fn stay(mut socket: Socket, roster: Arc<Roster>, client: usize) {
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Text(text) = message
            && !text.starts_with(OF_NO_INTEREST)
            && let Ok(ServerMessage::Event(ServerEvent::ChannelKey(key))) = serde_json::from_str(&text)
        {
            roster.keyed(client, &key);
        }
    }
    roster.lost_connections.fetch_add(1, Relaxed);
}

/// The next message that is of interest.
async fn message(client: usize, socket: &mut Socket) -> Result<ServerMessage, LoadError> {
    loop {
        let text = text(client, socket).await?;
        if !text.starts_with(OF_NO_INTEREST) {
            let message = serde_json::from_str(&text);
            return message.map_err(|error| LoadError::client(client, format!("{error} in {text}")));
        }
    }
}

/// The next text; pings are answered beside it.
async fn text(client: usize, socket: &mut Socket) -> Result<Utf8Bytes, LoadError> {
    let wrong = |why: &dyn std::fmt::Display| LoadError::client(client, format!("listening: {why}"));
    loop {
        match tokio::time::timeout(LIMIT, socket.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => return Ok(text),
            Ok(Some(Ok(Message::Close(_))) | None) => return Err(wrong(&"the server hung up")),
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(error))) => return Err(wrong(&error)),
            Err(_) => return Err(wrong(&"the server fell silent")),
        }
    }
}
