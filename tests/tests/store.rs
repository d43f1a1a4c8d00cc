//! The repositories behave alike on SQLite and on PostgreSQL.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;
use voip_protocol::{ChannelId, LoginId, OrganizationId, Permissions, RoleId, UserId};
use voip_server::{
    Store, StoreError,
    store::{
        AuditEntry, AuditFilter, ChannelFields, NewLogin, NewUser, OrganizationFields, REGISTERED,
        Transaction, UserFilter,
    },
};
use voip_tests::{client::LIMIT, on_both, wait};

/// Writes in a transaction of its own: `write!(store, transaction => transaction.create_role(…))`
macro_rules! write {
    ($store:expr, $transaction:ident => $body:expr) => {{
        let mut $transaction = $store.begin().await.unwrap();
        let result = $body.await;
        if result.is_ok() {
            $transaction.commit().await.unwrap();
        } else {
            drop($transaction);
        }
        result
    }};
}

/// A moment of the tests' own; the store has no clock.
fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn entry(organization: OrganizationId, action: &'static str) -> AuditEntry<'static> {
    AuditEntry {
        organization: Some(organization),
        actor: None,
        action,
        resource: "user:somebody",
        details: json!({ "why": "test ✓" }),
        ip_address: Some("192.0.2.7"),
    }
}

fn new_user(organization: OrganizationId, username: &str) -> NewUser<'_> {
    NewUser {
        organization,
        username,
        display_name: username,
        email: None,
        password_hash: "hash",
        active: true,
        created_via: "admin",
        roles: &[],
    }
}

async fn organization(store: &Store, tag: &str) -> OrganizationId {
    write!(store, transaction => transaction.create_organization(OrganizationFields::new("Some", tag), now()))
        .unwrap()
}

async fn user(store: &Store, organization: OrganizationId, username: &str) -> UserId {
    let created = entry(organization, "user_created");
    write!(store, transaction => transaction.create_user(new_user(organization, username), &created, now()))
        .unwrap()
}

async fn role(store: &Store, organization: OrganizationId, name: &str, priority: i64) -> RoleId {
    write!(store, transaction => transaction.create_role(organization, name, Permissions::SPEAK, priority))
        .unwrap()
}

async fn channel(store: &Store, organization: OrganizationId, fields: ChannelFields<'_>) -> ChannelId {
    write!(store, transaction => transaction.create_channel(organization, fields)).unwrap()
}

fn named(name: &str) -> ChannelFields<'_> {
    ChannelFields { name, ..ChannelFields::default() }
}

async fn login(store: &Store, user: UserId, number: u8, device: Option<&str>) -> LoginId {
    let id = LoginId(Uuid::from_u128(u128::from(number)));
    let login = NewLogin {
        id,
        user,
        access_jti: jti(number),
        token_hash: [number; 32],
        device_name: Some("Laptop"),
        device_id: device,
        ip_address: Some("2001:db8::1"),
        user_agent: Some("test/1"),
        expires_at: now() + Duration::days(30),
    };
    let organization = store.user(user).await.unwrap().unwrap().organization();
    let audit = entry(organization, "login");
    // Each a second later than the one before.
    write!(store, transaction => {
        transaction.create_login(&login, &audit, now() + Duration::seconds(number.into()))
    })
    .unwrap();
    id
}

fn jti(number: u8) -> Uuid {
    Uuid::from_u128(1_000 + u128::from(number))
}

on_both!(organizations, async |database| {
    let store = database.store().await;
    let first = organization(&store, "ONE").await;
    let again = OrganizationFields::new("Other", "one");
    let error = write!(store, transaction => transaction.create_organization(again, now())).unwrap_err();
    assert!(matches!(error, StoreError::Duplicate), "tags do not depend on case: {error:?}");
    for number in 2..=5 {
        organization(&store, &format!("N{number}")).await;
    }
    let found = store.organization_by_tag("oNe").await.unwrap().unwrap();
    assert_eq!((found.id(), found.tag.as_str(), found.owner()), (first, "ONE", None));
    let ids = |rows: Vec<voip_server::store::OrganizationRow>| -> Vec<_> {
        rows.iter().map(voip_server::store::OrganizationRow::id).collect()
    };
    let all = ids(store.organizations().await.unwrap());
    assert_eq!(all.len(), 5);
    assert_eq!(ids(store.organizations_page(OrganizationId(0), 2).await.unwrap()), all[..2]);
    assert_eq!(ids(store.organizations_page(all[1], 10).await.unwrap()), all[2..]);
    assert!(store.organizations_page(OrganizationId(i64::MAX), 10).await.unwrap().is_empty());

    let owner = user(&store, first, "owner").await;
    write!(store, transaction => transaction.set_owner(first, owner)).unwrap();
    let fields =
        OrganizationFields { max_users: 3, max_channels: 4, ..OrganizationFields::new("Renamed", "Uno") };
    assert!(write!(store, transaction => transaction.update_organization(first, fields, now())).unwrap());
    let found = store.organization(first).await.unwrap().unwrap();
    assert_eq!((found.name.as_str(), found.max_users, found.max_channels), ("Renamed", 3, 4));
    assert_eq!(found.owner(), Some(owner));
    assert!(store.organization_by_tag("one").await.unwrap().is_none());
    let taken = OrganizationFields::new("Renamed", "n2");
    let error =
        write!(store, transaction => transaction.update_organization(first, taken, now())).unwrap_err();
    assert!(matches!(error, StoreError::Duplicate), "{error:?}");
    let none = OrganizationId(999);
    assert!(!write!(store, transaction => transaction.update_organization(none, fields, now())).unwrap());
    assert!(!write!(store, transaction => transaction.delete_organization(none)).unwrap());
    assert!(store.organization(none).await.unwrap().is_none());
});

