//! The control socket: a task that owns the WebSocket, and a channel each way.

use std::{net::IpAddr, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    tungstenite::{Error, Message, client::IntoClientRequest, http::HeaderValue, protocol::WebSocketConfig},
};
use voip_protocol::{
    Address, Fingerprint,
    control::{ErrorReply, Request, ServerMessage},
    limits::MAX_SERVER_MESSAGE,
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
/// The server pings every 15 s: silence for longer than this is a dead connection.
const SILENCE: Duration = Duration::from_secs(40);

/// An open control socket. Dropping it closes the connection.
pub struct ControlSocket {
    /// Where the server is, as the connection found it: voice goes to the same address.
    pub server: IpAddr,
    /// Where voice goes that UDP does not take; none if the system gives no socket for it.
    pub tunnel: Option<TunnelEnd>,
    /// What to ask.
    pub requests: mpsc::Sender<Request>,
    /// What the server says, in order. Its end is the end of the connection; the last item may say why.
    pub messages: mpsc::Receiver<Result<ServerMessage, ClientError>>,
}

/// Opens the control socket with an access token.
pub async fn connect_control(
    address: &Address,
    fingerprint: Fingerprint,
    token: &str,
) -> Result<ControlSocket, ClientError> {
    match timeout(ANSWER, open(address, fingerprint, token)).await {
        Ok(result) => result,
        Err(_) => Err(timed_out(address)),
    }
}

async fn open(
    address: &Address,
    fingerprint: Fingerprint,
    token: &str,
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
        .inspect_err(|error| tracing::warn!(%error, "voice can go by UDP alone: there is no socket of loopback"))
        .ok()
        .unzip();
    tokio::spawn(serve(socket, tunnel, outgoing, incoming));
    Ok(ControlSocket { server, tunnel: end, requests, messages })
}

async fn serve(
    mut socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    mut tunnel: Option<Tunnel>,
    mut outgoing: mpsc::Receiver<Request>,
    incoming: mpsc::Sender<Result<ServerMessage, ClientError>>,
) {
    let reason = loop {
        tokio::select! {
            request = outgoing.recv() => match request {
                Some(request) => {
                    let text = serde_json::to_string(&request).expect("requests are plain data with string keys");
                    if let Err(error) = socket.send(Message::text(text)).await {
                        break lost(&error.to_string());
                    }
                }
                None => {
                    // Whoever used the connection is done with it; the server may be gone before.
                    let _ = timeout(Duration::from_secs(1), socket.close(None)).await;
                    return;
                }
            },
            message = timeout(SILENCE, next(&mut socket, &mut tunnel)) => match message {
                Err(_) => break lost("the server fell silent"),
                Ok(None) => break lost("the server closed it"),
                Ok(Some(Err(error))) => break lost(&error.to_string()),
                Ok(Some(Ok(Message::Text(text)))) => {
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
                Ok(Some(Ok(Message::Binary(packet)))) => {
                    if let Some(tunnel) = &tunnel {
                        tunnel.take(&packet);
                    }
                }
                Ok(Some(Ok(_))) => {}
            },
        }
    };
    // The receiver may be gone, too: then nobody wants to know.
    let _ = incoming.send(Err(reason)).await;
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
