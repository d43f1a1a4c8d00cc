//! The state machine: who is connected, who is where, who may hear whom. Input and time in, outputs out.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use voip_protocol::{
    ChannelId, ContextId, Epoch, ErrorBody, ErrorCode, LoginId, OrganizationId, Permissions, RoleId,
    SessionId,
    control::{Account, Call, ChannelKey, Member, Request, ServerEvent, ServerMessage, VoiceSession},
    limits::{EPOCH_SWITCH_MS, MAX_CONNECTIONS_BY_LOGIN, MAX_CONNECTIONS_BY_USER, REKEY_COALESCE_MS},
    secret::{ContextSecret, Secret, TagSecret},
};

use super::{HeldRole, News, Presence, Tenant, seats::Seats};
use crate::voice::{Listener, Peer, Route, Routing, Seat};

/// The live state. `Duration`s are the time since the hub began.
pub struct Hub {
    tenants: HashMap<OrganizationId, Tenant>,
    sessions: BTreeMap<SessionId, Session>,
    contexts: HashMap<ChannelId, Context>,
    /// What the members of an organization have not been told yet.
    news: HashMap<OrganizationId, News>,
    /// By which logins somebody connected since it was last asked.
    arrived: HashSet<LoginId>,
    seats: Seats,
    next_session: u32,
    next_context: u32,
    voice_port: u16,
    entropy: Entropy,
    routing_is_stale: bool,
}

/// Fills a buffer with unpredictable bytes.
type Entropy = Box<dyn FnMut(&mut [u8]) + Send>;

/// Somebody who connects, already authenticated.
pub struct Visitor {
    /// By which login.
    pub login: LoginId,
    /// The account.
    pub account: Account,
    /// Its roles.
    pub roles: Vec<RoleId>,
}

/// What the driver is to do.
#[derive(Debug)]
pub enum Output {
    /// Tell one.
    Send(SessionId, ServerMessage),
    /// Tell one all that there is, as its first messages.
    Begin(SessionId, Vec<ServerMessage>),
    /// Tell several the same.
    Broadcast(Vec<SessionId>, ServerEvent),
}

struct Session {
    login: LoginId,
    member: Member,
    organization: OrganizationId,
    permissions: Permissions,
    in_channels: HashMap<ChannelId, Permissions>,
    peer: Arc<Peer>,
    seat: Seat,
    voice: VoiceSession,
    /// Its client knows how to come back when it loses its connection.
    keep: bool,
    /// Its connection is lost: so long it waits for another.
    ends_at: Option<Duration>,
}

/// What is spoken into a channel, while anybody is in it.
struct Context {
    id: ContextId,
    epoch: Epoch,
    secret: ContextSecret,
    rekey_at: Option<Duration>,
}

impl Hub {
    /// Over the organizations of a store.
    pub fn new(tenants: Vec<Tenant>, voice_port: u16, mut entropy: Entropy) -> Self {
        let mut start = [0; 4];
        entropy(&mut start);
        Self {
            tenants: tenants.into_iter().map(|tenant| (tenant.id(), tenant)).collect(),
            sessions: BTreeMap::new(),
            contexts: HashMap::new(),
            news: HashMap::new(),
            arrived: HashSet::new(),
            seats: Seats::default(),
            // Not from 1: a packet of before a restart should meet no session of after it.
            next_session: u32::from_be_bytes(start),
            next_context: 1,
            voice_port,
            entropy,
            routing_is_stale: false,
        }
    }

