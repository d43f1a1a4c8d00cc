//! What the voice plane has seen. Each packet costs one count, whatever it holds.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters since the start of the server.
        #[derive(Debug, Default)]
        pub struct VoiceCounters {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        /// The counters at one moment.
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
        )]
        pub struct VoiceFigures {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl VoiceCounters {
            /// All of them, now.
            pub fn figures(&self) -> VoiceFigures {
                VoiceFigures { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Datagrams that came in.
    received,
    /// Bytes that came in.
    received_bytes,
    /// Datagrams that went out, one for each listener.
    forwarded,
    /// Bytes that went out.
    forwarded_bytes,
    /// Pings answered.
    pings,
    /// Dropped: no packet of the protocol.
    malformed,
    /// Dropped: the session is not one of this server.
    unknown_session,
    /// Dropped: the tag is wrong.
    bad_tag,
    /// Dropped: seen before, or too old to tell.
    replayed,
    /// Dropped: above what its session may send in a second.
    rate_limited,
    /// Dropped: the talker is muted, in no channel, or may not speak there.
    not_allowed,
    /// Dropped: spoken into another context than the talker is in.
    wrong_context,
    /// Bytes that were dropped, for whatever reason.
    dropped_bytes,
    /// Not sent: the system took no more.
    send_failed,
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