// Nothing of a deleted organization stays, and nothing of another goes with it.
on_both!(an_organization_goes_with_all_that_is_in_it, async |database| {
    let store = database.store().await;
    for tag in ["GONE", "STAYS"] {
        let organization = organization(&store, tag).await;
        let alice = user(&store, organization, "alice").await;
        let member = role(&store, organization, "Member", 1).await;
        write!(store, transaction => transaction.give_role(alice, member)).unwrap();
        let parent = channel(&store, organization, named("Parent")).await;
        let child = ChannelFields { parent: Some(parent), ..named("Child") };
        channel(&store, organization, child).await;
        let (none, speak) = (Permissions::empty(), Permissions::SPEAK);
        write!(store, transaction => transaction.set_acl(parent, member, none, speak)).unwrap();
        let number = tag.len() as u8;
        login(&store, alice, number, None).await;
        let rotated = write!(store, transaction => transaction.rotate_tokens(
            &[number; 32], &[number + 100; 32], jti(number + 100), now() + Duration::days(9), now()
        ));
        assert!(rotated.unwrap().is_some());
    }
    let (gone, stays) = (
        store.organization_by_tag("GONE").await.unwrap().unwrap().id(),
        store.organization_by_tag("STAYS").await.unwrap().unwrap().id(),
    );
    let guest = store.user_by_name(gone, "alice").await.unwrap().unwrap().id();
    write!(store, transaction => transaction.add_membership(guest, stays)).unwrap();
    assert!(write!(store, transaction => transaction.delete_organization(gone)).unwrap());
    for (table, left) in [
        ("organizations", 1),
        ("users", 1),
        ("user_organizations", 0),
        ("roles", 1),
        ("user_roles", 1),
        ("channels", 2),
        ("channel_acl", 1),
        ("sessions", 1),
        ("spent_tokens", 1),
        ("audit_log", 2),
    ] {
        assert_eq!(database.count(&format!("SELECT COUNT(*) FROM {table}")).await, left, "{table}");
    }
});

on_both!(users, async |database| {
    let store = database.store().await;
    let (here, there) = (organization(&store, "HERE").await, organization(&store, "THERE").await);
    let member = role(&store, here, "Member", 1).await;
    let zoe = NewUser {
        display_name: "Zoë ✓",
        email: Some("zoe@example.org"),
        created_via: REGISTERED,
        roles: &[member],
        ..new_user(here, "Zoë")
    };
    let created = entry(here, "user_created");
    let zoe = write!(store, transaction => transaction.create_user(zoe, &created, now())).unwrap();
    for same in ["Zoë", "zoë", "ZOË"] {
        let error =
            write!(store, transaction => transaction.create_user(new_user(here, same), &created, now()))
                .unwrap_err();
        assert!(matches!(error, StoreError::Duplicate), "{same}: {error:?}");
        assert_eq!(store.user_by_name(here, same).await.unwrap().unwrap().id(), zoe);
    }
    assert_eq!(store.count_users(here, UserFilter::default()).await.unwrap(), 1, "nothing half-written");
    assert!(store.user_by_name(there, "zoë").await.unwrap().is_none());
    let elsewhere = user(&store, there, "zoë").await;
    assert_ne!(elsewhere, zoe);

    let row = store.user(zoe).await.unwrap().unwrap();
    assert_eq!((row.username.as_str(), row.display_name.as_str()), ("Zoë", "Zoë ✓"));
    assert_eq!(
        (row.email.as_deref(), row.active, row.created_via.as_str()),
        (Some("zoe@example.org"), true, REGISTERED)
    );
    assert_eq!((row.created_at, row.last_login, row.locked_until), (now(), None, None));
    assert_eq!(store.roles_of(zoe).await.unwrap()[0].id(), member);
    let audit = store.audit_page(here, &AuditFilter::default(), 10).await.unwrap();
    assert_eq!(
        (audit.len(), audit[0].actor_id, audit[0].actor_name.as_deref()),
        (1, Some(zoe.0), Some("Zoë")),
        "who registers did it by themselves"
    );

    let later = now() + Duration::hours(1);
    assert!(write!(store, transaction => transaction.update_profile(zoe, "Z", None, later)).unwrap());
    assert!(write!(store, transaction => transaction.set_active(zoe, false, later)).unwrap());
    assert!(
        !write!(store, transaction => transaction.set_active(zoe, false, later)).unwrap(),
        "it was that already"
    );
    assert!(
        write!(store, transaction => transaction.logged_in(zoe, "hash", later)).unwrap().is_none(),
        "it is not active"
    );
    assert!(write!(store, transaction => transaction.set_active(zoe, true, later)).unwrap());
    assert!(write!(store, transaction => transaction.set_password(zoe, "other", later)).unwrap());
    assert!(
        write!(store, transaction => transaction.logged_in(zoe, "hash", later)).unwrap().is_none(),
        "the hash is old"
    );
    assert_eq!(
        write!(store, transaction => transaction.logged_in(zoe, "other", later)).unwrap(),
        Some(vec![member])
    );
    write!(store, transaction => transaction.rehash(zoe, "hash", "lost")).unwrap();
    write!(store, transaction => transaction.rehash(zoe, "other", "stronger")).unwrap();
    let row = store.user(zoe).await.unwrap().unwrap();
    assert_eq!((row.display_name.as_str(), row.email, row.password_hash.as_str()), ("Z", None, "stronger"));
    assert_eq!((row.password_changed_at, row.last_login), (later, Some(later)));

    let nobody = UserId(i64::MAX);
    assert!(store.user(nobody).await.unwrap().is_none() && store.user(UserId(-1)).await.unwrap().is_none());
    assert!(!write!(store, transaction => transaction.update_profile(nobody, "Z", None, later)).unwrap());
    assert!(!write!(store, transaction => transaction.set_active(nobody, false, later)).unwrap());
    assert!(!write!(store, transaction => transaction.set_password(nobody, "x", later)).unwrap());
    assert!(!write!(store, transaction => transaction.delete_user(nobody)).unwrap());
    let homeless = new_user(OrganizationId(999), "homeless");
    let error = write!(store, transaction => transaction.create_user(homeless, &created, now())).unwrap_err();
    assert!(matches!(error, StoreError::MissingParent), "{error:?}");
    let with_no_such_role = NewUser { roles: &[RoleId(999)], ..new_user(here, "roleless") };
    let error = write!(store, transaction => transaction.create_user(with_no_such_role, &created, now()))
        .unwrap_err();
    assert!(matches!(error, StoreError::MissingParent), "{error:?}");
    assert!(store.user_by_name(here, "roleless").await.unwrap().is_none(), "nothing half-written");

    assert!(write!(store, transaction => transaction.delete_user(zoe)).unwrap());
    assert!(store.user(zoe).await.unwrap().is_none());
    let audit = store.audit_page(here, &AuditFilter::default(), 10).await.unwrap();
    assert_eq!((audit.len(), audit[0].actor_id), (1, None), "what it did is remembered");
});

