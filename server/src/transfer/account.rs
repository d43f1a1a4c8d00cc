//! An account as an entry of a file describes it.

use argon2::{Params, password_hash::phc::PasswordHash};
use secrecy::SecretString;
use serde_json::{Map, Value};
use voip_protocol::ErrorBody;

use crate::auth::{check_display_name, check_email, check_username};

/// An account to be.
pub(super) struct Account {
    pub(super) username: String,
    pub(super) display_name: String,
    pub(super) email: Option<String>,
    pub(super) password: Password,
    pub(super) active: bool,
    pub(super) roles: Option<Vec<String>>,
}

pub(super) enum Password {
    Plain(SecretString),
    Hash(String),
}

/// No report repeats more of a file's own text than this, in characters.
pub(super) const MAX_ECHO: usize = 32;

impl Account {
    /// From an entry's fields, or why it cannot be taken.
    pub(super) fn parse(fields: &mut Map<String, Value>) -> Result<Self, String> {
        let told = |error: ErrorBody| error.message;
        let username = text(fields, "username")?.ok_or("it has no username")?;
        let username = check_username(&username).map_err(told)?.to_owned();
        let display_name = match text(fields, "display_name")? {
            Some(name) => check_display_name(&name).map_err(told)?.to_owned(),
            None => username.clone(),
        };
        let email = match text(fields, "email")? {
            Some(email) => check_email(&email).map_err(told)?.map(str::to_owned),
            None => None,
        };
        let password =
            match (text(fields, "password")?.map(SecretString::from), text(fields, "password_hash")?) {
                (Some(password), None) => Password::Plain(password),
                (None, Some(hash)) => Password::Hash(check_hash(hash)?),
                (None, None) => return Err("it has neither password nor password_hash".into()),
                (Some(_), Some(_)) => {
                    return Err("it has both password and password_hash: one is enough".into());
                }
            };
        let active = match fields.remove("active") {
            None | Some(Value::Null) => true,
            Some(Value::Bool(active)) => active,
            Some(_) => return Err("active must be true or false".into()),
        };
        let roles = match fields.remove("roles") {
            None | Some(Value::Null) => None,
            Some(Value::Array(roles)) => Some(roles.into_iter().map(role_name).collect::<Result<_, _>>()?),
            Some(_) => return Err(ROLES.into()),
        };
        // What the old account was: the new one is made now, by the import.
        fields.remove("created_via");
        fields.remove("created_at");
        match fields.keys().next() {
            Some(unknown) => Err(format!("nothing is known of a field {}", short(unknown, MAX_ECHO))),
            None => Ok(Self { username, display_name, email, password, active, roles }),
        }
    }
}

const ROLES: &str = "roles must be a list of names";

fn role_name(role: Value) -> Result<String, String> {
    match role {
        Value::String(name) => Ok(name),
        _ => Err(ROLES.into()),
    }
}

fn text(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name} must be a text")),
    }
}

/// The beginning of a text, without what would spoil a terminal.
pub(super) fn short(text: &str, most: usize) -> String {
    text.chars().filter(|character| !character.is_control()).take(most).collect()
}

/// What a login with a foreign hash may cost: the parameters that common libraries come with, and no more.
const MAX_MEMORY_KIB: u32 = 65_536;
const MAX_PASSES: u32 = 10;
const MAX_LANES: u32 = 8;
/// Shorter ones are found by chance.
const MIN_HASH_BYTES: usize = 16;
const MAX_HASH_CHARS: usize = 256;

/// A hash from elsewhere: what cannot be verified here, or costs too much, locks its owner out or the server up.
fn check_hash(phc: String) -> Result<String, String> {
    let refuse = |why: &str| Err(format!("password_hash {why}"));
    if phc.len() > MAX_HASH_CHARS {
        return refuse("is too long");
    }
    let Ok(hash) = PasswordHash::new(&phc) else {
        return refuse("is not a PHC string like $argon2id$v=19$m=…,t=…,p=…$…$…");
    };
    if hash.algorithm.as_str() != "argon2id" || hash.version != Some(0x13) {
        return refuse("is not Argon2id of version 19: give a password instead");
    }
    let (Ok(params), Some(_), Some(output)) = (Params::try_from(&hash), hash.salt, hash.hash) else {
        return refuse("lacks salt or hash, or its parameters mean nothing");
    };
    if output.len() < MIN_HASH_BYTES {
        return refuse("is too short");
    }
    if !params.keyid().is_empty() || !params.data().is_empty() {
        return refuse("has a key or data, which are not known here");
    }
    if params.m_cost() > MAX_MEMORY_KIB || params.t_cost() > MAX_PASSES || params.p_cost() > MAX_LANES {
        return Err(format!(
            "password_hash costs too much: m={MAX_MEMORY_KIB}, t={MAX_PASSES}, p={MAX_LANES} at most"
        ));
    }
    Ok(phc)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{super::tests::FOREIGN, *};

    #[test]
    fn a_hash_from_elsewhere_is_bounded() {
        assert_eq!(check_hash(FOREIGN.into()).unwrap(), FOREIGN);
        let salt_and_hash = &FOREIGN[FOREIGN.find("p=4").unwrap() + 3..];
        for bad in [
            "",
            "hunter2",
            "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW",
            "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA",
            "$argon2id$v=19$m=65536,t=3,p=4",
            &FOREIGN.replace("argon2id", "argon2i"),
            &FOREIGN.replace("v=19", "v=16"),
            &FOREIGN.replace("v=19$", ""),
            &FOREIGN.replace("65536", "65537"),
            &FOREIGN.replace("65536", "4294967296"),
            &FOREIGN.replace("t=3", "t=4294967295"),
            &FOREIGN.replace("p=4", "p=9"),
            &FOREIGN.replace("p=4", "p=4,keyid=aGk"),
            &FOREIGN.replace("cm9zZXMgYXJlIHJlZCwgdmlvbGV0cyBhcmUgYmx1ZQ", "cm9zZXMgYXJlIHJ"),
            &format!("$argon2id$v=19$m=8,t=1,p=1{}", &salt_and_hash.repeat(9)),
        ] {
            assert!(check_hash(bad.into()).is_err(), "{bad}");
        }
    }
}
