//! The permission resolver: one pure function.

use voip_protocol::{Permissions, RoleId};

/// A role that somebody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldRole {
    /// Which.
    pub id: RoleId,
    /// What it holds everywhere.
    pub permissions: Permissions,
    /// The higher, the more it has to say.
    pub priority: i64,
}

/// What a channel says about a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AclEntry {
    /// About which.
    pub role: RoleId,
    /// What it gives.
    pub allow: Permissions,
    /// What it takes; where an entry does both, it gives.
    pub deny: Permissions,
}

/// What somebody may do in a channel.
///
/// Starts from all that the roles hold together. Then goes down the path, from the root to the channel: on each
/// step the entries of the roles held are applied, lowest priority first, so that a deeper channel and, in one
/// channel, a higher role has the last word. An administrator may do everything, and who may not view a channel
/// may do nothing in it.
pub fn resolve<'a>(roles: &[HeldRole], path: impl IntoIterator<Item = &'a [AclEntry]>) -> Permissions {
    let mut held = roles.iter().fold(Permissions::empty(), |sum, role| sum | role.permissions);
    if held.contains(Permissions::ADMINISTRATOR) {
        return Permissions::all();
    }
    let mut ordered = roles.to_vec();
    ordered.sort_by_key(|role| (role.priority, std::cmp::Reverse(role.id)));
    for entries in path {
        for role in &ordered {
            if let Some(entry) = entries.iter().find(|entry| entry.role == role.id) {
                // No channel makes anybody the administrator of the organization.
                held = (held - entry.deny) | (entry.allow - Permissions::ADMINISTRATOR);
            }
        }
    }
    if held.contains(Permissions::VIEW_CHANNEL) { held } else { Permissions::empty() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MEMBER: HeldRole = HeldRole { id: RoleId(1), permissions: Permissions::MEMBER, priority: 10 };
    const OFFICER: HeldRole = HeldRole { id: RoleId(2), permissions: Permissions::OFFICER, priority: 50 };
    const ADMIN: HeldRole =
        HeldRole { id: RoleId(3), permissions: Permissions::ADMINISTRATOR, priority: 100 };

    fn entry(role: RoleId, allow: Permissions, deny: Permissions) -> AclEntry {
        AclEntry { role, allow, deny }
    }

    #[test]
    fn deeper_and_higher_have_the_last_word() {
        let silent = [entry(MEMBER.id, Permissions::empty(), Permissions::SPEAK)];
        let loud = [entry(MEMBER.id, Permissions::SPEAK, Permissions::empty())];
        assert!(!resolve(&[MEMBER], [&silent[..]]).contains(Permissions::SPEAK));
        assert!(resolve(&[MEMBER], [&silent[..], &loud[..]]).contains(Permissions::SPEAK));
        let both = [silent[0], entry(OFFICER.id, Permissions::SPEAK, Permissions::empty())];
        assert!(resolve(&[OFFICER, MEMBER], [&both[..]]).contains(Permissions::SPEAK));
        assert!(!resolve(&[MEMBER], [&both[..]]).contains(Permissions::SPEAK));
    }

    #[test]
    fn who_may_not_view_may_do_nothing() {
        let hidden = [entry(MEMBER.id, Permissions::empty(), Permissions::VIEW_CHANNEL)];
        assert_eq!(resolve(&[MEMBER], [&hidden[..]]), Permissions::empty());
        assert_eq!(resolve(&[MEMBER, ADMIN], [&hidden[..]]), Permissions::all());
        assert_eq!(resolve(&[], []), Permissions::empty());
    }

    prop_compose! {
        fn entries()(list in proptest::collection::vec((1i64..4, any::<u32>(), any::<u32>()), 0..4)) -> Vec<AclEntry> {
            list.into_iter()
                .map(|(role, allow, deny)| entry(
                    RoleId(role), Permissions::from_bits_truncate(allow), Permissions::from_bits_truncate(deny),
                ))
                .collect()
        }
    }

    proptest! {
        #[test]
        fn no_channel_makes_an_administrator(path in proptest::collection::vec(entries(), 0..5)) {
            let held = resolve(&[MEMBER, OFFICER], path.iter().map(Vec::as_slice));
            prop_assert!(!held.contains(Permissions::ADMINISTRATOR));
        }

        #[test]
        fn the_order_of_roles_does_not_matter(path in proptest::collection::vec(entries(), 0..5)) {
            let one = resolve(&[MEMBER, OFFICER], path.iter().map(Vec::as_slice));
            let other = resolve(&[OFFICER, MEMBER], path.iter().map(Vec::as_slice));
            prop_assert_eq!(one, other);
        }
    }
}
