//! Many datagrams with one system call, on Linux.
//!
//! A system call for each datagram is most of what forwarding costs. `recvmmsg` takes all that wait, `sendmmsg` gives
//! many away, and with `UDP_SEGMENT` several for one listener pass through the network stack as one.

#![expect(unsafe_code, reason = "the system's calls for many datagrams have no safe form")]

use std::{
    io,
    marker::PhantomData,
    mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket},
    os::fd::AsRawFd,
    ptr,
};

use voip_protocol::limits::MAX_VOICE_PACKET;

use super::Path;

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

/// Reads an address that the system wrote.
fn address_of(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: `sockaddr_storage` is large enough and aligned for every address, and the family says that this
            // is one of IPv4.
            let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from_bits(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above, and the family says that this is one of IPv6.
            let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let (ip, port) = (Ipv6Addr::from(name.sin6_addr.s6_addr), u16::from_be(name.sin6_port));
            Some(SocketAddrV6::new(ip, port, u32::from_be(name.sin6_flowinfo), name.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// An address as the system reads it.
union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Name {
    /// With its length.
    fn of(address: SocketAddr) -> (Self, libc::socklen_t) {
        match address {
            SocketAddr::V4(address) => {
                let v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: address.ip().to_bits().to_be() },
                    sin_zero: [0; 8],
                };
                (Self { v4 }, size_of::<libc::sockaddr_in>() as libc::socklen_t)
            }
            SocketAddr::V6(address) => {
                let v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: address.flowinfo().to_be(),
                    sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                    sin6_scope_id: address.scope_id(),
                };
                (Self { v6 }, size_of::<libc::sockaddr_in6>() as libc::socklen_t)
            }
        }
    }
}

/// What control messages are aligned to, and filled up to.
type Word = usize;
/// Bytes of control messages beside one datagram: our address, and how to split.
const CONTROL: usize = 64;

/// Control messages, one after the other as `CMSG_SPACE` says.
#[derive(Clone, Copy, Default)]
struct Control {
    words: [Word; CONTROL / size_of::<Word>()],
    /// In bytes.
    length: usize,
}

impl Control {
    /// Has the system send from this address. On a link's own network the peer's scope names the interface.
    fn push_local(&mut self, local: IpAddr) {
        match local {
            IpAddr::V4(ip) => {
                let spec = libc::in_addr { s_addr: ip.to_bits().to_be() };
                let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: spec, ipi_addr: spec };
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            IpAddr::V6(ip) => {
                let address = libc::in6_addr { s6_addr: ip.octets() };
                let info = libc::in6_pktinfo { ipi6_addr: address, ipi6_ifindex: 0 };
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
        }
    }

    /// Has the system split what is sent into datagrams of so many bytes.
    fn push_segment(&mut self, bytes: u16) {
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, bytes);
    }

    fn push<T: Copy>(&mut self, level: libc::c_int, kind: libc::c_int, value: T) {
        let size = size_of::<T>() as libc::c_uint;
        // SAFETY: they compute numbers.
        let (length, space) = unsafe { (libc::CMSG_LEN(size), libc::CMSG_SPACE(size) as usize) };
        assert!(self.length + space <= CONTROL, "one address and one length fit");
        // SAFETY: zeroes are a valid `cmsghdr`; some C libraries have fields to fill up.
        let mut header: libc::cmsghdr = unsafe { mem::zeroed() };
        (header.cmsg_len, header.cmsg_level, header.cmsg_type) = (length as _, level, kind);
        // SAFETY: so many bytes are left, as was just seen; a header is aligned to words, and each space is a multiple of
        // them; the value is written wherever it comes to lie.
        unsafe {
            let at = self.words.as_mut_ptr().add(self.length / size_of::<Word>()).cast::<libc::cmsghdr>();
            at.write(header);
            libc::CMSG_DATA(at).cast::<T>().write_unaligned(value);
        }
        self.length += space;
    }

    /// By which of our addresses it came, where the system told.
    fn local(&self) -> Option<IpAddr> {
        // What was sent to many came by none that can be answered from.
        let one = |ip: &IpAddr| match ip.to_canonical() {
            IpAddr::V4(ip) => !(ip.is_multicast() || ip.is_broadcast() || ip.is_unspecified()),
            IpAddr::V6(ip) => !(ip.is_multicast() || ip.is_unspecified()),
        };
        self.destination().filter(one)
    }

    /// Where it was sent to: the system tells nothing else.
    fn destination(&self) -> Option<IpAddr> {
        if let Some(info) = self.first::<libc::in_pktinfo>(libc::IPPROTO_IP, libc::IP_PKTINFO) {
            return Some(Ipv4Addr::from_bits(u32::from_be(info.ipi_spec_dst.s_addr)).into());
        }
        let info = self.first::<libc::in6_pktinfo>(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO)?;
        Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into())
    }

    fn first<T: Copy>(&self, level: libc::c_int, kind: libc::c_int) -> Option<T> {
        // SAFETY: it computes a number.
        let whole = unsafe { libc::CMSG_LEN(size_of::<T>() as libc::c_uint) } as usize;
        if self.length < whole {
            return None;
        }
        let at = self.words.as_ptr().cast::<libc::cmsghdr>();
        // SAFETY: the words are aligned for a header, and there are as many bytes as one with its value takes.
        #[allow(clippy::unnecessary_cast, reason = "some C libraries have a narrower length")]
        unsafe {
            let header = at.read();
            let ours = header.cmsg_level == level && header.cmsg_type == kind;
            (ours && header.cmsg_len as usize >= whole)
                .then(|| libc::CMSG_DATA(at).cast::<T>().read_unaligned())
        }
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
    use std::time::Duration;

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

    #[test]
    fn addresses_go_both_ways() {
        for address in ["127.0.0.1:9001", "[::1]:9001", "[fe80::7%3]:65535", "0.0.0.0:0"] {
            let address: SocketAddr = address.parse().unwrap();
            let (name, length) = Name::of(address);
            // SAFETY: zeroes are a valid `sockaddr_storage`.
            let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
            // SAFETY: the name has so many bytes, and the storage more.
            unsafe {
                let (name, storage) = (ptr::from_ref(&name).cast::<u8>(), ptr::from_mut(&mut storage).cast());
                ptr::copy_nonoverlapping(name, storage, length as usize);
            }
            assert_eq!(address_of(&storage), Some(address));
        }
    }
}
