//! Many datagrams with one system call, on Linux.
//!
//! A system call for each datagram is most of what forwarding costs. `recvmmsg` takes all that wait, `sendmmsg` gives
//! many away, and with `UDP_SEGMENT` several for one listener pass through the network stack as one.

#![expect(unsafe_code, reason = "the system's calls for many datagrams have no safe form")]

mod control;
mod name;

use std::{
    io,
    marker::PhantomData,
    mem,
    net::{IpAddr, UdpSocket},
    os::fd::AsRawFd,
    ptr,
};

use voip_protocol::limits::MAX_VOICE_PACKET;

use super::Path;

use control::{CONTROL, Control};
use name::{Name, address_of};

/// Datagrams that are received together, at most.
pub const BATCH: usize = 64;
/// One byte more than any packet, so that a longer one is seen to be longer.
const SLOT: usize = MAX_VOICE_PACKET + 1;
/// Messages that are handed over together.
const MESSAGES: usize = 512;
/// Packets in them.
const PIECES: usize = 2_048;

/// Has the system tell by which of its addresses a datagram came, where the socket listens on all of them.
pub fn learn_local(socket: &UdpSocket) -> io::Result<()> {
    let ip = socket.local_addr()?.ip();
    if !ip.is_unspecified() {
        return Ok(());
    }
    let (level, option) = match ip {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    let on: libc::c_int = 1;
    // SAFETY: the option takes an integer, which lives beyond the call, and is told its size.
    let set = unsafe {
        let (value, size) = (ptr::from_ref(&on).cast(), size_of_val(&on) as libc::socklen_t);
        libc::setsockopt(socket.as_raw_fd(), level, option, value, size)
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Where datagrams are received.
pub struct Inbox {
    slots: Box<[[u8; SLOT]]>,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
    lengths: Box<[usize]>,
    received: usize,
}

impl Default for Inbox {
    fn default() -> Self {
        // SAFETY: zeroes are a valid `sockaddr_storage`, of the family that is none.
        let name: libc::sockaddr_storage = unsafe { mem::zeroed() };
        Self {
            slots: vec![[0; SLOT]; BATCH].into(),
            names: vec![name; BATCH].into(),
            controls: vec![Control::default(); BATCH].into(),
            lengths: vec![0; BATCH].into(),
            received: 0,
        }
    }
}

impl Inbox {
    /// Waits for a datagram, as long as the socket's time-out says, and takes all that are there.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.received = 0;
        // SAFETY: zeroes are a valid `mmsghdr` and a valid `iovec`, pointing to nothing.
        let (mut pieces, mut headers): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        let parts = self.slots.iter_mut().zip(&mut self.names).zip(&mut self.controls);
        for (((slot, name), control), (piece, header)) in parts.zip(pieces.iter_mut().zip(&mut headers)) {
            *piece = libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: SLOT };
            header.msg_hdr.msg_iov = piece;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_control = control.words.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL as _;
        }
        // SAFETY: each of the `BATCH` headers points to one `iovec`, one name and one control buffer, which point to and
        // are memory that is theirs alone, of the lengths that they say, and lives beyond the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_WAITFORONE,
                ptr::null_mut(),
            )
        };
        self.received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        let parts = self.lengths.iter_mut().zip(&mut self.controls);
        #[allow(clippy::unnecessary_cast, reason = "some C libraries have a narrower length")]
        for ((length, control), header) in parts.zip(&headers).take(self.received) {
            *length = (header.msg_len as usize).min(SLOT);
            control.length = (header.msg_hdr.msg_controllen as usize).min(CONTROL);
        }
        Ok(())
    }

    /// What was received, and from where.
    pub fn datagrams(&self) -> impl Iterator<Item = (&[u8], Path)> {
        let from = self.names.iter().zip(&self.controls);
        let received = self.slots.iter().zip(&self.lengths).zip(from).take(self.received);
        received.filter_map(|((slot, &length), (name, control))| {
            let path = Path { peer: address_of(name)?, local: control.local() };
            Some((&slot[..length], path))
        })
    }
}

