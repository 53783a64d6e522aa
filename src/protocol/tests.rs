mod disconnect;
mod inbound;
mod outbound;
mod plain;

use crate::frame::Frame;

/// The payload of a text frame, as a browser gets it.
fn text(frame: &Frame) -> &str {
    let bytes = frame.bytes();
    assert_eq!(bytes[0], 0x81, "a whole text message");
    let header = match bytes[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    std::str::from_utf8(&bytes[header..]).unwrap()
}
