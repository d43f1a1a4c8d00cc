//! Text from the other side of the control socket, and from people: requests, answers, invites, fingerprints.
//! Whatever is read must be the same when it is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voip_protocol::{
    Fingerprint, Invite,
    control::{ServerMessage, parse_request},
};

fuzz_target!(|text: &str| {
    match parse_request(text) {
        Ok(request) => {
            let again = serde_json::to_string(&request).expect("requests are JSON");
            assert_eq!(parse_request(&again).expect("what was written is read"), request);
        }
        Err((_, error)) => assert!(!error.message.is_empty()),
    }
    if let Ok(message) = serde_json::from_str::<ServerMessage>(text) {
        let once = serde_json::to_string(&message).expect("messages are JSON");
        let again: ServerMessage = serde_json::from_str(&once).expect("what was written is read");
        assert_eq!(serde_json::to_string(&again).expect("messages are JSON"), once);
    }
    if let Ok(invite) = text.parse::<Invite>() {
        assert_ne!(invite.address.port, 0);
        assert_eq!(invite.to_string().parse(), Ok(invite));
    }
    if let Ok(fingerprint) = text.parse::<Fingerprint>() {
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
    }
});
