//! The task that owns the hub: takes inputs in order, carries outputs out, publishes the routing.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::extract::ws::Utf8Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use voip_protocol::{
    ErrorBody, ErrorCode, LoginId, SessionId,
    control::{Request, ServerEvent, ServerMessage},
};

use super::{Hub, Output, Visitor};
use crate::{auth::revoked, voice::Routing};

/// Messages that a connection may have waiting. A slow client is dropped when they are used up.
const OUTBOX: usize = 256;
/// Inputs that may wait for the hub.
const INBOX: usize = 1024;

/// The way in to the hub.
#[derive(Clone)]
pub struct HubHandle {
    inputs: mpsc::Sender<Input>,
}

/// What a connection's socket is to do next. The end of the channel is the end of the connection.
#[derive(Debug)]
pub enum Outgoing {
    /// Send a text message.
    Text(Utf8Bytes),
    /// Send several.
    Texts(Vec<Utf8Bytes>),
    /// Close with the code of this; the events have said why.
    Close(Box<ErrorBody>),
    /// Say why, and close: the connection is not wanted any more.
    Refuse(Box<ErrorBody>),
}

/// What a client wants to become of its session when it loses its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// It ends.
    No,
    /// It waits a while.
    New,
    /// It has waited: this one is to go on, if it still can.
    Resumed(SessionId),
}

enum Input {
    Connect(Visitor, Lasting, oneshot::Sender<Result<Connected, ErrorBody>>),
    Disconnect(SessionId),
    Lost(SessionId),
    Call(SessionId, Request),
    EndLogins(HashSet<LoginId>),
    Tell(Vec<(SessionId, ServerEvent)>),
    Figures(oneshot::Sender<HubFigures>),
    Logins(oneshot::Sender<HashSet<LoginId>>),
    Arrived(oneshot::Sender<HashSet<LoginId>>),
}

/// What the hub knows of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct HubFigures {
    /// Connections.
    pub connected: usize,
    /// Channels of all organizations.
    pub channels: usize,
}

/// A connection of the hub.
pub struct Connected {
    /// Its session.
    pub session: SessionId,
    /// What it is to send.
    pub outgoing: mpsc::Receiver<Outgoing>,
}

impl HubHandle {
    /// Starts the task. It ends after `shutdown`, when every client has been told.
    pub fn spawn(hub: Hub, routing: Arc<ArcSwap<Routing>>, shutdown: CancellationToken) -> Self {
        let (inputs, receiver) = mpsc::channel(INBOX);
        tokio::spawn(
            Driver { hub, routing, outboxes: HashMap::new(), started: Instant::now() }
                .run(receiver, shutdown),
        );
        Self { inputs }
    }

