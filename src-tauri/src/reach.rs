//! Under which address others find this computer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use voip_protocol::{Address, Invite, invite::InvalidInvite};

use crate::api::Reach;

/// An address that no packet is sent to: the one way to ask the system which of its own it would send from.
/// Reserved for documentation (RFC 5737).
const ANYWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// The address of this computer on its network; loopback where there is none.
pub fn local_address() -> Ipv4Addr {
    let ask = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(ANYWHERE)?;
        socket.local_addr()
    };
    match ask() {
        Ok(address) => match address.ip() {
            IpAddr::V4(ip) if !ip.is_unspecified() => ip,
            _ => Ipv4Addr::LOCALHOST,
        },
        Err(_) => Ipv4Addr::LOCALHOST,
    }
}

/// Reads a public name or address as a person types it, with or without a port.
pub fn public_address(text: &str, control_port: u16) -> Result<Address, InvalidInvite> {
    let Address { host, port } = text.parse::<Invite>()?.address;
    let has_port = text.trim().parse::<Ipv6Addr>().is_err() && text.contains(&format!(":{port}"));
    Ok(Address { host, port: if has_port { port } else { control_port } })
}

/// From where a host can be reached, as far as can be told from its address.
pub fn reach_of(host: &str) -> Reach {
    match host.parse() {
        Ok(IpAddr::V4(ip)) if ip.is_loopback() => Reach::Computer,
        Ok(IpAddr::V6(ip)) if ip.is_loopback() => Reach::Computer,
        Ok(IpAddr::V4(ip)) if ip.is_private() || ip.is_link_local() || is_shared(ip) => Reach::Network,
        Ok(IpAddr::V6(ip)) if ip.is_unique_local() || ip.is_unicast_link_local() => Reach::Network,
        _ => Reach::Internet,
    }
}

/// Behind the address translation of a provider (RFC 6598).
fn is_shared(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && second & 0b1100_0000 == 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_an_address() {
        assert!(!local_address().is_unspecified());
    }

    #[test]
    fn a_public_name_has_the_servers_port_unless_it_names_one() {
        let read = |text| public_address(text, 9100).map(|address| address.to_string());
        assert_eq!(read("voice.example.org"), Ok("voice.example.org:9100".into()));
        assert_eq!(read("voice.example.org:443"), Ok("voice.example.org:443".into()));
        assert_eq!(read("voice.example.org:9000"), Ok("voice.example.org:9000".into()));
        assert_eq!(read("2001:db8::9000"), Ok("[2001:db8::9000]:9100".into()));
        assert_eq!(read("[2001:db8::1]:9200"), Ok("[2001:db8::1]:9200".into()));
        assert!(read("not a host").is_err());
    }

    #[test]
    fn addresses_tell_from_where() {
        for (host, reach) in [
            ("127.0.0.1", Reach::Computer),
            ("::1", Reach::Computer),
            ("192.168.1.20", Reach::Network),
            ("10.0.0.1", Reach::Network),
            ("100.64.0.9", Reach::Network),
            ("fe80::1", Reach::Network),
            ("100.128.0.1", Reach::Internet),
            ("203.0.113.7", Reach::Internet),
            ("voice.example.org", Reach::Internet),
        ] {
            assert_eq!(reach_of(host), reach, "{host}");
        }
    }
}
