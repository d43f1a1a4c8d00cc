//! A session may outlive its connection for a while: the client that comes back in time finds everything as it was,
//! and nobody else notices. Its voice goes on all the while, as that does not take the connection.

use std::time::Duration;

use voip_protocol::{
    LoginId, SessionId,
    control::{ServerEvent, ServerMessage},
    limits::SESSION_GRACE_MS,
};

use super::{Hub, Output};

impl Hub {
    /// The client of a session knows how to come back.
    pub fn keep(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.keep = true;
        }
    }

    /// A connection is gone without a word: the session waits for its client, if that can come back.
    pub fn lose(&mut self, id: SessionId, now: Duration) {
        match self.sessions.get_mut(&id) {
            Some(session) if session.keep => {
                session.ends_at = Some(now + Duration::from_millis(SESSION_GRACE_MS));
            }
            _ => self.disconnect(id, now),
        }
    }

    /// A client is back, by the login that the session began with: it gets a snapshot with the same session and keys,
    /// and the key of the channel that it is in. False if there is no such session any more.
    pub fn resume(&mut self, id: SessionId, login: LoginId, out: &mut Vec<Output>) -> bool {
        let Some(session) = self.sessions.get_mut(&id).filter(|session| session.login == login) else {
            return false;
        };
        session.ends_at = None;
        self.arrived.insert(login);
        let (organization, channel) = (session.organization, session.member.channel);
        self.send_snapshot(id, out);
        self.news.entry(organization).or_default().resumed(id);
        if let Some(channel) = channel
            && let Some(context) = self.contexts.get(&channel)
        {
            let key = context.key(channel, 0);
            out.push(Output::Send(id, ServerMessage::Event(ServerEvent::ChannelKey(key))));
        }
        true
    }

    /// Ends the sessions whose clients did not come back.
    pub(super) fn end_lost(&mut self, now: Duration) {
        for id in self.sessions_where(|session| session.ends_at.is_some_and(|at| at <= now)) {
            self.disconnect(id, now);
        }
    }

    /// When [`Hub::end_lost`] has something to do next.
    pub(super) fn next_end(&self) -> Option<Duration> {
        self.sessions.values().filter_map(|session| session.ends_at).min()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use voip_protocol::{
        ChannelId, OrganizationId, RoleId, UserId,
        control::{Account, Call, Request},
    };

    use super::{
        super::{Tenant, Visitor},
        *,
    };

    const GENERAL: ChannelId = ChannelId(1);
    const GRACE: Duration = Duration::from_millis(SESSION_GRACE_MS);

    fn login(user: i64) -> LoginId {
        LoginId(uuid::Uuid::from_u128(user as u128))
    }

    /// Two in a channel; the first one's client can come back.
    fn two() -> (Hub, SessionId, SessionId) {
        let mut hub = Hub::new(vec![Tenant::example()], 9001, Box::new(|bytes| bytes.fill(7)));
        let [a, b] = [1, 2].map(|user| {
            let account = Account {
                id: UserId(user),
                organization_id: OrganizationId(1),
                username: format!("user{user}"),
                display_name: String::new(),
            };
            let visitor = Visitor { login: login(user), account, roles: vec![RoleId(1)] };
            let id = hub.connect(visitor, &mut Vec::new()).unwrap();
            let request = Request { id: 1, call: Call::Join { channel: GENERAL } };
            hub.call(id, &request, Duration::ZERO, &mut Vec::new());
            id
        });
        hub.keep(a);
        hub.tick(Duration::ZERO, &mut Vec::new());
        hub.take_routing();
        (hub, a, b)
    }

    fn is_told(out: &[Output], of: SessionId) -> bool {
        out.iter().any(|output| {
            matches!(output, Output::Broadcast(_, ServerEvent::Members(change)) if change.gone.contains(&of))
        })
    }

    #[test]
    fn who_comes_back_in_time_was_never_away() {
        let (mut hub, a, _) = two();
        let mut out = Vec::new();
        hub.lose(a, Duration::ZERO);
        assert_eq!(hub.next_deadline(), Some(GRACE));
        hub.tick(GRACE.checked_sub(Duration::from_millis(1)).unwrap(), &mut out);
        assert!(out.is_empty() && hub.take_routing().is_none(), "its voice goes on");
        assert!(!hub.resume(a, login(2), &mut out) && out.is_empty(), "another's login");
        hub.take_arrived();
        assert!(hub.resume(a, login(1), &mut out));
        assert_eq!(hub.take_arrived(), [login(1)].into(), "that is a use of the login");
        assert!(hub.next_deadline().is_none());
        let [
            Output::Begin(first, begin),
            Output::Send(second, ServerMessage::Event(ServerEvent::ChannelKey(key))),
        ] = &out[..]
        else {
            panic!("{out:?}")
        };
        let [ServerMessage::Event(ServerEvent::Snapshot(snapshot))] = &begin[..] else { panic!("{begin:?}") };
        assert_eq!((*first, *second, snapshot.session, key.channel), (a, a, a, GENERAL));
        assert_eq!(
            snapshot.members.iter().find(|member| member.session == a).unwrap().channel,
            Some(GENERAL)
        );
    }

    #[test]
    fn who_does_not_is_gone_and_the_others_are_told() {
        let (mut hub, a, b) = two();
        let mut out = Vec::new();
        hub.lose(a, Duration::ZERO);
        hub.tick(GRACE, &mut out);
        assert!(is_told(&out, a) && hub.take_routing().is_some());
        assert!(!hub.resume(a, login(1), &mut out));
        // One whose client knows nothing of this is gone at once.
        hub.lose(b, GRACE);
        hub.tick(2 * GRACE, &mut out);
        assert!(hub.sessions.is_empty() && hub.next_deadline().is_none());
    }
}
