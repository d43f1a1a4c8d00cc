//! Where each session was last heard from.

use voip_protocol::SessionId;

use super::{Listener, Path, Seat};

/// The addresses of all who were heard, side by side by their seats: a talker's listeners are looked up one after the
/// other, and an address behind a pointer of its own would be waited for each time. The voice thread alone has it.
#[derive(Debug, Default)]
pub struct Addresses {
    places: Vec<Option<Place>>,
}

/// Who sat there when it was last heard from.
#[derive(Clone, Copy, Debug)]
struct Place {
    session: SessionId,
    path: Path,
}

impl Addresses {
    /// Where to send what a listener should hear; none while it has not been heard itself.
    pub fn of(&self, listener: Listener) -> Option<Path> {
        let place = self.places.get(listener.seat.index())?.as_ref()?;
        // Whoever sat there before is not told what this one should hear.
        (place.session == listener.session).then_some(place.path)
    }

    /// An authentic packet came from here. Allocates only where nobody sat so high before.
    pub fn heard_from(&mut self, session: SessionId, seat: Seat, from: Path) {
        if self.places.len() <= seat.index() {
            self.places.resize(seat.index() + 1, None);
        }
        self.places[seat.index()] = Some(Place { session, path: from });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn an_address_goes_with_its_session_and_not_with_the_seat() {
        let mut addresses = Addresses::default();
        let [one, other] = [1, 2].map(|n| Listener { session: SessionId(n), seat: Seat(3) });
        assert_eq!(addresses.of(one), None);
        for peer in ["192.0.2.1:9", "[2001:db8::1%7]:9"] {
            let peer: SocketAddr = peer.parse().unwrap();
            for local in [None, Some(peer.ip())] {
                let path = Path { peer, local };
                addresses.heard_from(one.session, one.seat, path);
                assert_eq!((addresses.of(one), addresses.of(other)), (Some(path), None));
            }
        }
        assert_eq!(addresses.of(Listener { seat: Seat(2), ..one }), None);
        assert_eq!(addresses.of(Listener { seat: Seat(u32::MAX), ..one }), None);
    }
}
