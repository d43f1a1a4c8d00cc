//! What the hub knows of an organization: its roles, its channel tree, its ACL. Read from the store.

use std::collections::HashMap;

use voip_protocol::{
    ChannelId, OrganizationId, Permissions, RoleId,
    control::{Channel, Organization},
    limits::MAX_CHANNEL_DEPTH,
};

use super::permissions::{AclEntry, HeldRole, resolve};
use crate::store::{Store, StoreError};

/// One organization.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Name and tag.
    pub organization: Organization,
    /// Its roles.
    pub roles: Vec<HeldRole>,
    channels: Vec<Place>,
}

/// A channel and what its own ACL says.
#[derive(Clone, Debug)]
struct Place {
    id: ChannelId,
    parent: Option<ChannelId>,
    name: String,
    description: String,
    max_users: Option<u32>,
    acl: Vec<AclEntry>,
}

impl Tenant {
    /// All organizations of a store.
    pub async fn load_all(store: &Store) -> Result<Vec<Self>, StoreError> {
        let (roles, channels, acl) = (store.roles().await?, store.channels().await?, store.acl().await?);
        let tenants = store.organizations().await?.into_iter().map(|row| {
            let id = row.id();
            let places =
                channels.iter().filter(|channel| channel.organization() == id).map(|channel| Place {
                    id: channel.id(),
                    parent: channel.parent(),
                    name: channel.name.clone(),
                    description: channel.description.clone(),
                    max_users: channel.max_users(),
                    acl: acl
                        .iter()
                        .filter(|entry| entry.channel() == channel.id())
                        .map(|entry| AclEntry {
                            role: entry.role(),
                            allow: entry.allow(),
                            deny: entry.deny(),
                        })
                        .collect(),
                });
            Self {
                organization: Organization { id, name: row.name.clone(), tag: row.tag.clone() },
                roles: roles
                    .iter()
                    .filter(|role| role.organization() == id)
                    .map(|role| HeldRole {
                        id: role.id(),
                        permissions: role.permissions(),
                        priority: role.priority,
                    })
                    .collect(),
                channels: parents_first(places.collect()),
            }
        });
        Ok(tenants.collect())
    }

    /// Row id.
    pub fn id(&self) -> OrganizationId {
        self.organization.id
    }

    /// How many channels it has.
    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// The roles of these ids.
    pub fn held(&self, roles: &[RoleId]) -> Vec<HeldRole> {
        self.roles.iter().filter(|role| roles.contains(&role.id)).copied().collect()
    }

    /// What these roles may do in each channel.
    pub fn permissions(&self, roles: &[HeldRole]) -> HashMap<ChannelId, Permissions> {
        self.channels.iter().map(|place| (place.id, resolve(roles, self.path(place)))).collect()
    }

    /// The channels that may be seen, as their visitor sees them.
    pub fn visible(&self, permissions: &HashMap<ChannelId, Permissions>) -> Vec<Channel> {
        let channels = self.channels.iter().filter_map(|place| {
            let permissions = *permissions.get(&place.id)?;
            permissions.contains(Permissions::VIEW_CHANNEL).then(|| Channel {
                id: place.id,
                parent: place.parent,
                name: place.name.clone(),
                description: place.description.clone(),
                max_users: place.max_users,
                permissions,
            })
        });
        channels.collect()
    }

    /// How many may be in a channel.
    pub fn max_users(&self, channel: ChannelId) -> Option<u32> {
        self.place(channel)?.max_users
    }

    fn place(&self, id: ChannelId) -> Option<&Place> {
        self.channels.iter().find(|place| place.id == id)
    }

    /// The ACL from the root down to a channel.
    fn path<'a>(&'a self, place: &'a Place) -> Vec<&'a [AclEntry]> {
        let mut path = vec![&place.acl[..]];
        let mut parent = place.parent;
        while let Some(above) = parent.and_then(|id| self.place(id)) {
            if path.len() >= MAX_CHANNEL_DEPTH {
                break;
            }
            path.push(&above.acl);
            parent = above.parent;
        }
        path.reverse();
        path
    }
}

/// Each parent before its children, siblings in the order they came. What hangs on no root is left out.
fn parents_first(mut rest: Vec<Place>) -> Vec<Place> {
    let mut ordered: Vec<Place> = Vec::with_capacity(rest.len());
    let mut level: Vec<Option<ChannelId>> = vec![None];
    for _ in 0..MAX_CHANNEL_DEPTH {
        let (children, others): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|place| level.contains(&place.parent));
        rest = others;
        level = children.iter().map(|place| Some(place.id)).collect();
        ordered.extend(children);
    }
    ordered
}

#[cfg(test)]
impl Tenant {
    /// Organization 1 with channels 1, 2 and, below 2, 3; one role, Member.
    pub(super) fn example() -> Self {
        let place = |id, parent: Option<i64>, max_users| Place {
            id: ChannelId(id),
            parent: parent.map(ChannelId),
            name: format!("Channel {id}"),
            description: String::new(),
            max_users,
            acl: Vec::new(),
        };
        Self {
            organization: Organization { id: OrganizationId(1), name: "Example".into(), tag: "EX".into() },
            roles: vec![HeldRole { id: RoleId(1), permissions: Permissions::MEMBER, priority: 10 }],
            channels: parents_first(vec![
                place(3, Some(2), None),
                place(1, None, Some(3)),
                place(2, None, None),
            ]),
        }
    }

    /// The same, with an entry of role 1 on a channel.
    pub(super) fn with_acl(mut self, channel: i64, allow: Permissions, deny: Permissions) -> Self {
        for place in self.channels.iter_mut().filter(|place| place.id == ChannelId(channel)) {
            place.acl.push(AclEntry { role: RoleId(1), allow, deny });
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first_and_entries_are_inherited() {
        let tenant = Tenant::example().with_acl(2, Permissions::empty(), Permissions::SPEAK);
        let held = tenant.held(&[RoleId(1)]);
        let permissions = tenant.permissions(&held);
        let order: Vec<_> = tenant.visible(&permissions).iter().map(|channel| channel.id.0).collect();
        assert_eq!(order, [1, 2, 3]);
        assert!(permissions[&ChannelId(1)].contains(Permissions::SPEAK));
        assert!(!permissions[&ChannelId(3)].contains(Permissions::SPEAK));
    }

    #[test]
    fn a_hidden_channel_is_not_there() {
        let tenant = Tenant::example().with_acl(2, Permissions::empty(), Permissions::VIEW_CHANNEL);
        let permissions = tenant.permissions(&tenant.held(&[RoleId(1)]));
        assert_eq!(tenant.visible(&permissions).len(), 1);
    }
}