    /// Connects somebody who is authenticated.
    pub async fn connect(&self, visitor: Visitor, lasting: Lasting) -> Result<Connected, ErrorBody> {
        let (reply, answer) = oneshot::channel();
        self.inputs.send(Input::Connect(visitor, lasting, reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// A connection is gone, as its client said or as this server wanted. Its outgoing messages have been dropped.
    pub async fn disconnect(&self, session: SessionId) {
        // A hub that has ended knows nobody any more.
        let _ = self.inputs.send(Input::Disconnect(session)).await;
    }

    /// A connection is gone without a word. Its outgoing messages have been dropped.
    pub async fn lost(&self, session: SessionId) {
        let _ = self.inputs.send(Input::Lost(session)).await;
    }

    /// A connection asks for something; the answer comes by its outgoing messages.
    pub async fn call(&self, session: SessionId, request: Request) {
        let _ = self.inputs.send(Input::Call(session, request)).await;
    }

    /// These logins have ended: their connections do, too, and with them their voice.
    pub async fn end_logins(&self, logins: HashSet<LoginId>) {
        let _ = self.inputs.send(Input::EndLogins(logins)).await;
    }

    /// Tells each of these connections, if it is still there.
    pub async fn tell(&self, events: Vec<(SessionId, ServerEvent)>) {
        let _ = self.inputs.send(Input::Tell(events)).await;
    }

    /// The logins by which somebody is connected.
    pub async fn logins(&self) -> HashSet<LoginId> {
        let (reply, answer) = oneshot::channel();
        if self.inputs.send(Input::Logins(reply)).await.is_err() {
            return HashSet::new();
        }
        answer.await.unwrap_or_default()
    }

    /// By which logins somebody connected since this was last asked.
    pub async fn take_arrived(&self) -> HashSet<LoginId> {
        let (reply, answer) = oneshot::channel();
        if self.inputs.send(Input::Arrived(reply)).await.is_err() {
            return HashSet::new();
        }
        answer.await.unwrap_or_default()
    }

    /// Figures of this moment; of a hub that has ended there are none.
    pub async fn figures(&self) -> HubFigures {
        let (reply, answer) = oneshot::channel();
        if self.inputs.send(Input::Figures(reply)).await.is_err() {
            return HubFigures::default();
        }
        answer.await.unwrap_or_default()
    }
}

struct Driver {
    hub: Hub,
    routing: Arc<ArcSwap<Routing>>,
    outboxes: HashMap<SessionId, mpsc::Sender<Outgoing>>,
    started: Instant,
}

impl Driver {
    async fn run(mut self, mut inputs: mpsc::Receiver<Input>, shutdown: CancellationToken) {
        let mut outputs = Vec::new();
        loop {
            let deadline = self.hub.next_deadline().map(|at| self.started + at);
            let due = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                input = inputs.recv() => match input {
                    Some(input) => self.take(input, &mut outputs),
                    None => break,
                },
                () = due => {}
            }
            // What has piled up is taken together: one routing for all of it.
            // No more than the inbox holds, or those who send on and on would keep it from being carried out.
            for _ in 0..INBOX {
                let Ok(input) = inputs.try_recv() else { break };
                self.take(input, &mut outputs);
            }
            self.hub.tick(self.started.elapsed(), &mut outputs);
            self.carry_out(&mut outputs);
        }
        let message = "the server stops; this program connects again when it is back".to_owned();
        let goodbye = ServerEvent::ServerStopping { message };
        self.carry_out(&mut vec![Output::Broadcast(self.hub.everybody(), goodbye)]);
        for outbox in self.outboxes.values() {
            let _ = outbox.try_send(Outgoing::Close(stopping().into()));
        }
    }

    fn take(&mut self, input: Input, outputs: &mut Vec<Output>) {
        let now: Duration = self.started.elapsed();
        match input {
            Input::Connect(visitor, lasting, reply) => {
                let resumed = match lasting {
                    Lasting::Resumed(session) if self.hub.resume(session, visitor.login, outputs) => {
                        Some(session)
                    }
                    _ => None,
                };
                let result = resumed.map_or_else(|| self.hub.connect(visitor, outputs), Ok).map(|session| {
                    let (outbox, outgoing) = mpsc::channel(OUTBOX);
                    if let Some(before) = self.outboxes.insert(session, outbox) {
                        // The client knew before the server that its old connection was dead.
                        let _ = before.try_send(Outgoing::Close(replaced().into()));
                    }
                    if lasting != Lasting::No {
                        self.hub.keep(session);
                    }
                    Connected { session, outgoing }
                });
                // Whoever asked may have hung up: then its outbox is closed, and carrying out finds that.
                let _ = reply.send(result);
            }
            // The session may have another connection by now.
            Input::Disconnect(session) | Input::Lost(session) if self.is_connected(session) => {}
            Input::Disconnect(session) => {
                self.outboxes.remove(&session);
                self.hub.disconnect(session, now);
            }
            Input::Lost(session) => {
                self.outboxes.remove(&session);
                self.hub.lose(session, now);
            }
            Input::Call(session, request) => self.hub.call(session, &request, now, outputs),
            Input::EndLogins(logins) => {
                for session in self.hub.sessions_by(&logins) {
                    if let Some(outbox) = self.outboxes.remove(&session) {
                        // An outbox that is full ends the connection as well, without the reason.
                        let _ = outbox.try_send(Outgoing::Refuse(revoked().into()));
                    }
                    self.hub.disconnect(session, now);
                }
            }
            Input::Tell(events) => {
                let events = events.into_iter();
                outputs.extend(events.map(|(to, event)| Output::Send(to, ServerMessage::Event(event))));
            }
            Input::Figures(reply) => {
                let _ =
                    reply.send(HubFigures { connected: self.outboxes.len(), channels: self.hub.channels() });
            }
            Input::Logins(reply) => {
                let _ = reply.send(self.hub.logins());
            }
            Input::Arrived(reply) => {
                let _ = reply.send(self.hub.take_arrived());
            }
        }
    }

    fn is_connected(&self, session: SessionId) -> bool {
        self.outboxes.get(&session).is_some_and(|outbox| !outbox.is_closed())
    }

    fn carry_out(&mut self, outputs: &mut Vec<Output>) {
        // The routing first: who is told of a new key or a join may speak at once.
        self.publish_routing();
        let mut lost = Vec::new();
        for output in outputs.drain(..) {
            match output {
                Output::Send(to, message) => self.send(to, Outgoing::Text(text(&message)), &mut lost),
                Output::Begin(to, messages) => {
                    let texts = messages.iter().map(text).collect();
                    self.send(to, Outgoing::Texts(texts), &mut lost);
                }
                Output::Broadcast(to, event) => {
                    let text = text(&ServerMessage::Event(event));
                    for to in to {
                        self.send(to, Outgoing::Text(text.clone()), &mut lost);
                    }
                }
            }
        }
        for session in lost {
            let now = self.started.elapsed();
            match self.outboxes.remove(&session) {
                // It has gone already, and the word of it is under way; or nobody was there to take it.
                Some(outbox) if outbox.is_closed() => self.hub.lose(session, now),
                _ => self.hub.disconnect(session, now),
            }
        }
        self.publish_routing();
    }

    fn publish_routing(&mut self) {
        if let Some(routing) = self.hub.take_routing() {
            self.routing.store(Arc::new(routing));
        }
    }

    /// A client that takes nothing any more is dropped, never waited for.
    fn send(&mut self, to: SessionId, outgoing: Outgoing, lost: &mut Vec<SessionId>) {
        if let Some(outbox) = self.outboxes.get(&to)
            && outbox.try_send(outgoing).is_err()
            && !lost.contains(&to)
        {
            tracing::info!(session = %to, "dropped: it does not take its events");
            lost.push(to);
        }
    }
}

fn text(message: &ServerMessage) -> Utf8Bytes {
    serde_json::to_string(message).expect("messages are plain data with string keys").into()
}

fn replaced() -> ErrorBody {
    ErrorBody::new(ErrorCode::Unauthorized, "the session has another connection now: this one ends")
}

fn stopping() -> ErrorBody {
    ErrorBody::new(ErrorCode::ServerStopping, "the server stops: connect again in a moment")
}
