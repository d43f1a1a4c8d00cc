//! Requests of a client on the control socket.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{ChannelId, ErrorBody, ErrorCode};

/// `{"id": 7, "method": "join", "params": {"channel": 3}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    /// Comes back with the answer. The client's to choose.
    pub id: u64,
    /// What is asked.
    #[serde(flatten)]
    pub call: Call,
}

/// Method and parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", content = "params", rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    /// Enter a channel, leaving the one before.
    Join {
        /// Which.
        channel: ChannelId,
    },
    /// Leave the channel one is in.
    Leave {},
    /// Say whether one mutes the own microphone, or the own speaker (which mutes both).
    SetSelf {
        /// Others hear nothing of it: the server forwards no voice.
        muted: bool,
        /// It hears nothing of others: the server sends no voice.
        deafened: bool,
    },
    /// Say that a talk begins or ends, for the eyes of others.
    SetTalking {
        /// Begins or ends.
        talking: bool,
    },
}

/// The names that [`Call`] reads.
const METHODS: [&str; 4] = ["join", "leave", "set_self", "set_talking"];

/// Reads one text message from a client.
///
/// # Errors
/// The error to answer with, and the id to answer to where the message has one.
pub fn parse_request(text: &str) -> Result<Request, (Option<u64>, ErrorBody)> {
    let malformed = |id, what: &str| {
        let message = format!("{what}; a request is {{\"id\": 1, \"method\": \"…\", \"params\": {{…}}}}");
        (id, ErrorBody::new(ErrorCode::MalformedMessage, message))
    };
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return Err(malformed(None, "the message is not JSON"));
    };
    let Value::Object(mut object) = value else {
        return Err(malformed(None, "the message is not a JSON object"));
    };
    let Some(id) = object.get("id").and_then(Value::as_u64) else {
        return Err(malformed(None, "the field id is missing or not a whole number"));
    };
    let Some(method) = object.get("method").and_then(Value::as_str).map(str::to_owned) else {
        return Err(malformed(Some(id), "the field method is missing or not a string"));
    };
    if let Some(unknown) = object.keys().find(|key| !matches!(key.as_str(), "id" | "method" | "params")) {
        return Err(malformed(Some(id), &format!("the field {unknown:?} is unknown")));
    }
    if !METHODS.contains(&method.as_str()) {
        let message = format!("there is no method {method:?}; there are {}", METHODS.join(", "));
        return Err((Some(id), ErrorBody::new(ErrorCode::UnknownMethod, message)));
    }
    object.remove("id");
    object.entry("params").or_insert_with(|| Value::Object(Map::new()));
    match serde_json::from_value(Value::Object(object)) {
        Ok(call) => Ok(Request { id, call }),
        Err(error) => {
            let message = format!("the parameters of {method} are not what it takes: {error}");
            Err((Some(id), ErrorBody::new(ErrorCode::InvalidParams, message)))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(text: &str) -> (Option<u64>, ErrorCode) {
        let (id, error) = parse_request(text).unwrap_err();
        (id, error.code)
    }

    #[test]
    fn every_method_is_named_and_round_trips() {
        let calls = [
            Call::Join { channel: ChannelId(3) },
            Call::Leave {},
            Call::SetSelf { muted: true, deafened: false },
            Call::SetTalking { talking: true },
        ];
        assert_eq!(calls.len(), METHODS.len());
        for call in calls {
            let request = Request { id: 7, call };
            let text = serde_json::to_string(&request).unwrap();
            assert_eq!(parse_request(&text).unwrap(), request);
        }
        assert_eq!(parse_request(r#"{"id":1,"method":"leave"}"#).unwrap().call, Call::Leave {});
    }

    #[test]
    fn each_fault_has_its_code_and_keeps_the_id() {
        assert_eq!(code("nonsense"), (None, ErrorCode::MalformedMessage));
        assert_eq!(code("[]"), (None, ErrorCode::MalformedMessage));
        assert_eq!(code(&"[".repeat(60_000)), (None, ErrorCode::MalformedMessage));
        assert_eq!(code(r#"{"method":"join"}"#), (None, ErrorCode::MalformedMessage));
        assert_eq!(code(r#"{"id":-1,"method":"join"}"#), (None, ErrorCode::MalformedMessage));
        assert_eq!(code(r#"{"id":1,"method":2}"#), (Some(1), ErrorCode::MalformedMessage));
        assert_eq!(code(r#"{"id":1,"method":"leave","more":1}"#), (Some(1), ErrorCode::MalformedMessage));
        assert_eq!(code(r#"{"id":1,"method":"fly"}"#), (Some(1), ErrorCode::UnknownMethod));
        assert_eq!(code(r#"{"id":1,"method":"join"}"#), (Some(1), ErrorCode::InvalidParams));
        assert_eq!(
            code(r#"{"id":1,"method":"join","params":{"channel":"x"}}"#),
            (Some(1), ErrorCode::InvalidParams)
        );
        assert_eq!(
            code(r#"{"id":1,"method":"join","params":{"channel":1,"more":1}}"#),
            (Some(1), ErrorCode::InvalidParams)
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = parse_request(&text);
        }

        #[test]
        fn anything_like_a_request_is_read_or_refused(
            id in "(-?[0-9]{1,25}|null|\"a\")",
            method in "(join|leave|set_self|set_talking|fly)",
            params in "(\\{\\}|\\[\\]|null|\\{\"channel\":-?[0-9]{1,25}\\}|\\{\"talking\":(true|1)\\})",
        ) {
            let text = format!(r#"{{"id":{id},"method":"{method}","params":{params}}}"#);
            if let Ok(request) = parse_request(&text) {
                let again = serde_json::to_string(&request).unwrap();
                prop_assert_eq!(parse_request(&again).unwrap(), request);
            }
        }
    }
}
