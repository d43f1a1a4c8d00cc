#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use voip_protocol::{UserId, control::MembersChange, limits::MAX_MEMBERS_TOLD};

use super::*;

const START: Duration = Duration::ZERO;
const GENERAL: ChannelId = ChannelId(1);
const OTHER: ChannelId = ChannelId(2);

fn hub(tenant: Tenant) -> Hub {
    let mut counter = 0u64;
    let entropy = move |bytes: &mut [u8]| {
        for byte in bytes {
            counter = counter.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (counter >> 56) as u8;
        }
    };
    Hub::new(vec![tenant], 9001, Box::new(entropy))
}

fn connect(hub: &mut Hub, user: i64) -> SessionId {
    let account = Account {
        id: UserId(user),
        organization_id: OrganizationId(1),
        username: format!("user{user}"),
        display_name: format!("User {user}"),
    };
    let login = LoginId(uuid::Uuid::from_u128(user as u128));
    hub.connect(Visitor { login, account, roles: vec![RoleId(1)] }, &mut Vec::new()).unwrap()
}

fn call(hub: &mut Hub, id: SessionId, call: Call, now: Duration) -> (Result<(), ErrorCode>, Vec<Output>) {
    let mut out = Vec::new();
    hub.call(id, &Request { id: 1, call }, now, &mut out);
    let answers: Vec<_> = out
        .iter()
        .filter_map(|output| match output {
            Output::Send(to, ServerMessage::Success { id: 1, .. }) if *to == id => Some(Ok(())),
            Output::Send(to, ServerMessage::Failure { id: Some(1), error }) if *to == id => {
                Some(Err(error.code))
            }
            _ => None,
        })
        .collect();
    assert_eq!(answers.len(), 1, "exactly one answer: {out:?}");
    (answers[0], out)
}

fn join(hub: &mut Hub, id: SessionId, channel: ChannelId) -> Result<(), ErrorCode> {
    call(hub, id, Call::Join { channel }, START).0
}

fn listeners(hub: &mut Hub, talker: SessionId) -> (bool, Vec<SessionId>) {
    let routing = hub.routing();
    let route = &routing.routes[&talker];
    let others = route.listeners.iter().map(|listener| listener.session).filter(|id| *id != talker).collect();
    (route.speaks_into.is_some(), others)
}

fn keys(outputs: &[Output]) -> Vec<(Vec<SessionId>, ChannelKey)> {
    let keys = outputs.iter().filter_map(|output| match output {
        Output::Send(to, ServerMessage::Event(ServerEvent::ChannelKey(key))) => {
            Some((vec![*to], key.clone()))
        }
        Output::Broadcast(to, ServerEvent::ChannelKey(key)) => Some((to.clone(), key.clone())),
        _ => None,
    });
    keys.collect()
}

#[test]
fn a_login_is_known_by_its_connections() {
    let mut hub = hub(Tenant::example());
    let (one, other) = (connect(&mut hub, 1), connect(&mut hub, 2));
    let login = |number| LoginId(uuid::Uuid::from_u128(number));
    assert_eq!(hub.sessions_by(&[login(1), login(9)].into()), [one]);
    assert_eq!(hub.logins(), [login(1), login(2)].into());
    hub.disconnect(other, Duration::ZERO);
    assert_eq!(hub.logins(), [login(1)].into());
}

#[test]
fn those_in_a_channel_hear_each_other() {
    let mut hub = hub(Tenant::example());
    let [a, b, c, d] = [1, 2, 3, 4].map(|user| connect(&mut hub, user));
    for id in [a, b, c] {
        join(&mut hub, id, GENERAL).unwrap();
    }
    join(&mut hub, d, OTHER).unwrap();
    assert_eq!(listeners(&mut hub, a), (true, vec![b, c]));
    assert_eq!(listeners(&mut hub, d), (true, vec![]));
    call(&mut hub, b, Call::SetSelf { muted: true, deafened: false }, START).0.unwrap();
    assert!(!listeners(&mut hub, b).0);
    call(&mut hub, c, Call::SetSelf { muted: false, deafened: true }, START).0.unwrap();
    assert_eq!(listeners(&mut hub, a), (true, vec![b]));
    assert!(!listeners(&mut hub, c).0);
    call(&mut hub, b, Call::Leave {}, START).0.unwrap();
    assert_eq!(listeners(&mut hub, a), (true, vec![]));
}

