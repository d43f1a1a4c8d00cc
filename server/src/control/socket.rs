//! One WebSocket session: requests in, answers and events out.

use std::{sync::Arc, time::Duration};

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use voip_protocol::{
    ErrorBody, ErrorCode,
    control::{ServerMessage, parse_request},
    limits::MAX_CONTROL_MESSAGE,
};

use super::tunnel::{Tunnel, Tunnels};
use crate::hub::{HubHandle, Lasting, Outgoing, Visitor};

/// A client is asked for a sign of life this often.
const PING_EVERY: Duration = Duration::from_secs(15);
/// Without one for this long it is gone.
const SILENCE: Duration = Duration::from_secs(40);
/// A write that takes longer means that the client takes nothing any more.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// A refused client has this long to read why.
const LINGER: Duration = Duration::from_millis(500);

/// Serves a connection to its end.
pub(super) async fn serve(
    mut socket: WebSocket,
    hub: HubHandle,
    visitor: Visitor,
    lasting: Lasting,
    tunnels: Arc<Tunnels>,
) {
    let mut connected = match hub.connect(visitor, lasting).await {
        Ok(connected) => connected,
        Err(error) => return refuse(&mut socket, error).await,
    };
    let session = connected.session;
    tracing::info!(%session, "connected");
    let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_heard = Instant::now();
    let mut tunnel = Tunnel::new(tunnels);
    // Whoever says goodbye, or is sent away, does not come back.
    let mut lost = false;
    loop {
        tokio::select! {
            outgoing = connected.outgoing.recv() => match outgoing {
                Some(Outgoing::Text(text)) => {
                    if !write(&mut socket, Message::Text(text)).await {
                        lost = true;
                        break;
                    }
                }
                Some(Outgoing::Close(error)) => {
                    close(&mut socket, close_code::AWAY, error.code).await;
                    break;
                }
                Some(Outgoing::Refuse(error)) => {
                    refuse(&mut socket, error).await;
                    break;
                }
                None => {
                    let message = "you did not take your events in time: connect again";
                    refuse(&mut socket, ErrorBody::new(ErrorCode::TooSlow, message)).await;
                    break;
                }
            },
            message = tunnel.recv(&mut socket) => {
                last_heard = Instant::now();
                let answer = match message {
                    Some(Ok(Message::Text(text))) => match parse_request(&text) {
                        Ok(request) => {
                            hub.call(session, request).await;
                            continue;
                        }
                        Err((id, error)) => ServerMessage::Failure { id, error },
                    },
                    Some(Ok(Message::Binary(packet))) if tunnel.take(&packet) => continue,
                    Some(Ok(Message::Binary(_))) => {
                        let message = "a binary message is a voice packet, and this is none: send JSON text";
                        ServerMessage::Failure { id: None, error: ErrorBody::new(ErrorCode::BinaryNotAllowed, message) }
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Close(_))) | None => break,
                    Some(Err(error)) => {
                        lost = !is_too_large(&error);
                        if !lost {
                            let message = format!("a message may have {MAX_CONTROL_MESSAGE} bytes at most; the connection ends");
                            refuse(&mut socket, ErrorBody::new(ErrorCode::MessageTooLarge, message)).await;
                        }
                        break;
                    }
                };
                if !write(&mut socket, text(&answer)).await {
                    lost = true;
                    break;
                }
            }
            _ = ping.tick() => {
                tunnel.close_if_idle(Instant::now());
                if last_heard.elapsed() > SILENCE || !write(&mut socket, Message::Ping(axum::body::Bytes::new())).await {
                    lost = true;
                    break;
                }
            }
        }
    }
    drop(connected);
    if lost {
        hub.lost(session).await;
    } else {
        hub.disconnect(session).await;
    }
    tracing::info!(%session, lost, "disconnected");
}

/// Says what was wrong, then closes.
async fn refuse(socket: &mut WebSocket, error: ErrorBody) {
    let code = error.code;
    if write(socket, text(&ServerMessage::Failure { id: None, error })).await {
        close(socket, close_code::POLICY, code).await;
        // What the client still sends makes the system reset the connection when it is dropped, and a reset
        // would overtake the reason.
        tokio::time::sleep(LINGER).await;
    }
}

async fn close(socket: &mut WebSocket, code: u16, reason: ErrorCode) {
    write(socket, Message::Close(Some(CloseFrame { code, reason: reason.as_str().into() }))).await;
}

/// False when the connection is of no use any more.
async fn write(socket: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(WRITE_TIMEOUT, socket.send(message)).await, Ok(Ok(())))
}

fn text(message: &ServerMessage) -> Message {
    Message::Text(serde_json::to_string(message).expect("messages are plain data with string keys").into())
}

/// axum hides the error's type behind a box; its text is tungstenite's.
fn is_too_large(error: &axum::Error) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<tungstenite::Error>())
        .is_some_and(|error| matches!(error, tungstenite::Error::Capacity(_)))
}
