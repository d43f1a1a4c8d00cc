//! Addresses as the system writes and reads them.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    ptr,
};

/// Reads an address that the system wrote.
pub(super) fn address_of(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
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
pub(super) union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Name {
    /// With its length.
    pub(super) fn of(address: SocketAddr) -> (Self, libc::socklen_t) {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::mem;

    use super::*;

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
