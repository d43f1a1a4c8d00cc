//! Argon2id (RFC 9106) in a bounded pool, off the async threads: voice never waits for a login.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use voip_protocol::{ErrorBody, ErrorCode, limits::PASSWORD_CHARS};

/// Memory, in KiB.
const MEMORY: u32 = 19_456;
/// Passes over it.
const PASSES: u32 = 2;
/// Lanes.
const LANES: u32 = 1;

/// Hashes and verifies, a few at a time.
pub struct Passwords {
    argon2: Argon2<'static>,
    places: Arc<Semaphore>,
    /// The hash of nothing in particular, verified where the user is unknown, so that both take the same time.
    decoy: String,
}

impl Passwords {
    /// With `places` hashes at a time, each of them a core and 19 MiB.
    pub fn new(places: usize) -> Self {
        let params =
            Params::new(MEMORY, PASSES, LANES, None).expect("the constants are within Argon2's ranges");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = hash(&argon2, "decoy").expect("a short password hashes");
        Self { argon2, places: Arc::new(Semaphore::new(places.max(1))), decoy }
    }

    /// The PHC string of a password, with a salt of 128 bits of its own.
    pub async fn hash(&self, password: SecretString) -> Result<String, ErrorBody> {
        let argon2 = self.argon2.clone();
        self.run(move || hash(&argon2, password.expose_secret())).await?
    }

    /// Whether the password is the hash's. Without a hash it does the same work and says no.
    pub async fn verify(&self, password: SecretString, phc: Option<String>) -> Result<bool, ErrorBody> {
        let argon2 = self.argon2.clone();
        let known = phc.is_some();
        let phc = phc.unwrap_or_else(|| self.decoy.clone());
        self.run(move || {
            let right = PasswordHash::new(&phc)
                .is_ok_and(|hash| argon2.verify_password(password.expose_secret().as_bytes(), &hash).is_ok());
            right && known
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ErrorBody> {
        let stopping =
            || ErrorBody::new(ErrorCode::ServerStopping, "the server stops: try again when it is back");
        let place = self.places.clone().acquire_owned().await.map_err(|_| stopping())?;
        let result = tokio::task::spawn_blocking(work).await.map_err(|_| stopping());
        drop(place);
        result
    }
}

fn hash(argon2: &Argon2<'_>, password: &str) -> Result<String, ErrorBody> {
    argon2.hash_password(password.as_bytes()).map(|hash| hash.to_string()).map_err(|error| {
        tracing::error!(%error, "argon2");
        ErrorBody::new(ErrorCode::Internal, "the password cannot be hashed: tell the server's administrator")
    })
}

/// Whether a password keeps the limits.
pub fn check_password(password: &str) -> Result<(), ErrorBody> {
    if PASSWORD_CHARS.contains(&password.chars().count()) {
        return Ok(());
    }
    let message =
        format!("password must have {} to {} characters", PASSWORD_CHARS.start(), PASSWORD_CHARS.end());
    Err(ErrorBody::new(ErrorCode::InvalidField, message))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_verifies() {
        let passwords = Passwords::new(1);
        let phc = passwords.hash("correct horse".into()).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert_ne!(phc, passwords.hash("correct horse".into()).await.unwrap());
        assert!(passwords.verify("correct horse".into(), Some(phc.clone())).await.unwrap());
        assert!(!passwords.verify("Correct horse".into(), Some(phc)).await.unwrap());
        assert!(!passwords.verify("decoy".into(), None).await.unwrap());
        assert!(!passwords.verify("x".into(), Some("not a hash".into())).await.unwrap());
    }

    #[test]
    fn lengths() {
        assert!(check_password("1234567").is_err());
        assert!(check_password("pässwört").is_ok());
        assert!(check_password(&"x".repeat(129)).is_err());
    }
}