on_both!(users_by_page_and_filter, async |database| {
    let store = database.store().await;
    let (here, there) = (organization(&store, "HERE").await, organization(&store, "THERE").await);
    for number in 0..25 {
        user(&store, if number % 5 == 4 { there } else { here }, &format!("User{number:02}")).await;
    }
    let special = NewUser { display_name: "100% Élan_!", ..new_user(here, "a_b") };
    let created = entry(here, "user_created");
    write!(store, transaction => transaction.create_user(special, &created, now())).unwrap();
    let disabled = store.user_by_name(here, "user00").await.unwrap().unwrap().id();
    write!(store, transaction => transaction.set_active(disabled, false, now())).unwrap();

    let (mut seen, mut after) = (Vec::new(), UserId(0));
    loop {
        let page = store.users_page(here, UserFilter::default(), after, 8).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.id();
        seen.extend(page.iter().map(voip_server::store::UserRow::id));
    }
    assert_eq!(seen.len(), 21);
    assert!(seen.is_sorted());
    for (search, active, expected) in [
        (None, None, 21),
        (None, Some(false), 1),
        (None, Some(true), 20),
        (Some("USER0"), None, 8),
        (Some("user0"), Some(true), 7),
        (Some("r1"), None, 8),
        (Some("_"), None, 1),
        (Some("%"), None, 1),
        (Some("!"), None, 1),
        (Some("élan"), None, 1),
        (Some("ÉLAN"), None, 1),
        (Some("\\"), None, 0),
        (Some("' OR '1' = '1"), None, 0),
        (Some(""), None, 21),
    ] {
        let filter = UserFilter { search, active };
        let page = store.users_page(here, filter, UserId(0), 200).await.unwrap();
        assert_eq!(page.len(), expected, "{filter:?}");
        assert_eq!(store.count_users(here, filter).await.unwrap(), expected as u64, "{filter:?}");
    }
    for after in [i64::MAX, 1_000_000] {
        assert!(store.users_page(here, UserFilter::default(), UserId(after), 8).await.unwrap().is_empty());
    }
    assert_eq!(store.users_page(here, UserFilter::default(), UserId(i64::MIN), 8).await.unwrap().len(), 8);
});

on_both!(a_row_of_wrong_passwords_locks, async |database| {
    let store = database.store().await;
    let here = organization(&store, "HERE").await;
    let alice = user(&store, here, "Alice").await;
    let until = now() + Duration::minutes(15);
    let fail = async |at: OffsetDateTime| {
        let until = at + Duration::minutes(15);
        write!(store, transaction => transaction.login_failed(here, Some("ALICE"), 5, until, at))
            .unwrap()
            .unwrap()
    };
    for _ in 0..4 {
        assert!(!fail(now()).await.locked_now);
    }
    assert!(write!(store, transaction => transaction.logged_in(alice, "hash", now())).unwrap().is_some());
    for _ in 0..4 {
        assert!(!fail(now()).await.locked_now, "a right one begins the row anew");
    }
    let fifth = fail(now()).await;
    assert!(fifth.locked_now && fifth.username == "Alice");
    assert_eq!(store.user(alice).await.unwrap().unwrap().locked_until, Some(until));
    let minute = now() + Duration::minutes(1);
    assert!(!fail(minute).await.locked_now, "it is locked already");
    assert_eq!(store.user(alice).await.unwrap().unwrap().locked_until, Some(until), "and not for longer");
    assert!(write!(store, transaction => transaction.logged_in(alice, "hash", minute)).unwrap().is_none());
    // Afterwards it takes five again.
    assert!(!fail(until).await.locked_now);
    assert!(write!(store, transaction => transaction.logged_in(alice, "hash", until)).unwrap().is_some());
    let row = store.user(alice).await.unwrap().unwrap();
    assert_eq!((row.failed_login_attempts, row.locked_until), (0, None));
    let nobody =
        write!(store, transaction => transaction.login_failed(here, Some("nobody"), 5, until, now()))
            .unwrap();
    assert!(nobody.is_none());
    let nothing =
        write!(store, transaction => transaction.login_failed(here, None, 5, until, now())).unwrap();
    assert!(nothing.is_none());
});

// Guesses that come all at once are counted each.
on_both!(concurrent_guesses_count, async |database| {
    let store = database.store().await;
    let here = organization(&store, "HERE").await;
    user(&store, here, "alice").await;
    let mut guesses = tokio::task::JoinSet::new();
    for number in 0..12 {
        let store = store.clone();
        guesses.spawn(async move {
            let until = now() + Duration::minutes(15) + Duration::microseconds(number);
            write!(store, transaction => transaction.login_failed(here, Some("alice"), 5, until, now()))
                .unwrap()
                .unwrap()
        });
    }
    let locked = guesses.join_all().await.into_iter().filter(|failure| failure.locked_now).count();
    assert!(locked >= 1, "twelve guesses and no lock");
    assert!(store.user_by_name(here, "alice").await.unwrap().unwrap().locked_until.is_some());
    assert_eq!(locked, 1, "one lock, one audit row of it");
});

