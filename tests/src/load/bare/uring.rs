//! `io_uring`: receives stand in the ring, sends are put there for all listeners and handed over with one call.

#![expect(unsafe_code, reason = "the ring takes pointers to what it reads and writes")]

use std::{
    io, mem,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    os::fd::AsRawFd,
};

use io_uring::{IoUring, opcode, squeue, types::Fd};
use nix::libc::{AF_INET, in_addr, iovec, msghdr, sa_family_t, sockaddr_in, socklen_t};
use voip_protocol::limits::MAX_VOICE_PACKET;

use super::Room;

/// Entries of the ring.
const ENTRIES: u32 = 1_024;
/// Datagrams that may be under way.
const SLOTS: usize = 64;
/// Marks the end of a send; the rest of the word is the slot.
const SENT: u64 = 1 << 32;

/// A datagram on its way in, then out.
struct Slot {
    buffer: [u8; MAX_VOICE_PACKET],
    length: usize,
    incoming: Message,
    outgoing: Vec<Message>,
    /// Sends that have not ended.
    under_way: usize,
}

/// What the system is told of one datagram. It points into itself: it stays where it is while it is in the ring.
struct Message {
    header: msghdr,
    name: sockaddr_in,
    bytes: iovec,
}

impl Message {
    fn new() -> Self {
        // SAFETY: zeroes are valid for all three, and point to nothing.
        unsafe { mem::zeroed() }
    }

    fn point_at(&mut self, bytes: *mut u8, length: usize) {
        self.bytes = iovec { iov_base: bytes.cast(), iov_len: length };
        self.header.msg_iov = &raw mut self.bytes;
        self.header.msg_iovlen = 1;
        self.header.msg_name = (&raw mut self.name).cast();
        self.header.msg_namelen = size_of::<sockaddr_in>() as socklen_t;
    }
}

pub(super) fn run(socket: &UdpSocket, mut room: Room) -> io::Result<()> {
    let mut ring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(ENTRIES)?;
    let socket = Fd(socket.as_raw_fd());
    let most = room.layout.per_channel;
    let mut slots: Vec<Box<Slot>> = (0..SLOTS)
        .map(|_| {
            Box::new(Slot {
                buffer: [0; MAX_VOICE_PACKET],
                length: 0,
                incoming: Message::new(),
                outgoing: (0..most).map(|_| Message::new()).collect(),
                under_way: 0,
            })
        })
        .collect();
    for (number, slot) in slots.iter_mut().enumerate() {
        push(&mut ring, &receive(socket, slot, number))?;
    }
    let mut done = Vec::new();
    loop {
        ring.submit_and_wait(1)?;
        done.extend(ring.completion().map(|entry| (entry.user_data(), entry.result())));
        for (what, result) in done.drain(..) {
            let number = (what & (SENT - 1)) as usize;
            let slot = &mut slots[number];
            if what & SENT == 0 {
                slot.length = usize::try_from(result).unwrap_or(0);
                let from = Ipv4Addr::from(slot.incoming.name.sin_addr.s_addr.to_ne_bytes());
                let Slot { buffer, length, outgoing, under_way, .. } = &mut **slot;
                if let Some((client, body)) = room.check(&buffer[..*length], from) {
                    for (listener, message) in room.listeners(client).zip(outgoing) {
                        message.name = name_of(listener);
                        message.point_at(body.as_ptr().cast_mut(), body.len());
                        let send = opcode::SendMsg::new(socket, &raw const message.header);
                        push(&mut ring, &send.build().user_data(SENT | number as u64))?;
                        *under_way += 1;
                    }
                }
            } else {
                slot.under_way -= 1;
            }
            if slot.under_way == 0 {
                let entry = receive(socket, slot, number);
                push(&mut ring, &entry)?;
            }
        }
    }
}

fn receive(socket: Fd, slot: &mut Slot, number: usize) -> squeue::Entry {
    let bytes = slot.buffer.as_mut_ptr();
    slot.incoming.point_at(bytes, MAX_VOICE_PACKET);
    opcode::RecvMsg::new(socket, &raw mut slot.incoming.header).build().user_data(number as u64)
}

fn push(ring: &mut IoUring, entry: &squeue::Entry) -> io::Result<()> {
    // SAFETY: an entry points to a message of a slot, and by it to the slot's buffer. Slots stay where they are, in
    // boxes that live as long as the ring; a slot is received into again only when all its sends have ended.
    while unsafe { ring.submission().push(entry) }.is_err() {
        ring.submit()?;
    }
    Ok(())
}

fn name_of(address: SocketAddrV4) -> sockaddr_in {
    sockaddr_in {
        sin_family: AF_INET as sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}
