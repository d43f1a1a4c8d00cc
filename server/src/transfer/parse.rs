//! A file of accounts taken apart, each entry with its line.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};
use voip_protocol::{
    ErrorBody, ErrorCode,
    limits::{MAX_IMPORT_BODY, MAX_IMPORT_ENTRIES, USERNAME_CHARS},
};

use super::{
    FORMAT, VERSION,
    account::{Account, short},
};

/// The accounts that a file has for one organization.
pub(super) struct Group {
    pub(super) tag: Option<String>,
    pub(super) entries: Vec<Entry>,
}

/// An entry of a file: what it says, or why it cannot be taken.
pub(super) struct Entry {
    pub(super) line: u32,
    pub(super) username: Option<String>,
    pub(super) account: Result<Account, String>,
}

/// Reads a file of either kind. Each entry is read by itself, so that one fault costs one entry.
pub(super) fn parse(file: &[u8]) -> Result<Vec<Group>, ErrorBody> {
    let refuse = |code, message: String| Err(ErrorBody::new(code, message));
    if file.len() > MAX_IMPORT_BODY {
        let message =
            format!("the file is too large: {MAX_IMPORT_BODY} bytes at most, so import it in parts");
        return refuse(ErrorCode::MessageTooLarge, message);
    }
    let text = match std::str::from_utf8(file) {
        // Some editors put a byte order mark first.
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let line = file[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
            let message =
                format!("the file is not UTF-8 text: line {line} has bytes that mean nothing there");
            return refuse(ErrorCode::MalformedMessage, message);
        }
    };
    let mut lines = Lines::new(text);
    let mut entries = |users: &Bounded<'_>| {
        users.0.iter().map(|raw| Entry::parse(raw.get(), lines.of(offset(text, raw)))).collect()
    };
    let groups: Vec<Group> = match text.trim_start().bytes().next() {
        Some(b'[') => {
            let list: Bounded = serde_json::from_str(text).map_err(|error| unreadable(&error))?;
            vec![Group { tag: None, entries: entries(&list) }]
        }
        Some(b'{') => {
            let export: Export = serde_json::from_str(text).map_err(|error| unreadable(&error))?;
            if export.format != FORMAT {
                let message = "the file is something else: an export of users says \"format\":\"voip-users\"";
                return refuse(ErrorCode::InvalidField, message.into());
            }
            if export.version != VERSION {
                let version = export.version;
                let message = format!(
                    "the file is of version {version}, and {VERSION} is known here: take a later server"
                );
                return refuse(ErrorCode::InvalidField, message);
            }
            let organizations = export.organizations.0.iter();
            let groups = organizations.map(|raw| {
                let group: Users = serde_json::from_str(raw.get()).map_err(|error| {
                    let line = Lines::new(text).of(offset(text, raw));
                    unreadable_from(&error, line)
                })?;
                Ok(Group { tag: Some(group.tag.into_owned()), entries: entries(&group.users) })
            });
            groups.collect::<Result<_, ErrorBody>>()?
        }
        _ => {
            let message = "the file is not JSON of users: it must be an export, or a list [{\"username\":…,\"password\":…}]";
            return refuse(ErrorCode::MalformedMessage, message.into());
        }
    };
    if groups.iter().map(|group| group.entries.len()).sum::<usize>() > MAX_IMPORT_ENTRIES {
        return Err(unreadable_text(&too_many()));
    }
    Ok(groups)
}

fn unreadable(error: &serde_json::Error) -> ErrorBody {
    unreadable_from(error, 1)
}

/// Of a part of the file that begins on this line.
fn unreadable_from(error: &serde_json::Error, first: u32) -> ErrorBody {
    // The library's own text may repeat the file's, and says the line within the part.
    let what = match error.classify() {
        serde_json::error::Category::Data if error.to_string().starts_with(&too_many()) => too_many(),
        serde_json::error::Category::Data => "not what an export or a list of users has there".into(),
        serde_json::error::Category::Eof => "the file ends too early".into(),
        _ => "not JSON".into(),
    };
    unreadable_text(&format!("{what}, on line {}", first as usize + error.line().saturating_sub(1)))
}

fn unreadable_text(what: &str) -> ErrorBody {
    let message = format!("the file cannot be read, and nothing of it was taken: {what}");
    ErrorBody::new(ErrorCode::MalformedMessage, message)
}

fn too_many() -> String {
    format!("it has more than {MAX_IMPORT_ENTRIES} entries")
}

#[derive(Deserialize)]
struct Export<'a> {
    #[serde(borrow, default)]
    format: Cow<'a, str>,
    #[serde(default)]
    version: u64,
    #[serde(borrow, default)]
    organizations: Bounded<'a>,
}

#[derive(Deserialize)]
struct Users<'a> {
    #[serde(borrow)]
    tag: Cow<'a, str>,
    #[serde(borrow)]
    users: Bounded<'a>,
}

/// A list of values as they stand in the text, of no more than [`MAX_IMPORT_ENTRIES`].
#[derive(Default)]
struct Bounded<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Bounded<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Bounded<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = list.next_element()? {
                    if elements.len() == MAX_IMPORT_ENTRIES {
                        return Err(de::Error::custom(too_many()));
                    }
                    elements.push(element);
                }
                Ok(Bounded(elements))
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}

/// Where a value stands that was read out of a text without copying it.
fn offset(text: &str, raw: &RawValue) -> usize {
    raw.get().as_ptr() as usize - text.as_ptr() as usize
}