/// So many found room, and the others were told why they did not.
fn check_room(results: Vec<Result<(), StoreError>>, room: usize, of: &str) {
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), room, "{results:?}");
    for error in results.into_iter().filter_map(Result::err) {
        assert!(matches!(error, StoreError::Quota { what, .. } if what == of), "{error:?}");
    }
}

on_both!(quotas_hold_when_many_come_at_once, async |database| {
    let store = database.store().await;
    let tight =
        OrganizationFields { max_users: 5, max_channels: 3, ..OrganizationFields::new("Tight", "TIGHT") };
    let here = write!(store, transaction => transaction.create_organization(tight, now())).unwrap();
    let roomy = organization(&store, "ROOMY").await;
    let guest = user(&store, roomy, "guest").await;
    write!(store, transaction => transaction.add_membership(guest, here)).unwrap();

    let mut people = tokio::task::JoinSet::new();
    for number in 0..20 {
        let store = store.clone();
        people.spawn(async move {
            let created = entry(here, "user_created");
            let name = format!("user{number}");
            write!(store, transaction => transaction.create_user(new_user(here, &name), &created, now()))
                .map(drop)
        });
    }
    check_room(people.join_all().await, 4, "users");
    assert_eq!(
        store.count_users(here, UserFilter::default()).await.unwrap(),
        4,
        "a member from elsewhere counts"
    );
    assert_eq!(store.audit_page(here, &AuditFilter::default(), 100).await.unwrap().len(), 4);
    let error = write!(store, transaction => transaction.add_membership(guest, here)).unwrap_err();
    assert!(matches!(error, StoreError::Quota { what: "users", most: 5 }), "{error:?}");

    let mut channels = tokio::task::JoinSet::new();
    for number in 0..12 {
        let store = store.clone();
        channels.spawn(async move {
            let name = format!("channel{number}");
            write!(store, transaction => transaction.create_channel(here, named(&name))).map(drop)
        });
    }
    check_room(channels.join_all().await, 3, "channels");
    assert_eq!(store.channels_in(here).await.unwrap().len(), 3);
});

// Of many that take the same name at once, one gets it.
on_both!(one_name_one_user, async |database| {
    let store = database.store().await;
    let here = organization(&store, "HERE").await;
    let mut people = tokio::task::JoinSet::new();
    for number in 0..10 {
        let store = store.clone();
        people.spawn(async move {
            let created = entry(here, "user_created");
            let name = if number % 2 == 0 { "same" } else { "SAME" };
            write!(store, transaction => transaction.create_user(new_user(here, name), &created, now()))
                .map(drop)
        });
    }
    let results = people.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert!(results.into_iter().filter_map(Result::err).all(|error| matches!(error, StoreError::Duplicate)));
    assert_eq!(store.audit_page(here, &AuditFilter::default(), 100).await.unwrap().len(), 1);
});

on_both!(memberships, async |database| {
    let store = database.store().await;
    let (home, club, other) = (
        organization(&store, "HOME").await,
        organization(&store, "CLUB").await,
        organization(&store, "OTHER").await,
    );
    let mut people = Vec::new();
    for name in ["a", "b", "c"] {
        let id = user(&store, home, name).await;
        write!(store, transaction => transaction.add_membership(id, club)).unwrap();
        people.push(id);
    }
    write!(store, transaction => transaction.add_membership(people[0], other)).unwrap();
    let error = write!(store, transaction => transaction.add_membership(people[0], other)).unwrap_err();
    assert!(matches!(error, StoreError::Duplicate), "{error:?}");
    let error = write!(store, transaction => transaction.add_membership(UserId(999), club)).unwrap_err();
    assert!(matches!(error, StoreError::MissingParent), "{error:?}");
    let nowhere = OrganizationId(999);
    let error = write!(store, transaction => transaction.add_membership(people[0], nowhere)).unwrap_err();
    assert!(matches!(error, StoreError::MissingParent), "{error:?}");
    assert_eq!(store.memberships_of(people[0]).await.unwrap(), [club, other]);
    assert_eq!(store.members_from_elsewhere(club, UserId(0), 2).await.unwrap(), people[..2]);
    assert_eq!(store.members_from_elsewhere(club, people[1], 2).await.unwrap(), people[2..]);

    let (at_home, at_club) = (role(&store, home, "Member", 1).await, role(&store, club, "Member", 1).await);
    for role in [at_home, at_club] {
        write!(store, transaction => transaction.give_role(people[0], role)).unwrap();
    }
    assert!(write!(store, transaction => transaction.remove_membership(people[0], club)).unwrap());
    assert!(!write!(store, transaction => transaction.remove_membership(people[0], club)).unwrap());
    let roles: Vec<_> =
        store.roles_of(people[0]).await.unwrap().iter().map(voip_server::store::RoleRow::id).collect();
    assert_eq!(roles, [at_home], "its roles went with it");
    assert_eq!(store.memberships_of(people[0]).await.unwrap(), [other]);
});

