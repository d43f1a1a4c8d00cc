//! Server addresses and invite links: `voip://host:port/?fp=<fingerprint>`.

use std::fmt;

use url::{Host, Url};

use crate::{Fingerprint, limits::DEFAULT_CONTROL_PORT};

/// Scheme of an invite link.
pub const INVITE_SCHEME: &str = "voip";

/// Where a server's control plane is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Host name or IP address; an IPv6 address is without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// An address and, where the link has one, the certificate to expect there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// Where.
    pub address: Address,
    /// Who must answer.
    pub fingerprint: Option<Fingerprint>,
}

/// Why a text is not an address or an invite.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInvite {
    /// No host in it.
    #[error("an address is host or host:port, an invite voip://host:port/?fp=…")]
    Address,
    /// The port is not one.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// The `fp` part is not a fingerprint.
    #[error("the invite's fingerprint is damaged: ask for the link again")]
    Fingerprint,
}

impl std::str::FromStr for Invite {
    type Err = InvalidInvite;

    /// Reads an invite link, an `https://` address, or a bare `host[:port]`.
    fn from_str(text: &str) -> Result<Self, InvalidInvite> {
        let text = text.trim();
        let rest = match text.split_once("://") {
            Some((scheme, rest))
                if scheme.eq_ignore_ascii_case(INVITE_SCHEME) || scheme.eq_ignore_ascii_case("https") =>
            {
                rest
            }
            Some(_) => return Err(InvalidInvite::Address),
            None => text,
        };
        // A special scheme makes `url` check the host as browsers do, and forbids an empty one. An IPv6
        // address without brackets has more than one colon and no room for a port.
        let bare_v6 = rest.parse::<std::net::Ipv6Addr>().is_ok();
        let url = if bare_v6 { format!("wss://[{rest}]") } else { format!("wss://{rest}") };
        let url = Url::parse(&url).map_err(|error| match error {
            url::ParseError::InvalidPort => InvalidInvite::Port,
            _ => InvalidInvite::Address,
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidInvite::Address);
        }
        let host = match url.host().ok_or(InvalidInvite::Address)? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        // `wss` hides its own default port, 443: it was written if the authority ends with it.
        let port = match url.port() {
            Some(0) => return Err(InvalidInvite::Port),
            Some(port) => port,
            None if authority(rest).ends_with(":443") && !bare_v6 => 443,
            None => DEFAULT_CONTROL_PORT,
        };
        let fingerprint = url
            .query_pairs()
            .find(|(key, _)| key == "fp")
            .map(|(_, value)| value.parse().map_err(|_| InvalidInvite::Fingerprint))
            .transpose()?;
        Ok(Self { address: Address { host, port }, fingerprint })
    }
}

fn authority(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{INVITE_SCHEME}://{}/", self.address)?;
        match self.fingerprint {
            Some(fingerprint) => write!(f, "?fp={fingerprint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<(String, u16), InvalidInvite> {
        text.parse::<Invite>().map(|invite| (invite.address.host, invite.address.port))
    }

    #[test]
    fn addresses_people_type() {
        assert_eq!(parse("voice.example.org"), Ok(("voice.example.org".into(), 9000)));
        assert_eq!(parse(" voice.example.org:9100 "), Ok(("voice.example.org".into(), 9100)));
        assert_eq!(parse("192.0.2.7:443"), Ok(("192.0.2.7".into(), 443)));
        assert_eq!(parse("[::1]:9000"), Ok(("::1".into(), 9000)));
        assert_eq!(parse("::1"), Ok(("::1".into(), 9000)));
        assert_eq!(parse("https://voice.example.org/"), Ok(("voice.example.org".into(), 9000)));
        assert_eq!(parse(""), Err(InvalidInvite::Address));
        assert_eq!(parse("ftp://host"), Err(InvalidInvite::Address));
        assert_eq!(parse("host:70000"), Err(InvalidInvite::Port));
        assert_eq!(parse("host:0"), Err(InvalidInvite::Port));
        assert_eq!(parse("voip://host/?fp=12"), Err(InvalidInvite::Fingerprint));
        assert_eq!(parse("user:secret@host"), Err(InvalidInvite::Address));
    }

    proptest! {
        #[test]
        fn links_round_trip(host in "[a-z]{1,20}(\\.[a-z]{2,5}){0,2}", port in 1u16.., bytes: Option<[u8; 32]>) {
            let invite = Invite { address: Address { host, port }, fingerprint: bytes.map(Fingerprint) };
            prop_assert_eq!(invite.to_string().parse(), Ok(invite));
        }

        #[test]
        fn v6_links_round_trip(bits: u128, port in 1u16..) {
            let host = std::net::Ipv6Addr::from(bits).to_string();
            let invite = Invite { address: Address { host, port }, fingerprint: None };
            prop_assert_eq!(invite.to_string().parse(), Ok(invite));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = text.parse::<Invite>();
        }
    }
}