#[test]
fn leaves_within_a_second_share_one_new_epoch() {
    let mut hub = hub(Tenant::example());
    let [a, b, c] = [1, 2, 3].map(|user| connect(&mut hub, user));
    let first = keys(&call(&mut hub, a, Call::Join { channel: OTHER }, START).1).remove(0).1;
    let second = keys(&call(&mut hub, b, Call::Join { channel: OTHER }, START).1).remove(0).1;
    assert_eq!((first.epoch, &first.secret), (second.epoch, &second.secret));
    join(&mut hub, c, OTHER).unwrap();
    let ms = Duration::from_millis;
    call(&mut hub, b, Call::Leave {}, ms(100)).0.unwrap();
    let mut out = Vec::new();
    hub.disconnect(c, ms(600));
    hub.tick(ms(600), &mut out);
    assert_eq!(hub.next_deadline(), Some(ms(1_100)));
    hub.tick(ms(1_099), &mut out);
    assert!(keys(&out).is_empty());
    hub.tick(ms(1_100), &mut out);
    let renewed = keys(&out);
    assert_eq!(renewed.len(), 1);
    assert_eq!(renewed[0].0, [a]);
    assert_eq!(renewed[0].1.epoch, first.epoch.next());
    assert_ne!(renewed[0].1.secret, first.secret);
    assert_eq!(hub.next_deadline(), None);
}

#[test]
fn an_empty_channel_forgets_its_key() {
    let mut hub = hub(Tenant::example());
    let a = connect(&mut hub, 1);
    let first = keys(&call(&mut hub, a, Call::Join { channel: OTHER }, START).1).remove(0).1;
    call(&mut hub, a, Call::Leave {}, START).0.unwrap();
    hub.tick(START, &mut Vec::new());
    assert_eq!(hub.next_deadline(), None);
    let second = keys(&call(&mut hub, a, Call::Join { channel: OTHER }, START).1).remove(0).1;
    assert_ne!(first.secret, second.secret);
    assert_ne!(first.context, second.context);
}

#[test]
fn refusals_have_their_codes() {
    let mut hub = hub(Tenant::example()
        .with_acl(2, Permissions::empty(), Permissions::VIEW_CHANNEL)
        .with_acl(1, Permissions::empty(), Permissions::SPEAK));
    let ids = [1, 2, 3, 4].map(|user| connect(&mut hub, user));
    assert_eq!(join(&mut hub, ids[0], OTHER), Err(ErrorCode::UnknownChannel));
    assert_eq!(join(&mut hub, ids[0], ChannelId(99)), Err(ErrorCode::UnknownChannel));
    let talk = Call::SetTalking { talking: true };
    assert_eq!(call(&mut hub, ids[0], talk.clone(), START).0, Err(ErrorCode::NotInChannel));
    for id in &ids[..3] {
        join(&mut hub, *id, GENERAL).unwrap();
    }
    assert_eq!(join(&mut hub, ids[3], GENERAL), Err(ErrorCode::ChannelFull));
    assert_eq!(call(&mut hub, ids[0], talk, START).0, Err(ErrorCode::PermissionDenied));
    assert!(!listeners(&mut hub, ids[0]).0);
}

