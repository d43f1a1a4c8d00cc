//! Whom somebody may manage, and what they may give. Pure.

use voip_protocol::{ErrorBody, ErrorCode, Permissions};

use crate::store::{Caller, RoleRow};

/// What somebody has to say in an organization.
#[derive(Clone, Copy, Debug)]
pub struct Authority {
    permissions: Permissions,
    /// Of their highest role; the owner stands above all roles.
    priority: i64,
}

impl Authority {
    /// A caller's.
    pub fn of(caller: &Caller) -> Self {
        if caller.is_owner() {
            return Self { permissions: Permissions::all(), priority: i64::MAX };
        }
        Self {
            permissions: caller.permissions(),
            priority: caller.roles.iter().map(|role| role.priority).max().unwrap_or(i64::MIN),
        }
    }

    /// Refuses who does not hold a permission.
    pub fn require(&self, permission: Permissions) -> Result<(), ErrorBody> {
        if self.permissions.contains(permission) {
            return Ok(());
        }
        let names: Vec<String> =
            permission.iter_names().map(|(name, _)| name.to_lowercase().replace('_', " ")).collect();
        let message = format!("your roles do not hold the permission: {}", names.join(", "));
        Err(ErrorBody::new(ErrorCode::PermissionDenied, message))
    }

    /// Whether they may give a role: it is below their own, and holds nothing that they do not.
    pub fn may_grant(&self, role: &RoleRow) -> bool {
        self.permissions.contains(Permissions::MANAGE_USERS)
            && role.priority < self.priority
            && self.permissions.contains(role.permissions())
    }

    /// Whether they may change an account that holds these roles: all of them are below their own.
    pub fn may_manage<'a>(&self, roles: impl IntoIterator<Item = &'a RoleRow>) -> bool {
        self.permissions.contains(Permissions::MANAGE_USERS)
            && roles.into_iter().all(|role| role.priority < self.priority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(permissions: Permissions, priority: i64) -> RoleRow {
        RoleRow::example(permissions, priority)
    }

    fn authority(permissions: Permissions, priority: i64) -> Authority {
        Authority { permissions, priority }
    }

    #[test]
    fn nobody_grants_what_they_do_not_hold_or_reaches_their_own_height() {
        let manager = authority(Permissions::OFFICER | Permissions::MANAGE_USERS, 50);
        assert!(manager.may_grant(&role(Permissions::MEMBER, 10)));
        assert!(!manager.may_grant(&role(Permissions::MEMBER, 50)));
        assert!(!manager.may_grant(&role(Permissions::ADMINISTRATOR, 10)));
        assert!(manager.may_manage([&role(Permissions::ADMINISTRATOR, 10)]));
        assert!(!manager.may_manage([&role(Permissions::GUEST, 0), &role(Permissions::OFFICER, 50)]));
        assert!(manager.may_manage([]));
        assert!(!authority(Permissions::OFFICER, 50).may_manage([]));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = authority(Permissions::MEMBER, 10).require(Permissions::VIEW_AUDIT_LOG).unwrap_err();
        assert_eq!(error.code, ErrorCode::PermissionDenied);
        assert!(error.message.contains("view audit log"), "{error}");
    }
}
