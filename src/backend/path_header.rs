//! The header with the path of the WebSocket.

use hyper::header::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Its name.
pub(super) const PATH: HeaderName = HeaderName::from_static("groupcast-path");

/// Encoded in a header: all but visible ASCII.
const HEADER: &AsciiSet = &CONTROLS.add(b' ');

/// A path as a header value: what is not visible ASCII is percent-encoded.
pub(super) fn path_header(path: &str) -> HeaderValue {
    let text = utf8_percent_encode(path, HEADER).to_string();
    HeaderValue::from_str(&text).expect("visible ASCII is legal in a header")
}
