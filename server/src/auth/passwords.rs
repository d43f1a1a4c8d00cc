//! Hashes and verifies passwords in a bounded pool, off the async threads: voice never waits for a login.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use voip_protocol::{ErrorBody, ErrorCode, limits::PASSWORD_CHARS};

use super::argon::{self, Argon};

/// Passwords that may wait to be hashed. Whoever comes later is told to come again.
const WAITING: usize = 256;
/// Fewer guesses than this, by the estimate of zxcvbn (Wheeler, USENIX Security 2016), is what an attacker tries first.
const MIN_GUESSES: u64 = 100_000;

/// Characters that are estimated: the time grows steeply with them, and so many are enough to tell.
const ESTIMATED: usize = 32;

/// Hashes and verifies, a few at a time.
pub struct Passwords {
    argon: Argon,
    threads: rayon::ThreadPool,
    places: Arc<Semaphore>,
    /// The hash of nothing in particular, verified where the user is unknown, so that both take the same time.
    decoy: String,
}

/// What a password is to a hash.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Another one's.
    Wrong,
    /// Its own.
    Right,
    /// Its own, and here is a hash with today's parameters to put in its place.
    Outdated(String),
}

impl Passwords {
    /// With so many threads, each of them a core and 19 MiB while it hashes; 0: as many as there are cores. On Linux
    /// they step back for all other threads, so that voice and control go on beside them.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let argon = Argon::new();
        let decoy = argon.hash("decoy").expect("a short password hashes");
        argon::give_back();
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|number| format!("passwords-{number}"))
            .start_handler(|_| step_back())
            // Without this the whole process would end. Whoever waits for the answer is told that there is none.
            .panic_handler(|_| tracing::error!("a thread that hashes passwords panicked"))
            .build()
            .map_err(std::io::Error::other)?;
        Ok(Self { argon, threads, places: Arc::new(Semaphore::new(WAITING)), decoy })
    }

    /// The PHC string of a password, with a salt of 128 bits of its own.
    pub async fn hash(&self, password: SecretString) -> Result<String, ErrorBody> {
        let argon = self.argon.clone();
        self.run(self.place()?, move || hash(&argon, password.expose_secret())).await?
    }

    /// The PHC string of a password that somebody chose. One that does not keep the limits is refused, and one that
    /// anybody would try first, given what they know of its owner.
    pub async fn hash_chosen(&self, password: SecretString, known: &[&str]) -> Result<String, ErrorBody> {
        self.hash_in(self.place()?, password, known).await
    }

    /// As [`Passwords::hash_chosen`], for one of many: waits for its place, where a person would be told to come again.
    pub async fn hash_imported(&self, password: SecretString, known: &[&str]) -> Result<String, ErrorBody> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| stopping())?;
        self.hash_in(place, password, known).await
    }

    async fn hash_in(
        &self,
        place: OwnedSemaphorePermit,
        password: SecretString,
        known: &[&str],
    ) -> Result<String, ErrorBody> {
        check_length(password.expose_secret())?;
        let argon = self.argon.clone();
        let known: Vec<String> = known.iter().map(|&text| text.to_owned()).collect();
        self.run(place, move || {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let beginning: String = password.expose_secret().chars().take(ESTIMATED).collect();
            let estimate = zxcvbn::zxcvbn(&beginning, &known);
            if estimate.guesses() < MIN_GUESSES {
                let message = "the password is among the first that anybody would try: take several words, or a longer one";
                return Err(ErrorBody::new(ErrorCode::WeakPassword, message));
            }
            hash(&argon, password.expose_secret())
        })
        .await?
    }

    /// Whether the password is the hash's. Without a hash it does the same work and says no.
    pub async fn verify(&self, password: SecretString, phc: Option<String>) -> Result<Verdict, ErrorBody> {
        let argon = self.argon.clone();
        let known = phc.is_some();
        let phc = phc.unwrap_or_else(|| self.decoy.clone());
        self.run(self.place()?, move || {
            let Ok(parsed) = PasswordHash::new(&phc) else { return Verdict::Wrong };
            let right = argon.verify(password.expose_secret(), &parsed);
            match right && known {
                false => Verdict::Wrong,
                true if argon::of_today(&parsed) => Verdict::Right,
                true => hash(&argon, password.expose_secret()).map_or(Verdict::Right, Verdict::Outdated),
            }
        })
        .await
    }

    /// Whether a hash is one with today's parameters.
    pub fn made_today(phc: &str) -> bool {
        PasswordHash::new(phc).is_ok_and(|hash| argon::of_today(&hash))
    }

    /// Gives back the memory that the threads keep between two hashes, once they have done what waits.
    pub fn give_back_memory(&self) {
        self.threads.spawn_broadcast(|_| argon::give_back());
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, ErrorBody> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let message = "more people log in than the server can check at once: try again in a few seconds";
            ErrorBody::new(ErrorCode::TooManyRequests, message)
        })
    }

    async fn run<T: Send + 'static>(
        &self,
        place: OwnedSemaphorePermit,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ErrorBody> {
        let (reply, answer) = oneshot::channel();
        self.threads.spawn(move || {
            // Whoever asked may have hung up while this waited.
            if !reply.is_closed() {
                let _ = reply.send(work());
            }
            drop(place);
        });
        answer.await.map_err(|_| stopping())
    }
}