/// One message to be: some pieces for one address.
struct Message {
    name: Name,
    name_length: libc::socklen_t,
    pieces: usize,
    control: Control,
    /// Of its control messages' bytes, those of our address.
    local: usize,
}

/// Where messages wait until there are enough of them.
pub struct Outbox {
    messages: Vec<Message>,
    /// Of all messages, one after the other.
    pieces: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    /// Whether the system splits. Not every network card can.
    splits: bool,
    failed: u64,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            messages: Vec::with_capacity(MESSAGES),
            pieces: Vec::with_capacity(PIECES),
            headers: Vec::with_capacity(MESSAGES),
            splits: true,
            failed: 0,
        }
    }
}

impl Outbox {
    /// Sends all that `fill` pushes; returns how many packets could not be sent.
    pub fn send<'b>(&mut self, socket: &UdpSocket, fill: impl FnOnce(&mut Sender<'_, 'b>)) -> u64 {
        self.failed = 0;
        let mut sender = Sender { outbox: self, socket, packets: PhantomData };
        fill(&mut sender);
        // Also where `fill` panicked, nothing stays behind: see `Sender::drop`.
        drop(sender);
        self.failed
    }
}

/// Takes packets for an [`Outbox`]. Whatever it was given has been sent when it is gone.
pub struct Sender<'o, 'b> {
    outbox: &'o mut Outbox,
    socket: &'o UdpSocket,
    packets: PhantomData<&'b [u8]>,
}

impl<'b> Sender<'_, 'b> {
    /// Sends packets of one length, the last of them perhaps shorter, to one address.
    pub fn push(&mut self, to: Path, packets: impl ExactSizeIterator<Item = &'b [u8]>) {
        let count = packets.len();
        if self.outbox.splits && count <= PIECES {
            self.message(to, packets);
        } else {
            packets.for_each(|packet| self.message(to, std::iter::once(packet)));
        }
    }

    fn message(&mut self, to: Path, packets: impl ExactSizeIterator<Item = &'b [u8]>) {
        let outbox = &mut *self.outbox;
        if outbox.messages.len() == MESSAGES || outbox.pieces.len() + packets.len() > PIECES {
            outbox.flush(self.socket);
        }
        let before = outbox.pieces.len();
        for packet in packets {
            outbox
                .pieces
                .push(libc::iovec { iov_base: packet.as_ptr().cast_mut().cast(), iov_len: packet.len() });
        }
        let pieces = outbox.pieces.len() - before;
        let Some(first) = outbox.pieces.get(before) else { return };
        let (name, name_length) = Name::of(to.peer);
        let mut control = Control::default();
        if let Some(local) = to.local {
            control.push_local(local);
        }
        let local = control.length;
        if pieces > 1 {
            control.push_segment(first.iov_len as u16);
        }
        outbox.messages.push(Message { name, name_length, pieces, control, local });
    }
}

impl Drop for Sender<'_, '_> {
    fn drop(&mut self) {
        self.outbox.flush(self.socket);
    }
}