on_both!(roles, async |database| {
    let store = database.store().await;
    let (here, there) = (organization(&store, "HERE").await, organization(&store, "THERE").await);
    let low = role(&store, here, "Low", 1).await;
    let high = role(&store, here, "High", 50).await;
    let foreign = role(&store, there, "High", 99).await;
    let error = write!(store, transaction => transaction.create_role(here, "High", Permissions::JOIN, 2))
        .unwrap_err();
    assert!(matches!(error, StoreError::Duplicate), "{error:?}");
    let ids = |rows: &[voip_server::store::RoleRow]| {
        rows.iter().map(voip_server::store::RoleRow::id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&store.roles_in(here).await.unwrap()), [high, low]);
    assert_eq!(ids(&store.roles().await.unwrap()), [foreign, high, low]);
    assert_eq!(store.role_by_name(here, "High").await.unwrap().unwrap().id(), high);
    assert!(store.role_by_name(here, "None").await.unwrap().is_none());
    assert!(store.role(RoleId(999)).await.unwrap().is_none());

    let everything = Permissions::all();
    assert!(write!(store, transaction => transaction.update_role(low, "Lowest", everything, -5)).unwrap());
    let row = store.role(low).await.unwrap().unwrap();
    assert_eq!((row.name.as_str(), row.permissions(), row.priority), ("Lowest", everything, -5));
    let error =
        write!(store, transaction => transaction.update_role(low, "High", everything, 1)).unwrap_err();
    assert!(matches!(error, StoreError::Duplicate), "{error:?}");
    assert!(!write!(store, transaction => transaction.update_role(RoleId(999), "x", everything, 1)).unwrap());

    let (alice, bob) = (user(&store, here, "alice").await, user(&store, here, "bob").await);
    for (user, role) in [(alice, low), (alice, high), (bob, high)] {
        write!(store, transaction => transaction.give_role(user, role)).unwrap();
        write!(store, transaction => transaction.give_role(user, role)).unwrap();
    }
    assert_eq!(ids(&store.roles_of(alice).await.unwrap()), [high, low]);
    let at_login = write!(store, transaction => transaction.logged_in(alice, "hash", now())).unwrap();
    assert_eq!(at_login, Some(vec![high, low]));
    let held = store.roles_of_users(here, alice, bob).await.unwrap();
    let held: Vec<_> = held.iter().map(|held| (held.user(), held.role.id())).collect();
    assert_eq!(held.len(), 3);
    assert!(held.contains(&(bob, high)));
    let error = write!(store, transaction => transaction.give_role(UserId(999), low)).unwrap_err();
    assert!(matches!(error, StoreError::MissingParent), "{error:?}");

    let administrators = async |but: UserId| {
        let mut transaction = store.begin().await.unwrap();
        transaction.holders_but(here, Permissions::ADMINISTRATOR, but).await.unwrap()
    };
    assert_eq!((administrators(bob).await, administrators(alice).await), (1, 0));
    assert!(store.anybody_holds(Permissions::ADMINISTRATOR).await.unwrap());
    write!(store, transaction => transaction.set_active(alice, false, now())).unwrap();
    assert!(
        !store.anybody_holds(Permissions::ADMINISTRATOR).await.unwrap(),
        "who may not log in does not count"
    );
    assert!(write!(store, transaction => transaction.take_role(alice, low)).unwrap());
    assert!(!write!(store, transaction => transaction.take_role(alice, low)).unwrap());
    assert!(write!(store, transaction => transaction.delete_role(high)).unwrap());
    assert!(!write!(store, transaction => transaction.delete_role(high)).unwrap());
    assert!(store.roles_of(bob).await.unwrap().is_empty());
    let at_login = write!(store, transaction => transaction.logged_in(bob, "hash", now())).unwrap();
    assert_eq!(at_login, Some(Vec::new()));
});

on_both!(channels_and_their_acl, async |database| {
    let store = database.store().await;
    let (here, there) = (organization(&store, "HERE").await, organization(&store, "THERE").await);
    let second = channel(&store, here, ChannelFields { position: 1, ..named("Second") }).await;
    let first = channel(&store, here, ChannelFields { position: 0, ..named("First") }).await;
    let below = ChannelFields {
        parent: Some(first),
        description: "Ops ✓",
        max_users: Some(u32::MAX),
        temporary: true,
        ..named("Below")
    };
    let below = channel(&store, here, below).await;
    let foreign = channel(&store, there, named("Foreign")).await;
    for parent in [foreign, ChannelId(999)] {
        let wrong = ChannelFields { parent: Some(parent), ..named("Wrong") };
        let error = write!(store, transaction => transaction.create_channel(here, wrong)).unwrap_err();
        assert!(matches!(error, StoreError::MissingParent), "{error:?}");
    }
    let nowhere = OrganizationId(999);
    let error = write!(store, transaction => transaction.create_channel(nowhere, named("x"))).unwrap_err();
    assert!(matches!(error, StoreError::MissingParent), "{error:?}");
    let ids = |rows: Vec<voip_server::store::ChannelRow>| {
        rows.iter().map(voip_server::store::ChannelRow::id).collect::<Vec<_>>()
    };
    assert_eq!(ids(store.channels_in(here).await.unwrap()), [first, below, second]);
    assert_eq!(ids(store.channels().await.unwrap()), [first, below, second, foreign]);
    assert_eq!(ids(store.channels_page(here, ChannelId(0), 2).await.unwrap()), [second, first]);
    assert_eq!(ids(store.channels_page(here, first, 2).await.unwrap()), [below]);
    let row = store.channel(below).await.unwrap().unwrap();
    assert_eq!((row.parent(), row.max_users(), row.temporary), (Some(first), Some(u32::MAX), true));
    assert_eq!((row.name.as_str(), row.description.as_str()), ("Below", "Ops ✓"));

    let moved = ChannelFields { parent: None, position: -3, ..named("Moved") };
    assert!(write!(store, transaction => transaction.update_channel(below, moved)).unwrap());
    let row = store.channel(below).await.unwrap().unwrap();
    assert_eq!((row.parent(), row.max_users(), row.position, row.temporary), (None, None, -3, false));
    assert!(!write!(store, transaction => transaction.update_channel(ChannelId(999), moved)).unwrap());

    let (member, guest) = (role(&store, here, "Member", 2).await, role(&store, here, "Guest", 1).await);
    let (none, speak, join) = (Permissions::empty(), Permissions::SPEAK, Permissions::JOIN);
    write!(store, transaction => transaction.set_acl(first, member, speak, none)).unwrap();
    write!(store, transaction => transaction.set_acl(first, member, none, speak | join)).unwrap();
    write!(store, transaction => transaction.set_acl(first, guest, speak, none)).unwrap();
    write!(store, transaction => transaction.set_acl(second, guest, speak, none)).unwrap();
    let acl = store.acl_of(first).await.unwrap();
    assert_eq!(acl.len(), 2, "set twice is one entry");
    assert_eq!((acl[0].role(), acl[0].allow(), acl[0].deny()), (member, none, speak | join));
    let error =
        write!(store, transaction => transaction.set_acl(ChannelId(999), guest, none, none)).unwrap_err();
    assert!(matches!(error, StoreError::MissingParent), "{error:?}");
    assert!(write!(store, transaction => transaction.remove_acl(first, member)).unwrap());
    assert!(!write!(store, transaction => transaction.remove_acl(first, member)).unwrap());
    assert_eq!(store.acl().await.unwrap().len(), 2);

    let child = channel(&store, here, ChannelFields { parent: Some(first), ..named("Child") }).await;
    let grandchild =
        channel(&store, here, ChannelFields { parent: Some(child), ..named("Grandchild") }).await;
    assert!(write!(store, transaction => transaction.delete_channel(first)).unwrap());
    assert!(!write!(store, transaction => transaction.delete_channel(first)).unwrap());
    assert!(store.channel(grandchild).await.unwrap().is_none(), "all below it went with it");
    assert_eq!(store.acl().await.unwrap().len(), 1);
});

