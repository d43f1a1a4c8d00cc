//! The short tag that ends every datagram between one client and the server.
//!
//! HMAC-SHA-256 (RFC 2104) over the bytes before it, cut to 8 bytes: a forger who may try a million times a
//! second needs 300,000 years on average. It answers "is this session's" before anything else is looked at;
//! what is heard is protected by the 16 bytes of the seal.

use aws_lc_rs::{constant_time, hmac};

use crate::secret::TagSecret;

/// Length of the tag, in bytes.
pub const TAG_LEN: usize = 8;

/// Makes and checks the tags of one session in one direction.
pub struct TagKey(hmac::Key);

impl TagKey {
    /// The key of `secret`.
    pub fn new(secret: &TagSecret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.expose()))
    }

    /// The tag of `bytes`.
    pub fn tag(&self, bytes: &[u8]) -> [u8; TAG_LEN] {
        let digest = hmac::sign(&self.0, bytes);
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&digest.as_ref()[..TAG_LEN]);
        tag
    }

    /// The datagram without its tag, if the tag is right.
    pub fn check<'a>(&self, datagram: &'a [u8]) -> Option<&'a [u8]> {
        let (bytes, tag) = datagram.split_last_chunk::<TAG_LEN>()?;
        constant_time::verify_slices_are_equal(&self.tag(bytes), tag).is_ok().then_some(bytes)
    }
}

impl std::fmt::Debug for TagKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TagKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn only_the_right_key_and_bytes_pass(
            secret: [u8; 32], other: [u8; 32], bytes in proptest::collection::vec(any::<u8>(), 0..200), flip: u16,
        ) {
            let key = TagKey::new(&TagSecret::new(secret));
            let mut datagram = bytes.clone();
            datagram.extend(key.tag(&bytes));
            prop_assert_eq!(key.check(&datagram), Some(&bytes[..]));
            prop_assert!(secret == other || TagKey::new(&TagSecret::new(other)).check(&datagram).is_none());
            let bit = usize::from(flip) % (datagram.len() * 8);
            datagram[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(key.check(&datagram), None);
        }
    }

    #[test]
    fn too_short_for_a_tag() {
        assert_eq!(TagKey::new(&TagSecret::new([0; 32])).check(&[0; 7]), None);
    }
}
