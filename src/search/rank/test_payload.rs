//! Payloads for tests.

use crate::types::Payload;
use crate::types::json::payload_from_json;

/// Reads a payload from JSON.
pub(super) fn payload(json: &str) -> Payload {
    let entries: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).expect(json);
    payload_from_json(&entries).expect(json)
}
