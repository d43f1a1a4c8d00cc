//! The control socket: a task that owns the WebSocket, and a channel each way.

use std::{net::IpAddr, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::TcpStream,
    sync::{Notify, mpsc},
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    tungstenite::{
        Bytes, Error, Message, client::IntoClientRequest, http::HeaderValue, protocol::WebSocketConfig,
    },
};
use voip_protocol::{
    Address, Fingerprint, SessionId,
    control::{ErrorReply, Request, ServerMessage},
    limits::{MAX_SERVER_MESSAGE, SESSION_HEADER},
};

use super::{
    TunnelEnd,
    tls::{ANSWER, Pin, dial, timed_out},
    tunnel::Tunnel,
};
use crate::{ClientError, ClientErrorCode};

/// Requests that may wait to be written.
const OUTGOING: usize = 64;
/// Messages that may wait to be read.
const INCOMING: usize = 256;
/// The server is asked for a sign of life this often, besides what it sends by itself.
const PING_EVERY: Duration = Duration::from_secs(4);
/// Silence for longer than this is a dead connection…
const SILENCE: Duration = Duration::from_secs(10);
/// … and for this long, after the network has changed.
const SILENCE_AFTER_CHANGE: Duration = Duration::from_secs(2);

/// An open control socket. Dropping it closes the connection.
pub struct ControlSocket {
    /// Where the server is, as the connection found it: voice goes to the same address.
    pub server: IpAddr,
    /// Where voice goes that UDP does not take; none if the system gives no socket for it.
    pub tunnel: Option<TunnelEnd>,
    /// The network has changed: told here, the socket finds out soon whether it still has a server.
    pub check: Arc<Notify>,
    /// What to ask.
    pub requests: mpsc::Sender<Request>,
    /// What the server says, in order. Its end is the end of the connection; the last item may say why.
    pub messages: mpsc::Receiver<Result<ServerMessage, ClientError>>,
}

/// Opens the control socket with an access token: for a session that goes on, or for a new one.
pub async fn connect_control(
    address: &Address,
    fingerprint: Fingerprint,
    token: &str,
    session: Option<SessionId>,
) -> Result<ControlSocket, ClientError> {
    match timeout(ANSWER, open(address, fingerprint, token, session)).await {
        Ok(result) => result,
        Err(_) => Err(timed_out(address)),
    }
}

async fn open(
    address: &Address,
    fingerprint: Fingerprint,
    token: &str,
    session: Option<SessionId>,
) -> Result<ControlSocket, ClientError> {
    let no_server = |what: String| {
        let message =
            format!("{address} does not answer as a voice server ({what}): check the address and the port");
        ClientError::new(ClientErrorCode::NotAVoiceServer, message)
    };
    let mut request = format!("wss://{address}/control")
        .into_client_request()
        .map_err(|error| no_server(error.to_string()))?;
    let bearer =
        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|error| no_server(error.to_string()))?;
    request.headers_mut().insert("authorization", bearer);
    let session = session.map_or(HeaderValue::from_static("new"), |session| session.0.into());
    request.headers_mut().insert(SESSION_HEADER, session);
    let stream = dial(address).await?;
    let server = stream.peer_addr().map_err(|error| no_server(error.to_string()))?.ip();
    let pin = Arc::new(Pin::only(fingerprint));
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_SERVER_MESSAGE))
        .max_frame_size(Some(MAX_SERVER_MESSAGE));
    let connector = Connector::Rustls(Arc::new(pin.config()));
    let (socket, _) = client_async_tls_with_config(request, stream, Some(config), Some(connector))
        .await
        .map_err(|error| match (pin.mismatch(address), &error) {
            (Some(mismatch), _) => mismatch,
            (None, Error::Http(response)) => {
                let reply = response
                    .body()
                    .as_deref()
                    .and_then(|body| serde_json::from_slice::<ErrorReply>(body).ok());
                match reply {
                    Some(reply) => reply.error.into(),
                    None => no_server(error.to_string()),
                }
            }
            _ => no_server(error.to_string()),
        })?;
    let (requests, outgoing) = mpsc::channel(OUTGOING);
    let (incoming, messages) = mpsc::channel(INCOMING);
    let (tunnel, end) = Tunnel::open(server)
        .inspect_err(
            |error| tracing::warn!(%error, "voice can go by UDP alone: there is no socket of loopback"),
        )
        .ok()
        .unzip();
    let check = Arc::new(Notify::new());
    tokio::spawn(serve(socket, tunnel, Arc::clone(&check), outgoing, incoming));
    Ok(ControlSocket { server, tunnel: end, check, requests, messages })
}

async fn serve(
    mut socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    mut tunnel: Option<Tunnel>,
    check: Arc<Notify>,
    mut outgoing: mpsc::Receiver<Request>,
    incoming: mpsc::Sender<Result<ServerMessage, ClientError>>,
) {
    let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut dead_at = Instant::now() + SILENCE;
    let reason = loop {
        tokio::select! {
            request = outgoing.recv() => match request {
                Some(request) => {
                    let text = serde_json::to_string(&request).expect("requests are plain data with string keys");
                    if let Err(reason) = write(&mut socket, Message::text(text)).await {
                        break reason;
                    }
                }
                None => {
                    // Whoever used the connection is done with it; the server may be gone before.
                    let _ = timeout(Duration::from_secs(1), socket.close(None)).await;
                    return;
                }
            },
            message = next(&mut socket, &mut tunnel) => match message {
                None => break lost("the server closed it"),
                Some(Err(error)) => break lost(&error.to_string()),
                Some(Ok(Message::Text(text))) => {
                    dead_at = Instant::now() + SILENCE;
                    let message = match serde_json::from_str(&text) {
                        Ok(message) => Ok(message),
                        Err(error) => {
                            // A newer server may say more than is known here.
                            tracing::warn!(%error, "a message of the server that is not understood");
                            continue;
                        }
                    };
                    if incoming.send(message).await.is_err() {
                        return;
                    }
                }
                Some(Ok(Message::Binary(packet))) => {
                    dead_at = Instant::now() + SILENCE;
                    if let Some(tunnel) = &tunnel {
                        tunnel.take(&packet);
                    }
                }
                Some(Ok(_)) => dead_at = Instant::now() + SILENCE,
            },
            () = check.notified() => {
                dead_at = dead_at.min(Instant::now() + SILENCE_AFTER_CHANGE);
                ping.reset_immediately();
            }
            _ = ping.tick() => {
                if let Err(reason) = write(&mut socket, Message::Ping(Bytes::new())).await {
                    break reason;
                }
            }
            () = sleep_until(dead_at) => break lost("the server fell silent"),
        }
    };
    // The receiver may be gone, too: then nobody wants to know.
    let _ = incoming.send(Err(reason)).await;
}

async fn write(
    socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>,
    message: Message,
) -> Result<(), ClientError> {
    match timeout(SILENCE, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(lost(&error.to_string())),
        Err(_) => Err(lost("the server takes nothing any more")),
    }
}

async fn next(
    socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>,
    tunnel: &mut Option<Tunnel>,
) -> Option<Result<Message, Error>> {
    match tunnel {
        Some(tunnel) => tunnel.next(socket).await,
        None => socket.next().await,
    }
}

fn lost(why: &str) -> ClientError {
    ClientError::new(ClientErrorCode::ConnectionLost, format!("the connection to the server was lost: {why}"))
}
