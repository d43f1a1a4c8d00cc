//! Who is where: what the server's snapshot says, kept up to date by its events.

use serde::Serialize;
use ts_rs::TS;
use voip_protocol::{
    Permissions, SessionId,
    control::{Channel, Member, MembersChange, Organization, Snapshot},
};

/// The organization as one sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
pub struct Room {
    /// One's own connection.
    pub session: SessionId,
    /// Version of the server.
    pub server_version: String,
    /// The organization.
    pub organization: Organization,
    /// What one may do in it, channels aside.
    #[ts(type = "number")]
    pub permissions: Permissions,
    /// Channels; parents before their children, siblings in their order.
    pub channels: Vec<Channel>,
    /// Everybody connected, oneself included.
    pub members: Vec<Member>,
}

impl From<Snapshot> for Room {
    fn from(snapshot: Snapshot) -> Self {
        Self {
            session: snapshot.session,
            server_version: snapshot.server_version,
            organization: snapshot.organization,
            permissions: snapshot.permissions,
            channels: snapshot.channels,
            members: snapshot.members,
        }
    }
}

impl Room {
    /// Applies a change.
    pub fn apply(&mut self, change: &MembersChange) {
        if !change.gone.is_empty() {
            self.members.retain(|member| !change.gone.contains(&member.session));
        }
        for member in &change.changed {
            match self.members.iter_mut().find(|known| known.session == member.session) {
                Some(known) => known.clone_from(member),
                None => self.members.push(member.clone()),
            }
        }
    }

    /// One's own entry.
    pub fn me(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.session == self.session)
    }
}
