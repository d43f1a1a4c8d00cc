#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use voip_protocol::UserId;

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
    let others = route.listeners.iter().map(|peer| peer.session).filter(|id| *id != talker).collect();
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
    hub.disconnect(other, Duration::ZERO, &mut Vec::new());
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
    hub.disconnect(c, ms(600), &mut out);
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
    let (_, out) = call(&mut hub, member, Call::Join { channel: OTHER }, START);
    let told: Vec<_> = out
        .iter()
        .filter_map(|output| match output {
            Output::Broadcast(to, ServerEvent::Room(RoomChange::MemberMoved { channel, .. })) => {
                to.contains(&guest).then_some(*channel)
            }
            _ => None,
        })
        .collect();
    assert_eq!(told, [None]);
    let (_, out) = call(&mut hub, member, Call::SetTalking { talking: true }, START);
    for output in &out {
        if let Output::Broadcast(to, _) = output {
            assert!(!to.contains(&guest));
        }
    }
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

proptest! {
    /// Whatever happens, a packet goes only from somebody who may speak to those who are in the same channel.
    #[test]
    fn routes_follow_the_state(steps in proptest::collection::vec(steps(), 0..60)) {
        let mut hub = hub(Tenant::example().with_acl(3, Permissions::empty(), Permissions::SPEAK));
        let mut connected: Vec<SessionId> = Vec::new();
        let mut now = START;
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Connect => connected.push(connect(&mut hub, number as i64)),
                Step::Disconnect(who) if who < connected.len() => {
                    hub.disconnect(connected.remove(who), now, &mut Vec::new());
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
