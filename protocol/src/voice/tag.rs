//! The short tag that ends every datagram between one client and the server.
//!
//! HMAC-SHA-256 (RFC 2104) over the bytes before it, cut to 8 bytes: a forger who may try a million times a
//! second needs 300,000 years on average. It answers "is this session's" before anything else is looked at;
//! what is heard is protected by the 16 bytes of the seal.
//!
//! A wrong tag is what a flood of forged packets costs the server, so that speed counts here: aws-lc-rs copies and
//! erases a context of more than a kilobyte for each tag, which takes longer than the hash.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::secret::TagSecret;

/// Length of the tag, in bytes.
pub const TAG_LEN: usize = 8;

/// Makes and checks the tags of one session in one direction.
pub struct TagKey(Hmac<Sha256>);

impl TagKey {
    /// The key of `secret`.
    pub fn new(secret: &TagSecret) -> Self {
        Self(Hmac::new_from_slice(secret.expose()).expect("HMAC takes a key of any length"))
    }

    /// The tag of `bytes`.
    pub fn tag(&self, bytes: &[u8]) -> [u8; TAG_LEN] {
        let digest = self.mac(bytes).finalize().into_bytes();
        *digest.first_chunk().expect("a tag is shorter than its hash")
    }

    /// The datagram without its tag, if the tag is right.
    pub fn check<'a>(&self, datagram: &'a [u8]) -> Option<&'a [u8]> {
        let (bytes, tag) = datagram.split_last_chunk::<TAG_LEN>()?;
        // In a time that does not depend on where they differ.
        self.mac(bytes).verify_truncated_left(tag).is_ok().then_some(bytes)
    }

    fn mac(&self, bytes: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(bytes);
        mac
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

    proptest! {
        /// As another implementation makes it, whatever the length.
        #[test]
        fn the_tag_is_hmac_sha_256(secret: [u8; 32], bytes in proptest::collection::vec(any::<u8>(), 0..1_300)) {
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
            let digest = aws_lc_rs::hmac::sign(&key, &bytes);
            prop_assert_eq!(&TagKey::new(&TagSecret::new(secret)).tag(&bytes)[..], &digest.as_ref()[..TAG_LEN]);
        }
    }

    #[test]
    fn too_short_for_a_tag() {
        assert_eq!(TagKey::new(&TagSecret::new([0; 32])).check(&[0; 7]), None);
    }
}
