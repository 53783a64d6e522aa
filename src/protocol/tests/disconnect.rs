use std::time::Duration;

use serde_json::{Value, json};

use crate::protocol::{Disconnect, MAX_REASON};

/// Code and reason of a close frame.
fn close(disconnect: Disconnect) -> (u16, Value) {
    let frame = disconnect.frame();
    let bytes = frame.bytes();
    assert_eq!((bytes[0], usize::from(bytes[1])), (0x88, bytes.len() - 2));
    assert!(bytes.len() - 4 <= 123, "the reason of {disconnect:?} has {} bytes", bytes.len() - 4);
    (u16::from_be_bytes([bytes[2], bytes[3]]), serde_json::from_slice(&bytes[4..]).unwrap())
}

#[test]
fn every_close_code_tells_whether_to_reconnect() {
    for disconnect in Disconnect::ALL {
        let expected = (disconnect.code, json!({ "reason": disconnect.reason }));
        assert_eq!(close(disconnect), expected);
        match disconnect.code {
            4400..=4499 => assert!(!disconnect.may_return()),
            4500..=4599 => assert!(disconnect.may_return()),
            code => panic!("{code} is outside both ranges"),
        }
    }
}

#[test]
fn close_reasons_are_distinct() {
    for (i, disconnect) in Disconnect::ALL.iter().enumerate() {
        assert!(!Disconnect::ALL[..i].contains(disconnect), "{disconnect:?} is listed twice");
    }
}

#[test]
fn the_longest_reason_fits_a_control_frame_with_its_window() {
    const LONGEST: &str =
        "01234567890123456789012345678901234567890123456789012345678901234567890123456789";
    assert_eq!(LONGEST.len(), MAX_REASON);
    let window = Duration::from_millis(9_999_999_999_999);
    let expected = json!({ "reason": LONGEST, "retry_ms": 9_999_999_999_999_u64 });
    assert_eq!(close(Disconnect::DRAINING.because(LONGEST).within(window)), (4503, expected));
}

#[test]
fn reasons_are_readable_lower_case_text() {
    for Disconnect { reason, .. } in Disconnect::ALL {
        assert!(!reason.is_empty() && reason.len() <= MAX_REASON);
        assert_eq!(reason, reason.to_lowercase());
    }
}
