//! Secrets on the control wire: base64 in JSON, never in a log, wiped when dropped.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use zeroize::Zeroize;

/// `N` secret bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<const N: usize>([u8; N]);

/// Secret of a context, from which every talker's SFrame key is derived.
pub type ContextSecret = Secret<32>;
/// Key of the tags on one session's uplink or downlink packets.
pub type TagSecret = Secret<32>;

impl<const N: usize> Secret<N> {
    /// Takes bytes from a cryptographic source.
    pub fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the key that is made of them.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> std::fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<const N: usize> Serialize for Secret<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD_NO_PAD.encode(self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Secret<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = zeroize::Zeroizing::new(String::deserialize(deserializer)?);
        let bytes =
            zeroize::Zeroizing::new(STANDARD_NO_PAD.decode(text.as_bytes()).map_err(D::Error::custom)?);
        let bytes = <[u8; N]>::try_from(bytes.as_slice())
            .map_err(|_| D::Error::custom(format!("a secret of {N} bytes is expected")))?;
        Ok(Self(bytes))
    }
}

/// A secret text that crosses the wire as it is: a token, a password made for somebody. Never in a log, wiped when
/// dropped.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// Takes a secret text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_round_trips_and_debug_tells_nothing() {
        let secret = Secret::new([7u8; 32]);
        let json = serde_json::to_string(&secret).unwrap();
        assert_eq!(serde_json::from_str::<Secret<32>>(&json).unwrap(), secret);
        assert!(serde_json::from_str::<Secret<16>>(&json).is_err());
        assert!(!format!("{secret:?}").contains('7'));
    }
}
