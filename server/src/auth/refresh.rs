//! Refresh tokens: 256 random bits, of which the database knows the hash alone.

use aws_lc_rs::{
    digest,
    rand::{SecureRandom, SystemRandom},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use voip_protocol::Token;

use crate::store::TokenHash;

/// Bytes of a refresh token.
const TOKEN_LEN: usize = 32;
/// Bytes of a password that the server makes for somebody.
const PASSWORD_LEN: usize = 12;

/// A new token.
pub fn new_token() -> Token {
    random_text::<TOKEN_LEN>()
}

/// A password for somebody who will choose another: 96 random bits.
pub fn new_password() -> Token {
    random_text::<PASSWORD_LEN>()
}

/// What the database keeps of a token.
pub fn hash_of(token: &Token) -> TokenHash {
    let digest = digest::digest(&digest::SHA256, token.expose().as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn random_text<const N: usize>() -> Token {
    let mut bytes = zeroize::Zeroizing::new([0; N]);
    SystemRandom::new().fill(&mut *bytes).expect("the system's generator does not fail once it is seeded");
    Token::new(URL_SAFE_NO_PAD.encode(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_alike() {
        let (one, other) = (new_token(), new_token());
        assert_eq!(one.expose().len(), 43);
        assert_ne!(hash_of(&one), hash_of(&other));
        assert_eq!(hash_of(&one), hash_of(&one.clone()));
        assert_eq!(new_password().expose().len(), 16);
    }
}