    /// Somebody connects: they get a snapshot, the others get to know.
    pub fn connect(&mut self, visitor: Visitor, out: &mut Vec<Output>) -> Result<SessionId, ErrorBody> {
        let organization = visitor.account.organization_id;
        let tenant = self.tenants.get(&organization).ok_or_else(|| {
            ErrorBody::new(ErrorCode::UnknownOrganization, "the organization is not on this server any more")
        })?;
        if self.sessions.values().filter(|other| other.login == visitor.login).count()
            >= MAX_CONNECTIONS_BY_LOGIN
        {
            let message = "this login is connected too often: close some of its connections, then try again";
            return Err(ErrorBody::new(ErrorCode::TooManyRequests, message));
        }
        if self.sessions.values().filter(|other| other.member.user == visitor.account.id).count()
            >= MAX_CONNECTIONS_BY_USER
        {
            let message = "you are connected too often: close some of your connections, then try again";
            return Err(ErrorBody::new(ErrorCode::TooManyRequests, message));
        }
        let held = tenant.held(&visitor.roles);
        let in_channels = tenant.permissions(&held);
        let id = self.free_session_id();
        let (uplink, downlink): (TagSecret, TagSecret) = (self.secret(), self.secret());
        let member = Member {
            session: id,
            user: visitor.account.id,
            username: visitor.account.username,
            display_name: visitor.account.display_name,
            channel: None,
            muted: false,
            deafened: false,
            talking: false,
        };
        let peer = Arc::new(Peer::new(id, &uplink, &downlink));
        let voice = VoiceSession { port: self.voice_port, uplink, downlink };
        let session = Session {
            login: visitor.login,
            member,
            organization,
            permissions: organization_wide(&held),
            in_channels,
            peer,
            seat: self.seats.take(),
            voice,
            keep: false,
            ends_at: None,
        };
        self.arrived.insert(session.login);
        self.sessions.insert(id, session);
        self.send_snapshot(id, out);
        self.news.entry(organization).or_default().came(id);
        self.routing_is_stale = true;
        Ok(id)
    }

    /// A connection is gone.
    pub fn disconnect(&mut self, id: SessionId, now: Duration) {
        let Some(session) = self.sessions.remove(&id) else { return };
        self.seats.leave(session.seat);
        if let Some(channel) = session.member.channel {
            self.left(channel, now);
        }
        self.news.entry(session.organization).or_default().went(id);
        self.routing_is_stale = true;
    }

    /// A connection asks for something: exactly one answer leaves for it.
    pub fn call(&mut self, id: SessionId, request: &Request, now: Duration, out: &mut Vec<Output>) {
        let result = match &request.call {
            Call::Join { channel } => self.join(id, *channel, now, out),
            Call::Leave {} => self.leave(id, now),
            Call::SetSelf { muted, deafened } => self.set_self(id, *muted, *deafened),
            Call::SetTalking { talking } => self.set_talking(id, *talking),
        };
        let answer = match result {
            Ok(()) => ServerMessage::Success { id: request.id, result: json!({}) },
            Err(error) => ServerMessage::Failure { id: Some(request.id), error },
        };
        out.push(Output::Send(id, answer));
    }

    /// Does what is due: new epochs, and telling everybody what has changed.
    pub fn tick(&mut self, now: Duration, out: &mut Vec<Output>) {
        self.end_lost(now);
        self.rekey(now, out);
        self.tell_news(now, out);
    }

    fn rekey(&mut self, now: Duration, out: &mut Vec<Output>) {
        let due: Vec<_> = self
            .contexts
            .iter()
            .filter(|(_, context)| context.rekey_at.is_some_and(|at| at <= now))
            .map(|(channel, _)| *channel)
            .collect();
        for channel in due {
            let secret = self.secret();
            let listeners = self.sessions_in(channel);
            if let Some(context) = self.contexts.get_mut(&channel) {
                context.epoch = context.epoch.next();
                context.secret = secret;
                context.rekey_at = None;
                let key = context.key(channel, EPOCH_SWITCH_MS);
                out.push(Output::Broadcast(listeners, ServerEvent::ChannelKey(key)));
            }
        }
    }

    /// When [`Hub::tick`] has something to do next.
    pub fn next_deadline(&self) -> Option<Duration> {
        let rekeys = self.contexts.values().filter_map(|context| context.rekey_at);
        rekeys.chain(self.news.values().filter_map(News::due)).chain(self.next_end()).min()
    }

    /// The new routing, if it has changed since the last call.
    pub fn take_routing(&mut self) -> Option<Routing> {
        std::mem::take(&mut self.routing_is_stale).then(|| self.routing())
    }