on_both!(logins, async |database| {
    let store = database.store().await;
    let here = organization(&store, "HERE").await;
    let (alice, bob) = (user(&store, here, "alice").await, user(&store, here, "bob").await);
    let (low, high) = (role(&store, here, "Low", 1).await, role(&store, here, "High", 9).await);
    for role in [low, high] {
        write!(store, transaction => transaction.give_role(alice, role)).unwrap();
    }
    let mut of_alice = Vec::new();
    for number in 1..=4 {
        of_alice.push(login(&store, alice, number, Some("laptop")).await);
    }
    let of_bob = login(&store, bob, 9, Some("laptop")).await;
    let caller = store.caller(jti(1), now()).await.unwrap().unwrap();
    assert_eq!(
        (caller.login, caller.account.id, caller.organization.tag.as_str()),
        (of_alice[0], alice, "HERE")
    );
    assert_eq!(caller.role_ids(), [high, low]);
    assert!(store.caller(jti(1), now() + Duration::days(31)).await.unwrap().is_none(), "it has expired");
    assert!(store.caller(Uuid::nil(), now()).await.unwrap().is_none());
    assert!(store.caller(jti(9), now()).await.unwrap().unwrap().roles.is_empty());
    // Many at once are told apart: their own, the same twice, and nobody's.
    let asked = (0..200_u8).map(|number| store.caller(jti(number % 11), now()));
    for (number, caller) in futures_util::future::join_all(asked).await.into_iter().enumerate() {
        let login = match number % 11 {
            number @ 1..=4 => Some((of_alice[number - 1], 2)),
            9 => Some((of_bob, 0)),
            _ => None,
        };
        let caller = caller.unwrap();
        assert_eq!(caller.map(|caller| (caller.login, caller.roles.len())), login, "{number}");
    }

    let ids = async |user| -> Vec<_> {
        store.logins_of(user, 10, now()).await.unwrap().iter().map(voip_server::store::LoginRow::id).collect()
    };
    assert_eq!(
        ids(alice).await,
        [of_alice[3], of_alice[2], of_alice[1], of_alice[0]],
        "the latest used first"
    );
    write!(store, transaction => transaction.touch_login(of_alice[0], now() + Duration::minutes(5))).unwrap();
    assert_eq!(ids(alice).await[0], of_alice[0]);
    assert_eq!(store.logins_of(alice, 2, now()).await.unwrap().len(), 2);
    assert_eq!(store.count_logins(now()).await.unwrap(), 5);
    let row = store.login(of_bob).await.unwrap().unwrap();
    assert_eq!((row.user(), row.device_info.as_deref()), (bob, Some("Laptop")));
    assert_eq!((row.ip_address.as_deref(), row.user_agent.as_deref()), (Some("2001:db8::1"), Some("test/1")));
    assert_eq!(row.created_at, now() + Duration::seconds(9));

    let revoked = now() + Duration::hours(1);
    assert!(!write!(store, transaction => transaction.revoke_login(bob, of_alice[0], "x", revoked)).unwrap());
    assert!(
        write!(store, transaction => transaction.revoke_login(alice, of_alice[0], "by hand", revoked))
            .unwrap()
    );
    assert!(
        !write!(store, transaction => transaction.revoke_login(alice, of_alice[0], "again", revoked))
            .unwrap()
    );
    assert!(store.caller(jti(1), now()).await.unwrap().is_none());
    let row = store.login(of_alice[0]).await.unwrap().unwrap();
    assert_eq!((row.revoked_at, row.revoked_reason.as_deref()), (Some(revoked), Some("by hand")));
    assert_eq!(store.revoked_since(now()).await.unwrap(), [of_alice[0]].into());
    assert!(store.revoked_since(revoked).await.unwrap().is_empty());
    let month = now() + Duration::days(30);
    let expired = store.expired_since(month - Duration::seconds(1), month).await.unwrap();
    assert_eq!(expired.len(), 4, "the revoked one had ended before");
    assert!(!expired.contains(&of_alice[0]));
    let gone = write!(store, transaction => transaction.revoke_device(alice, "laptop", of_alice[1], revoked));
    assert_eq!(gone.unwrap(), 2, "the others of the device, and nobody else's");
    assert_eq!((ids(alice).await, ids(bob).await), (vec![of_alice[1]], vec![of_bob]));
    let others =
        write!(store, transaction => transaction.revoke_logins(alice, Some(of_alice[1]), "x", revoked));
    assert_eq!(others.unwrap(), 0);
    assert_eq!(
        write!(store, transaction => transaction.revoke_logins(alice, None, "x", revoked)).unwrap(),
        1
    );
    assert!(ids(alice).await.is_empty());
    write!(store, transaction => transaction.set_active(bob, false, revoked)).unwrap();
    assert!(store.caller(jti(9), now()).await.unwrap().is_none(), "a disabled account is out at once");

    assert_eq!(write!(store, transaction => transaction.delete_logins_before(revoked)).unwrap(), 0);
    let day = revoked + Duration::days(1);
    assert_eq!(write!(store, transaction => transaction.delete_logins_before(day)).unwrap(), 4);
    let year = revoked + Duration::days(365);
    assert_eq!(write!(store, transaction => transaction.delete_logins_before(year)).unwrap(), 1);
    assert!(store.login(of_bob).await.unwrap().is_none());
});

