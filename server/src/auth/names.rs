//! What people call themselves and their things: taken, or refused with the reason.

use std::ops::RangeInclusive;

use voip_protocol::{
    ErrorBody, ErrorCode,
    control::Device,
    limits::{DEVICE_CHARS, DISPLAY_NAME_CHARS, EMAIL_CHARS, USERNAME_CHARS},
};

/// A user name without the space around it.
pub fn check_username(name: &str) -> Result<&str, ErrorBody> {
    let name = name.trim();
    let allowed = |character: char| character.is_alphanumeric() || matches!(character, '.' | '_' | '-');
    if USERNAME_CHARS.contains(&name.chars().count()) && name.chars().all(allowed) {
        return Ok(name);
    }
    Err(invalid(format!(
        "username must have {} to {} letters, digits, dots, hyphens or underscores",
        USERNAME_CHARS.start(),
        USERNAME_CHARS.end()
    )))
}

/// A display name without the space around it.
pub fn check_display_name(name: &str) -> Result<&str, ErrorBody> {
    check_text("display_name", name, &DISPLAY_NAME_CHARS)
}

/// An e-mail address, as far as that can be told without writing to it; none where it is empty.
pub fn check_email(address: &str) -> Result<Option<&str>, ErrorBody> {
    let address = address.trim();
    if address.is_empty() {
        return Ok(None);
    }
    let plausible = EMAIL_CHARS.contains(&address.chars().count())
        && address.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
        && !address.chars().any(|character| character.is_whitespace() || character.is_control());
    if plausible {
        return Ok(Some(address));
    }
    Err(invalid(format!(
        "email must be an address as name@example.org, of {} characters at most",
        EMAIL_CHARS.end()
    )))
}

/// A device's name and mark without the space around them.
pub fn check_device(device: &Device) -> Result<Device, ErrorBody> {
    let id = device.id.as_deref().map(|id| check_text("device.id", id, &DEVICE_CHARS)).transpose()?;
    Ok(Device {
        name: check_text("device.name", &device.name, &DEVICE_CHARS)?.to_owned(),
        id: id.map(str::to_owned),
    })
}

/// A text without the space around it, of so many characters, each of them visible.
pub fn check_text<'a>(
    field: &str,
    text: &'a str,
    characters: &RangeInclusive<usize>,
) -> Result<&'a str, ErrorBody> {
    let text = text.trim();
    if characters.contains(&text.chars().count()) && !text.chars().any(is_invisible) {
        return Ok(text);
    }
    Err(invalid(format!(
        "{field} must have {} to {} characters, all of them visible",
        characters.start(),
        characters.end()
    )))
}

/// Control characters, those that turn the direction of a text, and those without a width; joiners are parts of emoji
/// and of some scripts.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn invalid(message: impl Into<String>) -> ErrorBody {
    ErrorBody::new(ErrorCode::InvalidField, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_keep_their_limits() {
        assert_eq!(check_username(" alice "), Ok("alice"));
        assert!(check_username("Zoë_1.x-y").is_ok());
        for bad in ["", "   ", "a b", "a\0b", "a\u{202e}b", &"x".repeat(33)] {
            assert!(check_username(bad).is_err(), "{bad:?}");
        }
        assert!(check_display_name("The Boss 🦊").is_ok());
        for bad in ["line\nbreak", "right\u{202e}left", "\u{200b}", ""] {
            assert!(check_display_name(bad).is_err(), "{bad:?}");
        }
        assert!(check_display_name("👩\u{200d}🚀").is_ok());
        assert_eq!(check_email("  "), Ok(None));
        assert_eq!(check_email("zoë@example.org"), Ok(Some("zoë@example.org")));
        for bad in ["zoe", "@", "a@", "@b", "a b@c", "a@b\0"] {
            assert!(check_email(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text: String) {
            if let Ok(taken) = check_username(&text) {
                prop_assert!(USERNAME_CHARS.contains(&taken.chars().count()));
            }
            if let Ok(Some(taken)) = check_email(&text) {
                prop_assert!(!taken.contains('\0'));
            }
        }
    }
}
