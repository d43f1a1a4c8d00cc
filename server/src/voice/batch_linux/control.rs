//! What the system tells, and is told, of a datagram beside its bytes (RFC 3542, `cmsg(3)`).

use std::{
    mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// What control messages are aligned to, and filled up to.
type Word = usize;
/// Bytes of control messages beside one datagram: our address, and how to split.
pub(super) const CONTROL: usize = 64;

/// Control messages, one after the other as `CMSG_SPACE` says.
#[derive(Clone, Copy, Default)]
pub(super) struct Control {
    pub(super) words: [Word; CONTROL / size_of::<Word>()],
    /// In bytes.
    pub(super) length: usize,
}

impl Control {
    /// Has the system send from this address. On a link's own network the peer's scope names the interface.
    pub(super) fn push_local(&mut self, local: IpAddr) {
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
    pub(super) fn push_segment(&mut self, bytes: u16) {
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
    pub(super) fn local(&self) -> Option<IpAddr> {
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