    /// The connections that came by one of these logins.
    pub fn sessions_by(&self, logins: &HashSet<LoginId>) -> Vec<SessionId> {
        self.sessions_where(|session| logins.contains(&session.login))
    }

    /// The logins by which somebody is connected.
    pub fn logins(&self) -> HashSet<LoginId> {
        self.sessions.values().map(|session| session.login).collect()
    }

    /// By which logins somebody connected since the last call.
    pub fn take_arrived(&mut self) -> HashSet<LoginId> {
        std::mem::take(&mut self.arrived)
    }

    /// How many channels there are, of all organizations.
    pub fn channels(&self) -> usize {
        self.tenants.values().map(Tenant::channel_count).sum()
    }

    /// Everybody connected.
    pub fn everybody(&self) -> Vec<SessionId> {
        self.sessions.keys().copied().collect()
    }

    fn join(
        &mut self,
        id: SessionId,
        channel: ChannelId,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<(), ErrorBody> {
        let session = self.session(id)?;
        let from = session.member.channel;
        if from == Some(channel) {
            return Ok(());
        }
        let permissions = session.in_channels.get(&channel).copied().unwrap_or_default();
        if !permissions.contains(Permissions::VIEW_CHANNEL) {
            return Err(ErrorBody::new(
                ErrorCode::UnknownChannel,
                "there is no such channel: choose one of the list",
            ));
        }
        if !permissions.contains(Permissions::JOIN) {
            let message =
                "you may not join this channel: ask an officer of the organization for the permission";
            return Err(ErrorBody::new(ErrorCode::PermissionDenied, message));
        }
        let most = self.tenants.get(&session.organization).and_then(|tenant| tenant.max_users(channel));
        if most.is_some_and(|most| self.sessions_in(channel).len() >= most as usize) {
            return Err(ErrorBody::new(
                ErrorCode::ChannelFull,
                "the channel is full: try again when somebody left",
            ));
        }
        if !self.contexts.contains_key(&channel) {
            let context = Context {
                id: ContextId(self.next_context),
                epoch: Epoch(0),
                secret: self.secret(),
                rekey_at: None,
            };
            self.next_context = self.next_context.wrapping_add(1);
            self.contexts.insert(channel, context);
        }
        let key = self.contexts[&channel].key(channel, 0);
        out.push(Output::Send(id, ServerMessage::Event(ServerEvent::ChannelKey(key))));
        self.move_to(id, Some(channel));
        if let Some(from) = from {
            self.left(from, now);
        }
        Ok(())
    }

    fn leave(&mut self, id: SessionId, now: Duration) -> Result<(), ErrorBody> {
        if let Some(from) = self.session(id)?.member.channel {
            self.move_to(id, None);
            self.left(from, now);
        }
        Ok(())
    }

    fn set_self(&mut self, id: SessionId, muted: bool, deafened: bool) -> Result<(), ErrorBody> {
        // Who hears nothing does not talk either, as everywhere.
        let muted = muted || deafened;
        let member = &self.session(id)?.member;
        if (member.muted, member.deafened) != (muted, deafened) {
            self.change(id, |member| {
                (member.muted, member.deafened) = (muted, deafened);
                member.talking &= !muted;
            });
            self.routing_is_stale = true;
        }
        Ok(())
    }

    fn set_talking(&mut self, id: SessionId, talking: bool) -> Result<(), ErrorBody> {
        let session = self.session(id)?;
        let Some(channel) = session.member.channel else {
            return Err(ErrorBody::new(ErrorCode::NotInChannel, "you are in no channel: join one first"));
        };
        if talking && !session.may_speak(channel) {
            let message = "you are not heard here: you are muted, or may not speak in this channel";
            return Err(ErrorBody::new(ErrorCode::PermissionDenied, message));
        }
        if session.member.talking != talking {
            self.change(id, |member| member.talking = talking);
        }
        Ok(())
    }

    fn move_to(&mut self, id: SessionId, to: Option<ChannelId>) {
        self.change(id, |member| {
            member.channel = to;
            member.talking = false;
        });
        self.routing_is_stale = true;
    }

    /// Changes a member; the others are told when the time for it comes.
    fn change(&mut self, id: SessionId, change: impl FnOnce(&mut Member)) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let before = Presence::of(&session.member);
        change(&mut session.member);
        self.news.entry(session.organization).or_default().changed(id, before);
    }

