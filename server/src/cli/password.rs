//! Passwords in and out of the shell.

use std::{
    error::Error,
    io::{self, IsTerminal, Read},
};

use secrecy::SecretString;
use voip_protocol::{Token, limits::PASSWORD_CHARS};
use voip_server::auth::{Passwords, new_password};
use zeroize::Zeroizing;

use super::{Outcome, print};

/// `hash-password`.
pub(super) async fn print_hash() -> Outcome {
    let password = if io::stdin().is_terminal() { ask()? } else { from_stdin()? };
    let hash = Passwords::new(1)?.hash_chosen(password, &[]).await.map_err(|error| error.message)?;
    print(&format!("{hash}\n"))
}

/// Twice, without showing it.
fn ask() -> Result<SecretString, Box<dyn Error>> {
    let ask = |prompt| {
        rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|error| {
            format!("the terminal cannot be read: {error}; give the password on standard input")
        })
    };
    let password = ask("Password: ")?;
    if *ask("Again: ")? != *password {
        return Err("the two differ: try again".into());
    }
    Ok(SecretString::from(password.as_str()))
}

/// The first line of standard input.
pub(super) fn from_stdin() -> Result<SecretString, Box<dyn Error>> {
    // Four bytes are the longest character; what is longer than that is no password whatever follows.
    let most = *PASSWORD_CHARS.end() as u64 * 4 + 2;
    let mut bytes = Zeroizing::new(Vec::with_capacity(most as usize));
    io::stdin()
        .lock()
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("standard input cannot be read: {error}"))?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err("there is no password on standard input".into());
    }
    Ok(std::str::from_utf8(line).map_err(|_| "the password is not UTF-8 text")?.into())
}

/// A password's hash, and the password itself where it was made here.
pub(super) async fn chosen_or_made(
    stdin: bool,
    known: &[&str],
) -> Result<(String, Option<Token>), Box<dyn Error>> {
    let passwords = Passwords::new(1)?;
    if stdin {
        let hash = passwords.hash_chosen(from_stdin()?, known).await.map_err(|error| error.message)?;
        return Ok((hash, None));
    }
    let password = new_password();
    let hash = passwords.hash(password.expose().into()).await.map_err(|error| error.message)?;
    Ok((hash, Some(password)))
}