fn stopping() -> ErrorBody {
    ErrorBody::new(ErrorCode::ServerStopping, "the server stops: try again when it is back")
}

/// Lets all other threads go first.
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, 10) {
        tracing::debug!(%error, "the threads that hash keep their priority");
    }
}

fn hash(argon: &Argon, password: &str) -> Result<String, ErrorBody> {
    argon.hash(password).map_err(|error| {
        tracing::error!(%error, "argon2");
        ErrorBody::new(ErrorCode::Internal, "the password cannot be hashed: tell the server's administrator")
    })
}

fn check_length(password: &str) -> Result<(), ErrorBody> {
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
    use argon2::{Argon2, Params, PasswordHasher};

    use super::*;

    #[tokio::test]
    async fn only_the_password_verifies() {
        let passwords = Passwords::new(1).unwrap();
        let phc = passwords.hash("correct horse".into()).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert_ne!(phc, passwords.hash("correct horse".into()).await.unwrap());
        let verify = async |password: &str, phc: Option<&str>| {
            passwords.verify(password.to_owned().into(), phc.map(str::to_owned)).await.unwrap()
        };
        assert_eq!(verify("correct horse", Some(&phc)).await, Verdict::Right);
        assert_eq!(verify("Correct horse", Some(&phc)).await, Verdict::Wrong);
        assert_eq!(verify("decoy", None).await, Verdict::Wrong);
        assert_eq!(verify("x", Some("not a hash")).await, Verdict::Wrong);
    }

    #[tokio::test]
    async fn a_hash_of_yesterday_is_made_anew() {
        let passwords = Passwords::new(1).unwrap();
        let weaker = Argon2::from(Params::new(9_728, 2, 1, None).unwrap());
        let old = weaker.hash_password(b"correct horse").unwrap().to_string();
        let Verdict::Outdated(new) = passwords.verify("correct horse".into(), Some(old)).await.unwrap()
        else {
            panic!("the parameters differ");
        };
        assert_eq!(passwords.verify("correct horse".into(), Some(new)).await.unwrap(), Verdict::Right);
    }

    #[tokio::test]
    async fn what_anybody_would_try_is_refused() {
        let passwords = Passwords::new(1).unwrap();
        let refused = async |password: &str, known: &[&str]| {
            passwords.hash_chosen(password.to_owned().into(), known).await.unwrap_err().code
        };
        for common in ["password", "12345678", "qwertyuiop", "iloveyou", "Passw0rd", "letmein1"] {
            assert_eq!(refused(common, &[]).await, ErrorCode::WeakPassword, "{common}");
        }
        assert_eq!(refused("gwendolyn1", &["gwendolyn"]).await, ErrorCode::WeakPassword);
        for length in ["pässwör".to_owned(), "velvet-".repeat(19)] {
            assert_eq!(refused(&length, &[]).await, ErrorCode::InvalidField, "{length}");
        }
        for good in ["velvet-anchor-7", "pässwörter sind lang", "correct horse"] {
            assert!(passwords.hash_chosen(good.into(), &["anna"]).await.is_ok(), "{good}");
        }
    }
}