    /// Somebody who held a channel's key is gone from it: it needs another, or nobody needs it any more.
    fn left(&mut self, channel: ChannelId, now: Duration) {
        if self.sessions_in(channel).is_empty() {
            self.contexts.remove(&channel);
        } else if let Some(context) = self.contexts.get_mut(&channel) {
            context.rekey_at.get_or_insert(now + Duration::from_millis(REKEY_COALESCE_MS));
        }
    }

    fn routing(&self) -> Routing {
        let mut listeners: HashMap<ChannelId, Vec<Listener>> = HashMap::new();
        for (id, session) in self.sessions.iter().filter(|(_, session)| !session.member.deafened) {
            if let Some(channel) = session.member.channel {
                listeners.entry(channel).or_default().push(Listener { session: *id, seat: session.seat });
            }
        }
        let listeners: HashMap<_, Arc<[_]>> =
            listeners.into_iter().map(|(channel, those)| (channel, those.into())).collect();
        let nobody: Arc<[Listener]> = Arc::new([]);
        let routes = self.sessions.iter().map(|(id, session)| {
            let channel = session.member.channel.filter(|channel| session.may_speak(*channel));
            let route = Route {
                peer: Arc::clone(&session.peer),
                seat: session.seat,
                speaks_into: channel
                    .and_then(|channel| self.contexts.get(&channel))
                    .map(|context| context.id),
                listeners: channel.and_then(|channel| listeners.get(&channel)).unwrap_or(&nobody).clone(),
            };
            (*id, route)
        });
        Routing { routes: routes.collect() }
    }

    fn session(&self, id: SessionId) -> Result<&Session, ErrorBody> {
        self.sessions.get(&id).ok_or_else(ended)
    }

    fn sessions_of(&self, organization: OrganizationId) -> Vec<SessionId> {
        self.sessions_where(|session| session.organization == organization)
    }

    fn sessions_in(&self, channel: ChannelId) -> Vec<SessionId> {
        self.sessions_where(|session| session.member.channel == Some(channel))
    }

    fn sessions_where(&self, holds: impl Fn(&Session) -> bool) -> Vec<SessionId> {
        self.sessions.iter().filter(|(_, session)| holds(session)).map(|(id, _)| *id).collect()
    }

    fn free_session_id(&mut self) -> SessionId {
        loop {
            let id = SessionId(self.next_session);
            self.next_session = self.next_session.wrapping_add(1);
            if id.0 != 0 && !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }

    fn secret<const N: usize>(&mut self) -> Secret<N> {
        let mut bytes = zeroize::Zeroizing::new([0; N]);
        (self.entropy)(&mut *bytes);
        Secret::new(*bytes)
    }
}

impl Session {
    fn sees(&self, channel: ChannelId) -> bool {
        self.in_channels.get(&channel).is_some_and(|held| held.contains(Permissions::VIEW_CHANNEL))
    }

    fn may_speak(&self, channel: ChannelId) -> bool {
        !self.member.muted
            && self.in_channels.get(&channel).is_some_and(|held| held.contains(Permissions::SPEAK))
    }
}

impl Context {
    fn key(&self, channel: ChannelId, switch_after_ms: u64) -> ChannelKey {
        ChannelKey {
            channel,
            context: self.id,
            epoch: self.epoch,
            secret: self.secret.clone(),
            switch_after_ms,
        }
    }
}

fn organization_wide(held: &[HeldRole]) -> Permissions {
    let sum = held.iter().fold(Permissions::empty(), |sum, role| sum | role.permissions);
    if sum.contains(Permissions::ADMINISTRATOR) { Permissions::all() } else { sum }
}

fn ended() -> ErrorBody {
    ErrorBody::new(ErrorCode::Unauthorized, "the connection has ended: connect again")
}

#[path = "resume.rs"]
mod resume;
#[path = "telling.rs"]
mod telling;

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