#[test]
fn nobody_learns_of_a_channel_they_may_not_see() {
    // Role 1 sees channel 2, role-less visitors see nothing.
    let mut hub = hub(Tenant::example());
    let member = connect(&mut hub, 1);
    let account = Account {
        id: UserId(2),
        organization_id: OrganizationId(1),
        username: "guest".into(),
        display_name: "Guest".into(),
    };
    let guest = hub
        .connect(Visitor { login: LoginId(uuid::Uuid::nil()), account, roles: vec![] }, &mut Vec::new())
        .unwrap();
    hub.tick(START, &mut Vec::new());
    let mut told = |what, now| {
        call(&mut hub, member, what, now).0.unwrap();
        let mut out = Vec::new();
        hub.tick(now, &mut out);
        let told = out.iter().filter_map(|output| match output {
            Output::Broadcast(to, ServerEvent::Members(change)) if to.contains(&guest) => {
                Some(change.clone())
            }
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    let second = Duration::from_secs;
    assert!(
        told(Call::Join { channel: OTHER }, second(1)).is_empty(),
        "from nowhere to where nothing is seen"
    );
    assert!(told(Call::SetTalking { talking: true }, second(2)).is_empty());
    let muted = told(Call::SetSelf { muted: true, deafened: false }, second(3));
    assert_eq!(muted.len(), 1);
    assert_eq!((muted[0].changed[0].muted, muted[0].changed[0].channel), (true, None));
}

#[test]
fn what_happens_in_quick_succession_is_told_once() {
    let mut hub = hub(Tenant::example());
    let [a, b] = [1, 2].map(|user| connect(&mut hub, user));
    let mut out = Vec::new();
    hub.tick(START, &mut out);
    let due = hub.next_deadline();
    assert_eq!(due, None, "all is told at once where nothing was told before");
    join(&mut hub, a, GENERAL).unwrap();
    call(&mut hub, a, Call::SetTalking { talking: true }, START).0.unwrap();
    call(&mut hub, a, Call::SetTalking { talking: false }, START).0.unwrap();
    hub.disconnect(b, START);
    out.clear();
    hub.tick(START, &mut out);
    assert!(changes(&out, a).is_empty(), "a moment after the first");
    let due = hub.next_deadline().unwrap();
    assert!(due <= Duration::from_millis(1), "two are told soon: {due:?}");
    hub.tick(due, &mut out);
    let told = changes(&out, a);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].gone, [b]);
    assert_eq!(told[0].changed.len(), 1);
    assert_eq!((told[0].changed[0].channel, told[0].changed[0].talking), (Some(GENERAL), false));
}

#[test]
fn many_members_come_in_parts_that_fit_a_message() {
    let mut hub = hub(Tenant::example());
    let many = 2 * MAX_MEMBERS_TOLD + 7;
    for user in 0..many {
        connect(&mut hub, user as i64);
    }
    let account = Account {
        id: UserId(9_999),
        organization_id: OrganizationId(1),
        username: "last".into(),
        display_name: "Last".into(),
    };
    let mut out = Vec::new();
    let login = LoginId(uuid::Uuid::nil());
    let last = hub.connect(Visitor { login, account, roles: vec![RoleId(1)] }, &mut out).unwrap();
    let [Output::Begin(to, messages)] = &out[..] else { panic!("{out:?}") };
    assert_eq!(*to, last);
    let parts: Vec<_> = messages
        .iter()
        .map(|message| match message {
            ServerMessage::Event(ServerEvent::Snapshot(snapshot)) => {
                assert_eq!(snapshot.members[0].session, last, "oneself comes first");
                snapshot.members.len()
            }
            ServerMessage::Event(ServerEvent::Members(change)) => change.changed.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(parts, [MAX_MEMBERS_TOLD, MAX_MEMBERS_TOLD, 8]);
}

/// What one is told of the others.
fn changes(out: &[Output], viewer: SessionId) -> Vec<MembersChange> {
    let changes = out.iter().filter_map(|output| match output {
        Output::Broadcast(to, ServerEvent::Members(change)) if to.contains(&viewer) => Some(change.clone()),
        _ => None,
    });
    changes.collect()
}

#[derive(Clone, Debug)]
enum Step {
    Connect,
    Disconnect(usize),
    Call(usize, Call),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Step> {
    let calls = prop_oneof![
        (0i64..5).prop_map(|channel| Call::Join { channel: ChannelId(channel) }),
        Just(Call::Leave {}),
        any::<(bool, bool)>().prop_map(|(muted, deafened)| Call::SetSelf { muted, deafened }),
        any::<bool>().prop_map(|talking| Call::SetTalking { talking }),
    ];
    prop_oneof![
        1 => Just(Step::Connect),
        1 => (0usize..8).prop_map(Step::Disconnect),
        6 => (0usize..8, calls).prop_map(|(who, call)| Step::Call(who, call)),
        1 => (0u64..1500).prop_map(Step::Wait),
    ]
}

/// What a viewer knows by what it was told.
#[derive(Default)]
struct Replica(BTreeMap<SessionId, Member>);

impl Replica {
    fn told(&mut self, out: &[Output], viewer: SessionId) {
        for output in out {
            match output {
                Output::Begin(to, messages) if *to == viewer => {
                    for message in messages {
                        match message {
                            ServerMessage::Event(ServerEvent::Snapshot(snapshot)) => {
                                self.apply(MembersChange {
                                    changed: snapshot.members.clone(),
                                    gone: Vec::new(),
                                });
                            }
                            ServerMessage::Event(ServerEvent::Members(change)) => self.apply(change.clone()),
                            other => panic!("{other:?}"),
                        }
                    }
                }
                Output::Broadcast(to, ServerEvent::Members(change)) if to.contains(&viewer) => {
                    self.apply(change.clone());
                }
                _ => {}
            }
        }
    }

    fn apply(&mut self, change: MembersChange) {
        self.0.retain(|id, _| !change.gone.contains(id));
        self.0.extend(change.changed.into_iter().map(|member| (member.session, member)));
    }
}

proptest! {
    /// Whatever happens, and however it is told together, everybody knows in the end what they may see.
    #[test]
    fn everybody_is_told_what_they_may_see(steps in proptest::collection::vec(steps(), 0..60)) {
        let mut hub = hub(Tenant::example().with_acl(2, Permissions::empty(), Permissions::VIEW_CHANNEL));
        let mut replicas: Vec<(SessionId, Replica)> = Vec::new();
        let mut now = START;
        for (number, step) in steps.into_iter().enumerate() {
            let mut out = Vec::new();
            match step {
                Step::Connect => {
                    let account = Account {
                        id: UserId(number as i64),
                        organization_id: OrganizationId(1),
                        username: format!("user{number}"),
                        display_name: format!("User {number}"),
                    };
                    let login = LoginId(uuid::Uuid::from_u128(number as u128));
                    // Every other one may see nothing.
                    let roles = if number % 2 == 0 { vec![RoleId(1)] } else { vec![] };
                    let id = hub.connect(Visitor { login, account, roles }, &mut out).unwrap();
                    replicas.push((id, Replica::default()));
                }
                Step::Disconnect(who) if who < replicas.len() => {
                    hub.disconnect(replicas.remove(who).0, now);
                }
                Step::Call(who, what) if who < replicas.len() => {
                    hub.call(replicas[who].0, &Request { id: 1, call: what }, now, &mut out);
                }
                Step::Wait(ms) => {
                    now += Duration::from_millis(ms);
                    hub.tick(now, &mut out);
                }
                _ => {}
            }
            for (id, replica) in &mut replicas {
                replica.told(&out, *id);
            }
        }
        let mut out = Vec::new();
        hub.tick(now + Duration::from_secs(60), &mut out);
        for (id, mut replica) in replicas {
            replica.told(&out, id);
            let session = &hub.sessions[&id];
            let seen = hub.sessions.values().map(|other| (other.member.session, session.view_of(&other.member)));
            prop_assert_eq!(replica.0, seen.collect::<BTreeMap<_, _>>());
        }
    }

    /// Whatever happens, a packet goes only from somebody who may speak to those who are in the same channel.
    #[test]
    fn routes_follow_the_state(steps in proptest::collection::vec(steps(), 0..60)) {
        let mut hub = hub(Tenant::example().with_acl(3, Permissions::empty(), Permissions::SPEAK));
        let mut connected: Vec<SessionId> = Vec::new();
        let (mut now, mut most) = (START, 0);
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Connect => connected.push(connect(&mut hub, number as i64)),
                Step::Disconnect(who) if who < connected.len() => {
                    hub.disconnect(connected.remove(who), now);
                }
                Step::Call(who, what) if who < connected.len() => {
                    let _ = call(&mut hub, connected[who], what, now);
                }
                Step::Wait(ms) => {
                    now += Duration::from_millis(ms);
                    hub.tick(now, &mut Vec::new());
                }
                _ => {}
            }
            let routing = hub.routing();
            prop_assert_eq!(routing.routes.len(), connected.len());
            // Each has a seat of its own, in a row that is no longer than it ever had to be.
            most = most.max(connected.len());
            let seats: BTreeSet<_> = routing.routes.values().map(|route| route.seat.index()).collect();
            prop_assert_eq!(seats.len(), connected.len());
            prop_assert!(seats.last().is_none_or(|last| *last < most));
            for (id, route) in &routing.routes {
                let session = &hub.sessions[id];
                let channel = session.member.channel;
                let may = channel.is_some_and(|channel| channel != ChannelId(3)) && !session.member.muted;
                prop_assert_eq!(route.speaks_into.is_some(), may);
                prop_assert!(may || !session.member.talking);
                for listener in &*route.listeners {
                    let other = &hub.sessions[&listener.session].member;
                    prop_assert_eq!(other.channel, channel);
                    prop_assert!(!other.deafened);
                    prop_assert_eq!(listener.seat, routing.routes[&listener.session].seat);
                }
            }
            // Every context has somebody in it, and every channel with somebody in it has one.
            for channel in hub.contexts.keys() {
                prop_assert!(!hub.sessions_in(*channel).is_empty());
            }
            for session in hub.sessions.values() {
                prop_assert!(session.member.channel.is_none_or(|channel| hub.contexts.contains_key(&channel)));
            }
        }
    }
}
