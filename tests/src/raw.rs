//! A client that speaks the protocol by hand: it can say what no engine would.

use std::net::{Ipv4Addr, UdpSocket};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
    tungstenite::{Message, client::IntoClientRequest},
};
use voip_protocol::{
    Epoch, SessionId,
    control::{ChannelKey, ServerEvent, ServerMessage, Snapshot},
    voice::{FrameDuration, Header, Ping, SealingKey, TagKey},
};

use crate::{
    client::LIMIT,
    server::{PASSWORD, TestServer, install_provider},
};

/// A control socket, a voice socket, and what the server said last.
pub struct RawClient {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The first event.
    pub snapshot: Snapshot,
    /// The newest key.
    pub key: Option<ChannelKey>,
    /// Connected to the voice port that the server named.
    pub voice: UdpSocket,
    next_id: u64,
}

impl RawClient {
    /// Registers and connects.
    pub async fn register(server: &TestServer, name: &str) -> Self {
        let body = json!({ "username": name, "password": PASSWORD }).to_string();
        let (status, reply) = server.post("/auth/register", body).await;
        assert_eq!(status, 201, "{reply}");
        Self::connect(server, reply["access_token"].as_str().unwrap()).await
    }

    /// Connects with a token.
    pub async fn connect(server: &TestServer, token: &str) -> Self {
        let mut socket = open(server, token).await.unwrap();
        let first = next(&mut socket).await.unwrap();
        let ServerMessage::Event(ServerEvent::Snapshot(snapshot)) = first else {
            panic!("no snapshot: {first:?}")
        };
        let voice = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        voice.connect((Ipv4Addr::LOCALHOST, snapshot.voice.port)).unwrap();
        voice.set_read_timeout(Some(LIMIT)).unwrap();
        Self { socket, snapshot: *snapshot, key: None, voice, next_id: 1 }
    }

    /// Says its session.
    pub fn session(&self) -> SessionId {
        self.snapshot.session
    }

    /// Enters another channel by name.
    pub async fn enter_again(&mut self, channel: &str) {
        let id = self.snapshot.channels.iter().find(|known| known.name == channel).unwrap().id;
        let reply = self.ask("join", json!({ "channel": id })).await;
        assert!(reply.get("result").is_some(), "{reply}");
    }

    /// Enters a channel by name, and shows itself on UDP.
    pub async fn enter(&mut self, channel: &str) {
        self.enter_again(channel).await;
        self.ping(0);
        let mut buffer = [0; 64];
        assert!(self.voice.recv(&mut buffer).is_ok(), "no pong");
    }

    /// Sends a ping.
    pub fn ping(&self, sequence: u32) {
        self.voice.send(&self.ping_packet(sequence, true)).unwrap();
    }

    /// A ping, or a probe that is not to be followed.
    pub fn ping_packet(&self, sequence: u32, follow: bool) -> Vec<u8> {
        let ping = Ping { session: self.session(), sequence, client_time: 0, follow, report: None };
        ping.to_bytes(&self.tag()).to_vec()
    }

    /// Asks, and returns the answer as it came.
    pub async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        self.send_text(json!({ "id": id, "method": method, "params": params }).to_string()).await;
        loop {
            match self.next().await.expect("the connection ended before the answer") {
                ServerMessage::Success { id: answered, result } if answered == id => {
                    return json!({ "result": result });
                }
                ServerMessage::Failure { id: Some(answered), error } if answered == id => {
                    return json!({ "error": error });
                }
                ServerMessage::Event(ServerEvent::ChannelKey(key)) => self.key = Some(key),
                _ => {}
            }
        }
    }

    /// Sends a text, however wrong.
    pub async fn send_text(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.unwrap();
    }

    /// Sends a message of any kind; the server may have hung up.
    pub async fn send(&mut self, message: Message) -> bool {
        self.socket.send(message).await.is_ok()
    }

    /// Sends a message, reading all the while: what the server says until the connection ends.
    pub async fn send_while_reading(self, message: Message) -> String {
        let (mut sink, mut stream) = self.socket.split();
        let sending = tokio::spawn(async move { sink.send(message).await });
        let mut said = String::new();
        while let Some(Ok(message)) = stream.next().await {
            said.push_str(message.to_text().unwrap_or_default());
        }
        sending.abort();
        said
    }

    /// The next message; none at the end of the connection.
    pub async fn next(&mut self) -> Option<ServerMessage> {
        next(&mut self.socket).await
    }

    /// Sends a voice packet or a ping over the control socket.
    pub async fn send_by_tunnel(&mut self, packet: Vec<u8>) {
        self.socket.send(Message::binary(packet)).await.unwrap();
    }

    /// The next voice packet or pong that comes over the control socket.
    pub async fn next_by_tunnel(&mut self) -> Vec<u8> {
        loop {
            let message =
                tokio::time::timeout(LIMIT, self.socket.next()).await.expect("nothing comes by the tunnel");
            if let Message::Binary(packet) = message.unwrap().unwrap() {
                return packet.to_vec();
            }
        }
    }

    /// The next message that is an error.
    pub async fn next_error(&mut self) -> Option<(Option<u64>, voip_protocol::ErrorBody)> {
        loop {
            if let ServerMessage::Failure { id, error } = self.next().await? {
                return Some((id, error));
            }
        }
    }

    /// Tags its packets.
    pub fn tag(&self) -> TagKey {
        TagKey::new(&self.snapshot.voice.uplink)
    }

    /// A sealed and tagged voice packet, as an engine would send it.
    pub fn packet(&self, sequence: u32, frame: &[u8]) -> Vec<u8> {
        let key = self.key.as_ref().expect("a channel was joined");
        let header = Header {
            session: self.session(),
            context: key.context,
            epoch: Epoch(0),
            sequence,
            capture_time: sequence.wrapping_mul(480),
            duration: FrameDuration::Ms10,
            last_of_burst: false,
            share: None,
        };
        let mut out = [0; 1500];
        let length = SealingKey::derive(&key.secret, key.epoch, self.session()).seal(header, frame, &mut out);
        let mut packet = out[..length].to_vec();
        packet.extend(self.tag().tag(&packet));
        packet
    }
}

/// Opens a control socket with a token, whatever it is.
pub async fn open(
    server: &TestServer,
    token: &str,
) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, tokio_tungstenite::tungstenite::Error> {
    install_provider();
    let mut request = format!("wss://{}/control", server.address).into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let pin = std::sync::Arc::new(voip_client::net::pinned(server.fingerprint));
    let connector = Connector::Rustls(pin);
    connect_async_tls_with_config(request, None, true, Some(connector)).await.map(|(socket, _)| socket)
}

async fn next(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>) -> Option<ServerMessage> {
    loop {
        match tokio::time::timeout(LIMIT, socket.next()).await.expect("the server fell silent")? {
            Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}
