//! SHA-256 fingerprint of a server's certificate: what an invite carries and a client pins.

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// SHA-256 of the certificate in DER. Text form: 64 hexadecimal digits; colons and case do not matter on reading.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(try_from = "String", into = "String")]
#[ts(type = "string")]
pub struct Fingerprint(pub [u8; 32]);

/// The text is not a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 64 hexadecimal digits (SHA-256)")]
pub struct InvalidFingerprint;

impl Fingerprint {
    /// The fingerprint of a certificate.
    pub fn of(certificate_der: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, certificate_der);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let mut digits = [0u8; 64];
        let mut count = 0;
        for byte in text.bytes().filter(|byte| *byte != b':') {
            *digits.get_mut(count).ok_or(InvalidFingerprint)? = byte;
            count += 1;
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(&digits[..count], &mut bytes).map_err(|_| InvalidFingerprint)?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = InvalidFingerprint;

    fn try_from(text: String) -> Result<Self, InvalidFingerprint> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sha256_of_nothing() {
        let expected = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Fingerprint::of(b"").to_string(), expected);
    }

    proptest! {
        #[test]
        fn text_round_trips(bytes: [u8; 32]) {
            let fingerprint = Fingerprint(bytes);
            prop_assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
            let with_colons = bytes.map(|byte| format!("{byte:02X}")).join(":");
            prop_assert_eq!(with_colons.parse(), Ok(fingerprint));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = text.parse::<Fingerprint>();
        }
    }
}