on_both!(refresh_tokens, async |database| {
    let store = database.store().await;
    let here = organization(&store, "HERE").await;
    let alice = user(&store, here, "alice").await;
    let login = login(&store, alice, 1, None).await;
    let expires = now() + Duration::days(40);
    let rotate = async |spent: u8, next: u8, at: OffsetDateTime| {
        write!(store, transaction => transaction.rotate_tokens(&[spent; 32], &[next; 32], jti(next), expires, at))
            .unwrap()
    };
    let spent =
        async |token: u8| write!(store, transaction => transaction.spent_token(&[token; 32])).unwrap();
    assert!(spent(1).await.is_none());
    assert_eq!(rotate(1, 2, now()).await, Some((login, alice)));
    assert!(store.caller(jti(1), now()).await.unwrap().is_none(), "the old access token is dead");
    assert_eq!(store.caller(jti(2), now()).await.unwrap().unwrap().login, login);
    assert_eq!(spent(1).await, Some((login, alice)));
    assert!(rotate(1, 3, now()).await.is_none());
    assert!(rotate(77, 3, now()).await.is_none() && spent(77).await.is_none());
    assert!(rotate(2, 3, expires).await.is_none(), "it has expired");
    assert!(spent(2).await.is_none(), "what did not rotate is not spent");
    assert_eq!(store.login(login).await.unwrap().unwrap().expires_at, expires);
    write!(store, transaction => transaction.set_active(alice, false, now())).unwrap();
    assert!(rotate(2, 3, now()).await.is_none());
    write!(store, transaction => transaction.set_active(alice, true, now())).unwrap();
    assert!(rotate(2, 3, now()).await.is_some());

    // Of many at once one wins.
    let mut tries = tokio::task::JoinSet::new();
    for next in 10..18 {
        let store = store.clone();
        tries.spawn(async move {
            write!(store, transaction => transaction.rotate_tokens(&[3; 32], &[next; 32], jti(next), expires, now()))
                .unwrap()
        });
    }
    assert_eq!(tries.join_all().await.into_iter().flatten().count(), 1);
    write!(store, transaction => transaction.revoke_login(alice, login, "x", now())).unwrap();
    for next in 10..18 {
        assert!(rotate(next, 50, now()).await.is_none());
    }
    let day = now() + Duration::days(1);
    write!(store, transaction => transaction.delete_logins_before(day)).unwrap();
    assert!(spent(1).await.is_none(), "spent tokens go with their login");
});

on_both!(the_audit_log, async |database| {
    let store = database.store().await;
    let (here, there) = (organization(&store, "HERE").await, organization(&store, "THERE").await);
    let alice = user(&store, here, "alice").await;
    let mut transaction = store.begin().await.unwrap();
    for number in 0..20 {
        let entry = AuditEntry {
            actor: (number % 2 == 0).then_some(alice),
            resource: if number < 5 { "user:alice" } else { "user:bob" },
            details: json!({ "number": number, "text": "\u{1F98A} \" \\ ' ; --", "none": Value::Null }),
            ..entry(if number == 19 { there } else { here }, if number % 3 == 0 { "login" } else { "logout" })
        };
        transaction.audit(&entry, now() + Duration::minutes(number)).await.unwrap();
    }
    transaction.commit().await.unwrap();

    let page =
        async |filter: AuditFilter<'_>, most: u32| store.audit_page(here, &filter, most).await.unwrap();
    let all = page(AuditFilter::default(), 100).await;
    assert_eq!(all.len(), 20, "nineteen, and the making of alice");
    assert!(all.is_sorted_by(|newer, older| newer.id > older.id));
    assert_eq!(
        all[0].details.0,
        json!({ "number": 18, "text": "\u{1F98A} \" \\ ' ; --", "none": Value::Null })
    );
    assert_eq!(
        (all[0].actor_name.as_deref(), all[0].ip_address.as_deref()),
        (Some("alice"), Some("192.0.2.7"))
    );
    assert_eq!(all[0].created_at, now() + Duration::minutes(18));
    let numbers = |rows: Vec<voip_server::store::AuditRow>| -> Vec<_> {
        rows.iter().map(|row| row.details.0["number"].as_i64()).collect()
    };
    let some = |numbers: &[i64]| numbers.iter().copied().map(Some).collect::<Vec<_>>();
    let first = page(AuditFilter::default(), 5).await;
    let second =
        page(AuditFilter { before: first.last().map(|row| row.id), ..AuditFilter::default() }, 5).await;
    assert_eq!(numbers(first), some(&[18, 17, 16, 15, 14]));
    assert_eq!(numbers(second), some(&[13, 12, 11, 10, 9]));
    let both = AuditFilter { actor: Some(alice), action: Some("login"), ..AuditFilter::default() };
    assert_eq!(numbers(page(both, 100).await), some(&[18, 12, 6, 0]));
    let about = AuditFilter { resource: Some("user:alice"), ..AuditFilter::default() };
    assert_eq!(numbers(page(about, 100).await), some(&[4, 3, 2, 1, 0]));
    let time = AuditFilter {
        since: Some(now() + Duration::minutes(3)),
        until: Some(now() + Duration::minutes(6)),
        ..AuditFilter::default()
    };
    assert_eq!(numbers(page(time, 100).await), some(&[5, 4, 3]), "from the first moment, up to the second");
    for before in [0, -1, i64::MIN] {
        assert!(page(AuditFilter { before: Some(before), ..AuditFilter::default() }, 5).await.is_empty());
    }
    let unknown = AuditFilter { action: Some("' OR 1 = 1 --"), ..AuditFilter::default() };
    assert!(page(unknown, 5).await.is_empty());
    let nobody = AuditFilter { actor: Some(UserId(i64::MAX)), ..AuditFilter::default() };
    assert!(page(nobody, 5).await.is_empty());

    let old = write!(store, transaction => transaction.delete_audit_before(now() + Duration::minutes(10), 8));
    assert_eq!(old.unwrap(), 8, "a few at a time");
    let rest =
        write!(store, transaction => transaction.delete_audit_before(now() + Duration::minutes(10), 8));
    assert_eq!(rest.unwrap(), 3);
    assert_eq!(page(AuditFilter::default(), 100).await.len(), 9);
});

