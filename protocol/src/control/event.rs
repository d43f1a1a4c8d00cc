//! What a server says on the control socket: answers, and events in order.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use crate::{
    ChannelId, ContextId, Epoch, ErrorBody, OrganizationId, Permissions, SessionId, UserId,
    secret::{ContextSecret, TagSecret},
};

/// One text message from the server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ServerMessage {
    /// `{"event": "...", "data": {...}}`.
    Event(ServerEvent),
    /// `{"id": 7, "error": {"code": "...", "message": "..."}}`; the id is null where the request had none.
    Failure {
        /// Which request.
        id: Option<u64>,
        /// Why.
        error: ErrorBody,
    },
    /// `{"id": 7, "result": {...}}`.
    Success {
        /// Which request.
        id: u64,
        /// What its method answers.
        result: Value,
    },
}

/// An event. A client starts from `snapshot` and applies the others in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum ServerEvent {
    /// The first event of every connection.
    Snapshot(Box<Snapshot>),
    /// A context's secret, for those who are in it: at joining, and at each new epoch.
    ChannelKey(ChannelKey),
    /// The session sends more voice than the server lets it; what was above was dropped. Comes once in some seconds.
    VoiceClipped {
        /// How many packets were dropped since the last such event.
        packets: u32,
    },
    /// The server stops: it closes the connection next.
    ServerStopping {
        /// For people.
        message: String,
    },
    /// Somebody came, went, moved, spoke.
    Members(MembersChange),
}

/// What has changed of who is where since the client was last told. Whoever is named is as they are now, however often
/// that changed meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct MembersChange {
    /// Who came, moved, muted, spoke.
    pub changed: Vec<Member>,
    /// Whose connection is gone.
    pub gone: Vec<SessionId>,
}

/// All that a client may see, at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// The client's own session.
    pub session: SessionId,
    /// How to speak on the voice plane.
    pub voice: VoiceSession,
    /// Version of the server.
    pub server_version: String,
    /// The organization that the session is in.
    pub organization: Organization,
    /// What the session may do in the organization, channels aside.
    pub permissions: Permissions,
    /// Visible channels; parents come before their children, siblings in their order.
    pub channels: Vec<Channel>,
    /// Oneself, then others who are connected; where these are many, `members` follow with the rest. Whoever is in a
    /// channel that one may not see has none here.
    pub members: Vec<Member>,
}

/// A session's place on the voice plane.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VoiceSession {
    /// UDP port, on the host of the control plane.
    pub port: u16,
    /// Key of the tags on what the client sends.
    pub uplink: TagSecret,
    /// Key of the tags on the server's own packets to the client.
    pub downlink: TagSecret,
}

/// An organization as its members see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Organization {
    /// Row id.
    pub id: OrganizationId,
    /// Name.
    pub name: String,
    /// Short unique name, for logging in.
    pub tag: String,
}

/// A channel as its visitors see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Channel {
    /// Row id.
    pub id: ChannelId,
    /// The channel it lies in; null at the top.
    pub parent: Option<ChannelId>,
    /// Name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// How many may be in it; null for no limit.
    pub max_users: Option<u32>,
    /// What the session may do here.
    #[ts(type = "number")]
    pub permissions: Permissions,
}

/// One connection of somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Member {
    /// The connection. An account with two devices is two members.
    pub session: SessionId,
    /// The account.
    pub user: UserId,
    /// User name.
    pub username: String,
    /// How others see it.
    pub display_name: String,
    /// The channel it is in.
    pub channel: Option<ChannelId>,
    /// Sends no voice.
    pub muted: bool,
    /// Gets no voice.
    pub deafened: bool,
    /// Talks now.
    pub talking: bool,
}

/// The secret of a channel's context.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChannelKey {
    /// Which channel.
    pub channel: ChannelId,
    /// What stands for it in voice packets.
    pub context: ContextId,
    /// Generation.
    pub epoch: Epoch,
    /// From which each talker's SFrame key is derived.
    pub secret: ContextSecret,
    /// Talkers use it from this long after its arrival, in milliseconds; 0 where there is none before it.
    pub switch_after_ms: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ErrorCode;

    #[test]
    fn the_three_kinds_are_told_apart() {
        let change = MembersChange { changed: Vec::new(), gone: vec![SessionId(4)] };
        let event = ServerMessage::Event(ServerEvent::Members(change.clone()));
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(text, r#"{"event":"members","data":{"changed":[],"gone":[4]}}"#);
        let ServerMessage::Event(ServerEvent::Members(read)) = serde_json::from_str(&text).unwrap() else {
            panic!("{text} is an event of members");
        };
        assert_eq!(read, change);
        let failure = ServerMessage::Failure { id: None, error: ErrorBody::new(ErrorCode::Internal, "x") };
        let text = serde_json::to_string(&failure).unwrap();
        assert!(matches!(serde_json::from_str(&text).unwrap(), ServerMessage::Failure { id: None, .. }));
        let success = ServerMessage::Success { id: 1, result: Value::Null };
        let text = serde_json::to_string(&success).unwrap();
        assert!(matches!(serde_json::from_str(&text).unwrap(), ServerMessage::Success { id: 1, .. }));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = serde_json::from_str::<ServerMessage>(&text);
        }
    }
}
