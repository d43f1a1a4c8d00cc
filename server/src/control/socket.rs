//! One WebSocket session: requests in, answers and events out.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures_util::SinkExt;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use voip_protocol::{
    ErrorBody, ErrorCode,
    control::{ServerMessage, parse_request},
    limits::MAX_CONTROL_MESSAGE,
};

use super::{
    allowance::{Allowance, Verdict},
    tunnel::Tunnel,
};
use crate::hub::{HubHandle, Lasting, Outgoing, Visitor};

/// A client is asked for a sign of life this often.
const PING_EVERY: Duration = Duration::from_secs(15);
/// Without one for this long it is gone.
const SILENCE: Duration = Duration::from_secs(40);
/// A write that takes longer means that the client takes nothing any more.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Messages that are written together.
const AT_ONCE: usize = 64;
/// A refused client has this long to read why.
const LINGER: Duration = Duration::from_millis(500);

/// Serves a connection to its end.
pub(super) async fn serve(
    mut socket: WebSocket,
    hub: HubHandle,
    visitor: Visitor,
    lasting: Lasting,
    mut allowance: Allowance,
    mut tunnel: Tunnel,
) {
    let mut connected = match hub.connect(visitor, lasting).await {
        Ok(connected) => connected,
        Err(error) => return refuse(&mut socket, error).await,
    };
    let session = connected.session;
    tracing::info!(%session, "connected");
    let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let started = Instant::now();
    let mut last_heard = started;
    let mut waiting = Vec::new();
    // Whoever says goodbye, or is sent away, does not come back.
    let mut lost = false;
    loop {
        tokio::select! {
            count = connected.outgoing.recv_many(&mut waiting, AT_ONCE) => {
                match carry_out(&mut socket, &mut waiting).await {
                    Carried::All => {}
                    Carried::Ended => break,
                    Carried::Failed => {
                        lost = true;
                        break;
                    }
                }
                if count == 0 {
                    let message = "you did not take your events in time: connect again";
                    refuse(&mut socket, ErrorBody::new(ErrorCode::TooSlow, message)).await;
                    break;
                }
            },
            message = tunnel.recv(&mut socket) => {
                last_heard = Instant::now();
                // Voice has limits of its own, on the voice plane.
                if let Some(Ok(Message::Binary(packet))) = &message && tunnel.take(packet) {
                    continue;
                }
                let verdict = match message {
                    // Pings and pongs take time as well.
                    Some(Ok(_)) => allowance.spend(last_heard - started),
                    _ => Verdict::Take,
                };
                if verdict == Verdict::End {
                    refuse(&mut socket, too_many()).await;
                    break;
                }
                let answer = match message {
                    Some(Ok(Message::Text(text))) => match parse_request(&text) {
                        Ok(request) if verdict == Verdict::Refuse => {
                            ServerMessage::Failure { id: Some(request.id), error: too_many() }
                        }
                        Ok(request) => {
                            hub.call(session, request).await;
                            continue;
                        }
                        Err((id, error)) => ServerMessage::Failure { id, error },
                    },
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

/// What became of messages.
enum Carried {
    /// They are on their way.
    All,
    /// The last of them ended the connection.
    Ended,
    /// The connection is of no use any more.
    Failed,
}

/// Writes what waits for a client, together.
async fn carry_out(socket: &mut WebSocket, waiting: &mut Vec<Outgoing>) -> Carried {
    for outgoing in waiting.drain(..) {
        let texts = match outgoing {
            Outgoing::Text(text) => vec![text],
            Outgoing::Texts(texts) => texts,
            Outgoing::Close(error) => {
                close(socket, close_code::AWAY, error.code).await;
                return Carried::Ended;
            }
            Outgoing::Refuse(error) => {
                refuse(socket, *error).await;
                return Carried::Ended;
            }
        };
        for text in texts {
            if !matches!(timeout(WRITE_TIMEOUT, socket.feed(Message::Text(text))).await, Ok(Ok(()))) {
                return Carried::Failed;
            }
        }
    }
    match timeout(WRITE_TIMEOUT, socket.flush()).await {
        Ok(Ok(())) => Carried::All,
        _ => Carried::Failed,
    }
}

fn too_many() -> ErrorBody {
    let message = "too many messages in a short time: wait a second, then go on more slowly";
    ErrorBody::new(ErrorCode::TooManyRequests, message)
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
