//! Argon2id (RFC 9106), in memory that a thread keeps: mapped anew for each hash, it would cost nearly as much again.

use std::cell::RefCell;

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{
        self, PasswordVerifier,
        phc::{Output, ParamsString, PasswordHash, Salt},
    },
};

/// Memory, in KiB.
const MEMORY: u32 = 19_456;
/// Passes over it.
const PASSES: u32 = 2;
/// Lanes.
const LANES: u32 = 1;

thread_local! {
    /// Of this thread's last hash. The next one overwrites it.
    static BLOCKS: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

/// Argon2id with today's parameters.
#[derive(Clone)]
pub(super) struct Argon {
    argon2: Argon2<'static>,
}

impl Argon {
    /// Takes no memory yet.
    pub(super) fn new() -> Self {
        let params =
            Params::new(MEMORY, PASSES, LANES, None).expect("the constants are within Argon2's ranges");
        Self { argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params) }
    }

    /// The PHC string of a password, with a salt of 128 bits of its own.
    pub(super) fn hash(&self, password: &str) -> password_hash::Result<String> {
        let salt = Salt::generate();
        let hash = PasswordHash {
            algorithm: argon2::ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(self.argon2.params())?,
            salt: Some(salt),
            hash: Some(self.output(password, &salt)?),
        };
        Ok(hash.to_string())
    }

    /// Whether a password is the hash's, whatever its parameters. The comparison takes the same time for all.
    pub(super) fn verify(&self, password: &str, hash: &PasswordHash) -> bool {
        match (of_today(hash), hash.salt, hash.hash) {
            (true, Some(salt), Some(expected)) => {
                self.output(password, &salt).is_ok_and(|output| output == expected)
            }
            _ => self.argon2.verify_password(password.as_bytes(), hash).is_ok(),
        }
    }

    fn output(&self, password: &str, salt: &[u8]) -> password_hash::Result<Output> {
        let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
        BLOCKS.with_borrow_mut(|blocks| {
            blocks.resize(self.argon2.params().block_count(), Block::new());
            self.argon2.hash_password_into_with_memory(password.as_bytes(), salt, &mut output, blocks)
        })?;
        Ok(Output::new(&output)?)
    }
}

/// Gives back what this thread keeps, until it hashes again.
pub(super) fn give_back() {
    BLOCKS.take();
}

/// Whether a hash was made with today's parameters.
pub(super) fn of_today(hash: &PasswordHash) -> bool {
    let parameter = |name| hash.params.get_decimal(name);
    hash.algorithm == argon2::ARGON2ID_IDENT
        && hash.version == Some(Version::V0x13.into())
        && hash.hash.is_some_and(|output| output.len() == Params::DEFAULT_OUTPUT_LEN)
        && hash.params.iter().count() == 3
        && parameter("m") == Some(MEMORY)
        && parameter("t") == Some(PASSES)
        && parameter("p") == Some(LANES)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_used_hashes_as_new() {
        let argon = Argon::new();
        for password in ["correct horse", "battery staple", ""] {
            let phc = argon.hash(password).unwrap();
            let hash = PasswordHash::new(&phc).unwrap();
            assert!(of_today(&hash) && argon.verify(password, &hash));
            assert!(!argon.verify("another", &hash));
            // The library, with memory of its own, comes to the same.
            assert!(argon.argon2.verify_password(password.as_bytes(), &hash).is_ok());
            assert!(argon.argon2.verify_password(b"another", &hash).is_err());
        }
        give_back();
        assert_eq!(BLOCKS.with_borrow(Vec::capacity), 0);
        assert!(argon.hash("correct horse").is_ok());
    }

    #[test]
    fn hashes_of_others_verify() {
        // Of the reference implementation: echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -e (its test.c).
        let phc = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let hash = PasswordHash::new(phc).unwrap();
        assert!(!of_today(&hash));
        assert!(Argon::new().verify("password", &hash));
        assert!(!Argon::new().verify("passwort", &hash));
    }
}