/// Line numbers of offsets, which must not go back.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: 1 }
    }

    fn of(&mut self, offset: usize) -> u32 {
        self.line += self.text[self.at..offset].matches('\n').count() as u32;
        self.at = offset;
        self.line
    }
}

impl Entry {
    fn parse(text: &str, line: u32) -> Self {
        let Ok(mut fields) = serde_json::from_str::<Map<String, Value>>(text) else {
            let account = Err("it is not an object like {\"username\":…,\"password\":…}".into());
            return Self { line, username: None, account };
        };
        let username =
            fields.get("username").and_then(Value::as_str).map(|name| short(name, *USERNAME_CHARS.end()));
        Self { line, username, account: Account::parse(&mut fields) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn lines(file: &str) -> Vec<u32> {
        let groups = parse(file.as_bytes()).unwrap();
        groups.iter().flat_map(|group| &group.entries).map(|entry| entry.line).collect()
    }

    #[test]
    fn each_entry_has_its_line() {
        assert_eq!(lines("[{},{},\n\n  {\n},{}\n]"), [1, 1, 3, 4]);
        assert_eq!(lines("\u{feff}\n[\n{}]"), [3]);
        let export = r#"{"version":1,"organizations":[
            {"users":[
                {}],"tag":"A"},
            {"tag":"B","name":"x","users":[{},
                {}]}],
            "format":"voip-users"}"#;
        assert_eq!(lines(export), [3, 4, 5]);
    }

    #[test]
    fn what_is_no_file_of_users_is_refused() {
        let fault = |file: &[u8]| parse(file).map(drop).unwrap_err();
        for (file, says) in [
            (&b""[..], "not JSON of users"),
            (b"hello", "not JSON of users"),
            (b"[{}", "ends too early, on line 1"),
            (b"[{}\n,}]", "not JSON, on line 2"),
            (b"{\"format\":\"x\"}", "something else"),
            (b"{\"username\":\"anna\",\"password\":\"velvet-anchor-7\"}", "something else"),
            (b"{\"format\":\"voip-users\",\"version\":2}", "of version 2"),
            (b"{\"format\":\"voip-users\",\"version\":1,\n\"organizations\":\"velvet\"}", "on line 2"),
            (b"{\"format\":\"voip-users\",\"version\":1,\"organizations\":[\n\n{\"tag\":1}]}", "on line 3"),
            (b"[\n\"\xff\"]", "not UTF-8 text: line 2"),
        ] {
            let error = fault(file);
            assert!(error.message.contains(says), "{error}");
            assert!(!error.message.contains("velvet"), "{error}");
        }
        assert_eq!(fault(&vec![b' '; MAX_IMPORT_BODY + 1]).code, ErrorCode::MessageTooLarge);
        let many = format!("[{}0]", "0,".repeat(MAX_IMPORT_ENTRIES));
        assert!(fault(many.as_bytes()).message.contains("more than"));
        let deep = "[".repeat(1_000_000);
        assert!(fault(deep.as_bytes()).message.contains("too early"));
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse(deep.as_bytes()).unwrap()[0].entries[0].account.is_err());
    }

    fn json_pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "[",
            "]",
            "{",
            "}",
            ",",
            ":",
            "\n",
            " ",
            "\"",
            "\\",
            "null",
            "true",
            "-1e999",
            "0",
            "\"\\ud800\"",
            "\"format\":\"voip-users\"",
            "\"version\":1",
            "\"organizations\":[",
            "\"users\":[",
            "\"tag\":\"A\"",
            "{\"username\":\"a\",\"password\":\"velvet-anchor-7\"}",
            "\"roles\":[1]",
            "\"email\":\"\"",
            "\u{feff}",
            "ä",
        ]);
        prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
    }

    /// An export with anything as an entry: each is read, and stands on its line.
    fn entries() -> impl Strategy<Value = Vec<String>> {
        let value = prop_oneof![
            any::<i64>().prop_map(|number| json!(number)),
            any::<String>().prop_map(|text| json!(text)),
            any::<bool>().prop_map(|flag| json!(flag)),
            Just(Value::Null),
            Just(json!([["deep"], {}])),
        ];
        let names = vec![
            "username",
            "password",
            "email",
            "display_name",
            "password_hash",
            "roles",
            "active",
            "other",
        ];
        let entry = prop::collection::hash_map(prop::sample::select(names), value, 0..6);
        prop::collection::vec(entry.prop_map(|entry| json!(entry).to_string()), 0..20)
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_pieces_of_json_are_read_or_refused(text in json_pieces()) {
            match parse(text.as_bytes()) {
                Ok(groups) => for entry in groups.iter().flat_map(|group| &group.entries) {
                    prop_assert!(entry.line as usize <= text.matches('\n').count() + 1);
                    if let Err(reason) = &entry.account {
                        prop_assert!(!reason.contains("velvet"), "{}", reason);
                    }
                },
                Err(error) => prop_assert!(error.message.len() < 200 && !error.message.contains("velvet")),
            }
        }

        #[test]
        fn any_entries_are_each_taken_or_refused(entries in entries()) {
            let groups = parse(format!("[\n{}\n]", entries.join(",\n")).as_bytes()).unwrap();
            let read = &groups[0].entries;
            prop_assert_eq!(read.len(), entries.len());
            for (index, entry) in read.iter().enumerate() {
                prop_assert_eq!(entry.line as usize, index + 2);
                if let Err(reason) = &entry.account {
                    prop_assert!(!reason.is_empty() && reason.chars().count() < 200);
                }
            }
        }
    }
}