// Times are kept to the microsecond and compared as times, however their text would compare.
on_both!(times, async |database| {
    let store = database.store().await;
    let here = organization(&store, "HERE").await;
    let whole = now();
    let moments = [
        whole,
        whole + Duration::microseconds(1),
        whole + Duration::milliseconds(100),
        whole + Duration::microseconds(999_999),
    ];
    let mut transaction = store.begin().await.unwrap();
    for moment in moments {
        // Written by a clock of another zone.
        let moment = moment.to_offset(time::UtcOffset::from_hms(-11, 30, 0).unwrap());
        transaction.audit(&entry(here, "tick"), moment).await.unwrap();
    }
    transaction.commit().await.unwrap();
    for (number, moment) in moments.into_iter().enumerate() {
        let filter = AuditFilter { since: Some(moment), ..AuditFilter::default() };
        let found = store.audit_page(here, &filter, 10).await.unwrap();
        assert_eq!(found.len(), moments.len() - number, "since {moment}");
        assert_eq!(found.last().unwrap().created_at, moment);
    }
});

// What is dropped before its end leaves nothing, and is in nobody's way.
on_both!(transactions, async |database| {
    let store = database.store().await;
    let here = organization(&store, "HERE").await;
    let begun = async || -> Transaction {
        let mut transaction = store.begin().await.unwrap();
        let created = entry(here, "user_created");
        transaction.create_user(new_user(here, "alice"), &created, now()).await.unwrap();
        transaction
    };
    for _ in 0..30 {
        drop(begun().await);
    }
    assert!(store.user_by_name(here, "alice").await.unwrap().is_none());
    let transaction = begun().await;
    assert!(
        store.user_by_name(here, "alice").await.unwrap().is_none(),
        "nobody sees it before it is committed"
    );
    transaction.commit().await.unwrap();
    assert!(store.user_by_name(here, "alice").await.unwrap().is_some());
    assert_eq!(store.audit_page(here, &AuditFilter::default(), 10).await.unwrap().len(), 1);
    // Cut off in the middle: what a client does that hangs up.
    for _ in 0..30 {
        let store = store.clone();
        let task = tokio::spawn(async move {
            let mut transaction = store.begin().await.unwrap();
            let created = entry(here, "user_created");
            transaction.create_user(new_user(here, "bob"), &created, now()).await.unwrap();
            std::future::pending::<()>().await;
        });
        tokio::task::yield_now().await;
        task.abort();
        let _ = task.await;
    }
    assert!(store.user_by_name(here, "bob").await.unwrap().is_none());
    user(&store, here, "bob").await;
});

on_both!(writers_and_readers_do_not_stand_in_each_others_way, async |database| {
    let store = database.store().await;
    let here = organization(&store, "HERE").await;
    let mut all = tokio::task::JoinSet::new();
    for number in 0..40 {
        let store = store.clone();
        all.spawn(async move {
            if number % 2 == 0 {
                user(&store, here, &format!("user{number}")).await;
            } else {
                store.users_page(here, UserFilter::default(), UserId(0), 100).await.unwrap();
            }
        });
    }
    all.join_all().await;
    assert_eq!(store.count_users(here, UserFilter::default()).await.unwrap(), 20);
    let figures = store.pool_figures();
    assert!(figures.size >= 1 && figures.size <= figures.max, "{figures:?}");
    let unused = || store.pool_figures().in_use == 0;
    wait::until_true("every connection is back in the pool", LIMIT, unused).await;
    store.ping().await.unwrap();
    store.close().await;
    assert!(matches!(store.ping().await.unwrap_err(), StoreError::Unavailable(_)));
});

// A text of any kind comes back as it was, or is refused as the caller's fault.
on_both!(hostile_texts, async |database| {
    let store = database.store().await;
    let here = organization(&store, "HERE").await;
    let texts =
        ["'; DROP TABLE users; --", "$1", "?1", "\u{202e}\u{0}", "\0", "\u{10FFFF}", "%s%n", "\\", "''"];
    for (number, text) in texts.into_iter().enumerate() {
        let name = format!("user{number}");
        let fields = NewUser { display_name: text, email: Some(text), ..new_user(here, &name) };
        let created = entry(here, "user_created");
        match write!(store, transaction => transaction.create_user(fields, &created, now())) {
            Ok(id) => {
                let row = store.user(id).await.unwrap().unwrap();
                assert_eq!((row.display_name.as_str(), row.email.as_deref()), (text, Some(text)));
            }
            Err(error) => {
                assert!(text.contains('\0') && !matches!(error, StoreError::Unavailable(_)), "{error:?}");
            }
        }
        let filter = UserFilter { search: Some(text), active: None };
        let found = store.count_users(here, filter).await;
        assert!(text.contains('\0') || found.unwrap() >= 1, "{text:?}");
    }
    let megabyte = "x".repeat(1 << 20);
    let fields = NewUser { display_name: &megabyte, ..new_user(here, "large") };
    let created = entry(here, "user_created");
    let id = write!(store, transaction => transaction.create_user(fields, &created, now())).unwrap();
    assert_eq!(store.user(id).await.unwrap().unwrap().display_name.len(), 1 << 20);
});
