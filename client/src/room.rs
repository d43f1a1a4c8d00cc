//! Who is where: what the server's snapshot says, kept up to date by its events.

use serde::Serialize;
use ts_rs::TS;
use voip_protocol::{
    Permissions, SessionId,
    control::{Channel, Member, Organization, RoomChange, Snapshot},
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
    /// Applies one change. Whoever is not known is passed over: the next snapshot tells.
    pub fn apply(&mut self, change: &RoomChange) {
        match change {
            RoomChange::MemberOnline(member) => match self.member_mut(member.session) {
                Some(known) => known.clone_from(member),
                None => self.members.push(member.clone()),
            },
            RoomChange::MemberOffline { session } => self.members.retain(|member| member.session != *session),
            RoomChange::MemberMoved { session, channel } => {
                if let Some(member) = self.member_mut(*session) {
                    member.channel = *channel;
                    member.talking = false;
                }
            }
            RoomChange::MemberState { session, muted, deafened } => {
                if let Some(member) = self.member_mut(*session) {
                    (member.muted, member.deafened) = (*muted, *deafened);
                    member.talking &= !muted;
                }
            }
            RoomChange::MemberTalking { session, talking } => {
                if let Some(member) = self.member_mut(*session) {
                    member.talking = *talking;
                }
            }
        }
    }

    /// One's own entry.
    pub fn me(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.session == self.session)
    }

    fn member_mut(&mut self, session: SessionId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.session == session)
    }
}