impl Outbox {
    /// Hands everything to the system. The pieces point to packets that the [`Sender`] borrows, so that they are there.
    fn flush(&mut self, socket: &UdpSocket) {
        self.headers.clear();
        let mut pieces = self.pieces.as_mut_ptr();
        for message in &mut self.messages {
            // SAFETY: zeroes are a valid `mmsghdr`.
            let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
            header.msg_hdr.msg_name = ptr::from_mut(&mut message.name).cast();
            header.msg_hdr.msg_namelen = message.name_length;
            header.msg_hdr.msg_iov = pieces;
            header.msg_hdr.msg_iovlen = message.pieces as _;
            if message.control.length > 0 {
                header.msg_hdr.msg_control = message.control.words.as_mut_ptr().cast();
                header.msg_hdr.msg_controllen = message.control.length as _;
            }
            self.headers.push(header);
            // SAFETY: the messages' counts add up to the length of `pieces`, so this stays within or just behind it.
            pieces = unsafe { pieces.add(message.pieces) };
        }
        let mut done = 0;
        while done < self.headers.len() {
            let rest = &mut self.headers[done..];
            // SAFETY: each header points to the name, the control messages and the pieces of its own message, which
            // live in `self` and are not touched meanwhile; each piece to a packet that the sender borrows.
            let sent = unsafe {
                libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as libc::c_uint, 0)
            };
            if let Ok(sent) = usize::try_from(sent) {
                done += sent;
                continue;
            }
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            // It is about the first of them alone.
            self.one_by_one(socket, done, &error);
            done += 1;
        }
        self.messages.clear();
        self.pieces.clear();
    }

    /// Sends the pieces of a message that the system would not take as a whole.
    fn one_by_one(&mut self, socket: &UdpSocket, index: usize, error: &io::Error) {
        let header = self.headers[index].msg_hdr;
        let Message { pieces, local, .. } = self.messages[index];
        if pieces == 1 {
            self.failed += 1;
            return;
        }
        let mut sent = 0;
        for piece in 0..pieces {
            let mut one = header;
            // SAFETY: the message has so many pieces.
            one.msg_iov = unsafe { header.msg_iov.add(piece) };
            one.msg_iovlen = 1;
            // What is said of our address stands first.
            one.msg_controllen = local as _;
            // SAFETY: as in `flush`.
            if unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const one, 0) } >= 0 {
                sent += 1;
            }
        }
        self.failed += (pieces - sent) as u64;
        // What a network card that cannot make the checksums, or an older system, answers: if it was about splitting.
        if sent > 0 && matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::ENOPROTOOPT)) {
            self.splits = false;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use socket2::{Domain, Socket, Type};

    use super::*;

    fn socket() -> (UdpSocket, Path) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address.into())
    }

    /// Each of the server's addresses is as good as the others, if it is asked and answers by the same one: one and
    /// several packets, split by the system or not.
    #[test]
    fn what_came_by_one_address_is_answered_from_it() {
        for (any, own) in [("0.0.0.0:0", ["127.0.0.1", "127.0.0.7"]), ("[::]:0", ["127.0.0.7", "::1"])] {
            let any: SocketAddr = any.parse().unwrap();
            if any.is_ipv6() && UdpSocket::bind("[::1]:0").is_err() {
                println!("passed over: this machine has no IPv6");
                continue;
            }
            let server = Socket::new(Domain::for_address(any), Type::DGRAM, None).unwrap();
            if any.is_ipv6() {
                server.set_only_v6(false).unwrap();
            }
            server.bind(&any.into()).unwrap();
            let server = UdpSocket::from(server);
            server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            learn_local(&server).unwrap();
            let port = server.local_addr().unwrap().port();
            for own in own {
                let own: IpAddr = own.parse().unwrap();
                let client = UdpSocket::bind(if own.is_ipv4() { "127.0.0.2:0" } else { "[::1]:0" }).unwrap();
                client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                // Whatever comes from another address does not reach it.
                client.connect((own, port)).unwrap();
                client.send(b"hello").unwrap();
                let mut inbox = Inbox::default();
                inbox.receive(&server).unwrap();
                let (bytes, path) = inbox.datagrams().next().unwrap();
                assert_eq!((bytes, path.local.map(|ip| ip.to_canonical())), (&b"hello"[..], Some(own)));
                for splits in [true, false] {
                    let mut outbox = Outbox { splits, ..Outbox::default() };
                    let failed = outbox.send(&server, |sender| {
                        sender.push(path, std::iter::once(&b"one"[..]));
                        sender.push(path, [&b"two"[..], b"six"].into_iter());
                    });
                    assert_eq!((failed, outbox.splits), (0, splits));
                    let mut buffer = [0; 8];
                    for expected in [b"one", b"two", b"six"] {
                        let length = client.recv(&mut buffer).unwrap();
                        assert_eq!(&buffer[..length], expected);
                    }
                }
            }
        }
    }

    #[test]
    fn an_address_that_is_gone_costs_its_packets_and_not_the_splitting() {
        let (_receiver, to) = socket();
        let server = UdpSocket::bind("0.0.0.0:0").unwrap();
        let gone = Path { local: Some("192.0.2.1".parse().unwrap()), ..to };
        let mut outbox = Outbox::default();
        let failed = outbox.send(&server, |sender| sender.push(gone, [&b"two"[..], b"six"].into_iter()));
        assert_eq!((failed, outbox.splits), (2, true));
    }

    #[test]
    fn what_is_sent_together_arrives_one_by_one() {
        let (sender, from) = socket();
        let (receiver, to) = socket();
        assert_eq!(from.local, None);
        let packets = [vec![1; 100], vec![2; 100], vec![3; 60]];
        for splits in [true, false] {
            let mut outbox = Outbox { splits, ..Outbox::default() };
            let failed = outbox.send(&sender, |sender| {
                sender.push(to, packets.iter().map(Vec::as_slice));
                sender.push(to, std::iter::once(&[4; MAX_VOICE_PACKET + 100][..]));
                sender.push(to, std::iter::empty());
            });
            assert_eq!(failed, 0);
            let (mut inbox, mut received) = (Inbox::default(), Vec::new());
            while received.len() < 4 {
                inbox.receive(&receiver).unwrap();
                received.extend(inbox.datagrams().map(|(bytes, from)| (bytes.to_vec(), from)));
            }
            // Longer than any packet: seen to be so.
            let long = vec![4; SLOT];
            let expected = packets.iter().cloned().chain([long]).map(|packet| (packet, from));
            assert_eq!(received, expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn more_than_there_is_room_for_is_sent_in_turns() {
        let (sender, _) = socket();
        let (receiver, to) = socket();
        socket2::SockRef::from(&receiver).set_recv_buffer_size(8 << 20).unwrap();
        // Few enough that the receiver's buffer holds them.
        let packets: Vec<_> = (0..300u32).map(u32::to_be_bytes).collect();
        let mut outbox = Outbox::default();
        let failed = outbox.send(&sender, |sender| {
            for packet in &packets {
                sender.push(to, std::iter::once(&packet[..]));
            }
            for packets in packets.chunks(60) {
                sender.push(to, packets.iter().map(|packet| &packet[..]));
            }
        });
        assert_eq!(failed, 0);
        let (mut inbox, mut received) = (Inbox::default(), Vec::new());
        while received.len() < 600 {
            inbox.receive(&receiver).unwrap();
            received
                .extend(inbox.datagrams().map(|(bytes, _)| u32::from_be_bytes(bytes.try_into().unwrap())));
        }
        assert_eq!(received, (0..300).chain(0..300).collect::<Vec<_>>());
    }

    #[test]
    fn what_cannot_be_sent_is_counted_and_hinders_nothing() {
        let (sender, _) = socket();
        let (receiver, to) = socket();
        // A socket of IPv4 reaches nobody on IPv6.
        let nowhere = "[2001:db8::1]:9".parse::<SocketAddr>().unwrap().into();
        let failed = Outbox::default().send(&sender, |sender| {
            sender.push(nowhere, std::iter::once(&b"lost"[..]));
            sender.push(nowhere, [&b"lost"[..], b"lost"].into_iter());
            sender.push(to, std::iter::once(&b"kept"[..]));
        });
        assert_eq!(failed, 3);
        let mut inbox = Inbox::default();
        inbox.receive(&receiver).unwrap();
        assert_eq!(inbox.datagrams().map(|(bytes, _)| bytes).collect::<Vec<_>>(), [b"kept"]);
    }
}
