//! What the engine tells: events as things happen, and the whole state on demand.

use serde::Serialize;
use ts_rs::TS;
use voip_protocol::{ChannelId, SessionId, control::MembersChange};

use crate::{ClientError, Room, voice::Way};

/// Something happened.
#[derive(Clone, Debug, Serialize, TS)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// The connection's state changed.
    Connection(Connection),
    /// The room is replaced as a whole: connected, reconnected; null: no longer connected.
    Room(Option<Room>),
    /// Members came, changed or went; [`Room::apply`] says how.
    Members(MembersChange),
    /// A device was opened, lost or replaced.
    Audio(AudioState),
    /// Microphone level and gate, about 20 times a second.
    Levels(Levels),
    /// Counters and delays, once a second while connected.
    Statistics(Statistics),
    /// Something that the person should know and that no request of theirs is waiting for.
    Problem(ClientError),
}

/// How far the connection is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Connection {
    /// Not connected, and not trying.
    Disconnected {
        /// Why, where nobody asked for it: trying again by itself would not help.
        reason: Option<ClientError>,
    },
    /// Connecting for the first time.
    Connecting {
        /// host:port.
        server: String,
    },
    /// Connected.
    Connected {
        /// host:port.
        server: String,
    },
    /// The connection was lost; it comes back by itself.
    Reconnecting {
        /// host:port.
        server: String,
        /// Tries so far.
        attempt: u32,
        /// The next try is in this many milliseconds.
        retry_in_ms: u64,
        /// Why the last one failed.
        reason: ClientError,
    },
}

/// The devices in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, TS)]
pub struct AudioState {
    /// Name of the microphone; null when there is none.
    pub input: Option<String>,
    /// Why there is none.
    pub input_problem: Option<ClientError>,
    /// Name of the speaker; null when there is none.
    pub output: Option<String>,
    /// Why there is none.
    pub output_problem: Option<ClientError>,
}

/// The microphone, now.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, TS)]
pub struct Levels {
    /// Loudest sample since the last event, in dBFS (−96 to 0).
    pub input: f32,
    /// Whether voice is being sent.
    pub transmitting: bool,
}

/// What has been sent and heard since the connection was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, TS)]
pub struct Statistics {
    /// Voice packets sent.
    #[ts(type = "number")]
    pub frames_sent: u64,
    /// Voice packets received that opened.
    #[ts(type = "number")]
    pub frames_received: u64,
    /// Frames that never came.
    #[ts(type = "number")]
    pub frames_lost: u64,
    /// Frames that came after their turn.
    #[ts(type = "number")]
    pub frames_late: u64,
    /// Frames made up by the decoder.
    #[ts(type = "number")]
    pub frames_concealed: u64,
    /// Packets that did not open, were replayed, or came from strangers.
    #[ts(type = "number")]
    pub packets_rejected: u64,
    /// Captured samples lost because the engine was late to take them, and played ones missing, in frames.
    #[ts(type = "number")]
    pub device_overruns: u64,
    /// Times that the speaker asked for sound and there was none ready.
    #[ts(type = "number")]
    pub device_underruns: u64,
    /// How voice gets to the server and back.
    pub way: Way,
    /// Round trip to the server this way, smoothed, in milliseconds; null before the first answer.
    pub rtt_ms: Option<f32>,
    /// The shortest of the last round trips, in milliseconds.
    pub rtt_min_ms: Option<f32>,
    /// How far round trips stray from the smoothed one, in milliseconds.
    pub jitter_ms: f32,
    /// Share of the last 64 pings that were not answered, 0 to 1.
    pub ping_loss: f32,
    /// Share of pings that was lost on the way to the server, 0 to 1.
    pub loss_up: f32,
    /// Share of answers that was lost on the way back, 0 to 1.
    pub loss_down: f32,
    /// Whoever was heard in this connection.
    pub talkers: Vec<TalkerStatistics>,
}

/// One talker, as heard here.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct TalkerStatistics {
    /// Who.
    pub session: SessionId,
    /// Frames received that opened.
    #[ts(type = "number")]
    pub received: u64,
    /// Frames that never came.
    #[ts(type = "number")]
    pub lost: u64,
    /// Frames that came after their turn.
    #[ts(type = "number")]
    pub late: u64,
    /// Frames made up by the decoder.
    #[ts(type = "number")]
    pub concealed: u64,
    /// Frames that are whole although part of them was lost.
    #[ts(type = "number")]
    pub repaired: u64,
    /// Packets and frames that hold no voice.
    #[ts(type = "number")]
    pub malformed: u64,
    /// Share of the packets that got lost, of late, 0 to 1.
    pub loss: f32,
    /// The same as it is felt: more, where several are lost in a row.
    pub felt_loss: f32,
    /// Delay of the jitter buffer, in milliseconds.
    pub buffer_ms: f32,
    /// From the talker's microphone to this speaker, in milliseconds, estimated over the server's clock;
    /// null before it is known.
    pub mouth_to_ear_ms: Option<f32>,
}

/// Everything, at one moment.
#[derive(Clone, Debug, Serialize, TS)]
pub struct EngineState {
    /// Connection.
    pub connection: Connection,
    /// Who is where; null when not connected.
    pub room: Option<Room>,
    /// The channel one wants to be in, also across reconnects.
    pub channel: Option<ChannelId>,
    /// Own microphone is off.
    pub muted: bool,
    /// Own speaker is off, and the microphone with it.
    pub deafened: bool,
    /// Devices.
    pub audio: AudioState,
    /// Counters.
    pub statistics: Statistics,
}
