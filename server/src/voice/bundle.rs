//! What arrived together for one listener leaves together.

use std::{cmp::Reverse, sync::Arc};

use voip_protocol::SessionId;

use super::{Addresses, Listener, Path};

/// Bytes of one bundle: what fits a datagram of IPv4, with room for the headers.
const MOST_BYTES: usize = 65_000;

/// An authentic voice packet that its talker may send now.
#[derive(Clone, Copy, Debug)]
pub struct Accepted<'b, 'r> {
    /// Who speaks.
    pub talker: SessionId,
    /// Whom it is for, the talker perhaps among them.
    pub listeners: &'r Arc<[Listener]>,
    /// The bytes that they get.
    pub body: &'b [u8],
}

/// Calls `send` for each bundle of packets to one address; returns how many packets that were.
///
/// The packets of a bundle have one length, and only the last of them may be shorter: that is what the system splits
/// into datagrams by itself (`UDP_SEGMENT`). For that they are sorted, by whom they are for and by length; those of
/// one length stay in the order in which they came.
pub fn bundle<'b, 'r>(
    packets: &mut [Accepted<'b, 'r>],
    addresses: &Addresses,
    mut send: impl FnMut(&[Accepted<'b, 'r>], Path),
) -> u64 {
    let mut sent = 0;
    // A place in memory is as good a key as any other: it only brings together what goes to the same list. Stable
    // sorting would allocate; the addresses of the bodies rise as they came.
    packets.sort_unstable_by_key(|packet| {
        (Arc::as_ptr(packet.listeners).addr(), Reverse(packet.body.len()), packet.body.as_ptr().addr())
    });
    for group in packets.chunk_by(|one, other| Arc::ptr_eq(one.listeners, other.listeners)) {
        for &listener in &**group[0].listeners {
            // A listener without an address has not spoken on UDP yet: there is nowhere to send to.
            let Some(path) = addresses.of(listener) else { continue };
            let mut rest = group;
            while !rest.is_empty() {
                let (run, others) = rest.split_at(run_of(rest));
                rest = others;
                for piece in run.split(|packet| packet.talker == listener.session) {
                    if !piece.is_empty() {
                        send(piece, path);
                        sent += piece.len() as u64;
                    }
                }
            }
        }
    }
    sent
}

/// How many of the packets, from the first on, make one bundle.
fn run_of(packets: &[Accepted]) -> usize {
    let length = packets[0].body.len().max(1);
    let most = (MOST_BYTES / length).max(1);
    let equal = packets.iter().take(most).take_while(|packet| packet.body.len() == length).count();
    // They are sorted: what follows is shorter, and may be the last.
    if equal < most && equal < packets.len() { equal + 1 } else { equal.max(1) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{collections::HashMap, net::SocketAddr};

    use proptest::prelude::*;

    use super::{super::Seat, *};

    fn listener(session: u32) -> Listener {
        Listener { session: SessionId(session), seat: Seat(session) }
    }

    /// Of eight listeners.
    fn addresses() -> Addresses {
        let mut addresses = Addresses::default();
        for n in 1..9 {
            addresses.heard_from(SessionId(n), Seat(n), address(n));
        }
        addresses
    }

    fn address(session: u32) -> Path {
        SocketAddr::from(([127, 0, 0, 1], 1_000 + session as u16)).into()
    }

    #[test]
    fn one_bundle_a_listener() {
        let room: Arc<[_]> = (1..=6).map(listener).collect();
        let bodies = [[7; 100]; 3];
        let mut packets: Vec<_> = (1..=3)
            .zip(&bodies)
            .map(|(talker, body)| Accepted { talker: SessionId(talker), listeners: &room, body })
            .collect();
        let mut bundles = Vec::new();
        let sent = bundle(&mut packets, &addresses(), |packets, to| bundles.push((to, packets.len())));
        // The talker in the middle of the three gets what is before its own and what is after it.
        let at = address;
        assert_eq!(
            bundles,
            [(at(1), 2), (at(2), 1), (at(2), 1), (at(3), 2), (at(4), 3), (at(5), 3), (at(6), 3)]
        );
        assert_eq!(sent, 2 * 3 + 3 * 3);
    }

    proptest! {
        /// Whatever comes together, everybody gets each packet of their room but their own, once, and each bundle is
        /// one that the system can split.
        #[test]
        fn everybody_gets_everything_once(
            packets in prop::collection::vec((1u32..9, 1usize..1_200), 0..64),
            rooms in prop::collection::vec(0usize..3, 8),
        ) {
            let lists: Vec<Arc<[Listener]>> = (0..3)
                .map(|room| (1..9).filter(|n| rooms[*n as usize - 1] == room).map(listener).collect())
                .collect();
            let buffer = vec![0u8; 64 * 1_200];
            let slots: Vec<_> = buffer.chunks(1_200).collect();
            let mut accepted: Vec<_> = packets
                .iter()
                .zip(&slots)
                .map(|(&(talker, length), slot)| Accepted {
                    talker: SessionId(talker),
                    listeners: &lists[rooms[talker as usize - 1]],
                    body: &slot[..length],
                })
                .collect();
            let mut got: HashMap<Path, Vec<usize>> = HashMap::new();
            let mut total = 0;
            let sent = bundle(&mut accepted, &addresses(), |bundle, to| {
                let length = bundle[0].body.len();
                let (last, equal) = bundle.split_last().unwrap();
                assert!(equal.iter().all(|packet| packet.body.len() == length) && last.body.len() <= length);
                assert!(bundle.iter().map(|packet| packet.body.len()).sum::<usize>() <= MOST_BYTES);
                total += bundle.len() as u64;
                let which = bundle.iter().map(|packet| {
                    (packet.body.as_ptr().addr() - buffer.as_ptr().addr()) / 1_200
                });
                got.entry(to).or_default().extend(which);
            });
            prop_assert_eq!(sent, total);
            for listener in 1..9u32 {
                let room = rooms[listener as usize - 1];
                let expected: Vec<_> = (0..packets.len())
                    .filter(|n| packets[*n].0 != listener && rooms[packets[*n].0 as usize - 1] == room)
                    .collect();
                let mut mine = got.remove(&address(listener)).unwrap_or_default();
                mine.sort_unstable();
                prop_assert_eq!(mine, expected);
            }
        }
    }
}
