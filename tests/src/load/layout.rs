//! Who is who: which client has which address, which channel it is in, who hears whom.

use std::net::Ipv4Addr;

/// Address of the first client. The others follow it, within 127.0.0.0/8, all of which is this machine.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 20, 0, 1);

/// How many clients there are, and how they are spread over channels: the first so many in the first, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Clients in all.
    pub clients: usize,
    /// Clients in a channel; the last one may have fewer.
    pub per_channel: usize,
}

impl Layout {
    /// Channels that hold the clients.
    pub fn channels(self) -> usize {
        self.clients.div_ceil(self.per_channel)
    }

    /// The channel that a client is in.
    pub fn channel_of(self, client: usize) -> usize {
        client / self.per_channel
    }

    /// The place of a client among those of its channel.
    pub fn place_of(self, client: usize) -> usize {
        client % self.per_channel
    }

    /// The clients of a channel.
    pub fn members(self, channel: usize) -> std::ops::Range<usize> {
        let first = channel * self.per_channel;
        first..(first + self.per_channel).min(self.clients)
    }

    /// How many hear a client: the others of its channel.
    pub fn listeners_of(self, client: usize) -> usize {
        self.members(self.channel_of(client)).len() - 1
    }

    /// The talkers, where so many of each channel talk: in turn one of each channel, so that no channel's packets
    /// follow each other more closely than they must.
    pub fn talkers(self, per_channel: usize) -> Vec<usize> {
        (0..per_channel)
            .flat_map(|place| {
                (0..self.channels()).filter_map(move |channel| self.members(channel).nth(place))
            })
            .collect()
    }

    /// The client that has this address.
    pub fn client_at(self, address: Ipv4Addr) -> Option<usize> {
        let client = address.to_bits().checked_sub(FIRST.to_bits())? as usize;
        (client < self.clients).then_some(client)
    }
}

/// The address of a client.
pub fn address_of(client: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(FIRST.to_bits() + client as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout { clients: 25, per_channel: 10 };

    #[test]
    fn the_last_channel_has_what_is_left() {
        assert_eq!(LAYOUT.channels(), 3);
        assert_eq!(LAYOUT.members(2), 20..25);
        assert_eq!((LAYOUT.listeners_of(3), LAYOUT.listeners_of(24)), (9, 4));
        assert_eq!((LAYOUT.channel_of(19), LAYOUT.place_of(19)), (1, 9));
    }

    #[test]
    fn talkers_come_channel_by_channel() {
        assert_eq!(LAYOUT.talkers(2), [0, 10, 20, 1, 11, 21]);
        assert_eq!(LAYOUT.talkers(7).len(), 7 + 7 + 5);
    }

    #[test]
    fn addresses_lead_back_to_their_clients() {
        let large = Layout { clients: 1_000, per_channel: 10 };
        assert!((0..1_000).all(|client| large.client_at(address_of(client)) == Some(client)));
        assert!((0..1_000).all(|client| address_of(client).is_loopback()));
        assert_eq!(address_of(300), Ipv4Addr::new(127, 20, 1, 45));
        assert_eq!(large.client_at(address_of(1_000)), None);
        assert_eq!(large.client_at(Ipv4Addr::LOCALHOST), None);
    }
}
