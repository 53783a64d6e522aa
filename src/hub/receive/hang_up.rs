//! The end of a connection by the peer.

use crate::frame::Frame;
use crate::hub::join::Memberships;
use crate::hub::store::ConnectionKey;

/// A close frame without a code (RFC 6455 section 7.1.5), as it is counted.
const NO_CODE: u16 = 1005;

/// The peer closes: its code is returned, and the connection ends.
pub(super) fn closed_by_peer(on: &mut Memberships<'_>, key: ConnectionKey, code: Option<u16>) {
    if !on.connections.is_open(key) {
        return hang_up(on, key);
    }
    let echo = code.map_or_else(Frame::close_empty, |code| Frame::close(code, ""));
    let code = code.unwrap_or(NO_CODE);
    on.connections.close_with(key, (code, "the client closed"), echo, on.context);
}

/// The peer has shut down its side: a queued close frame can still be written.
pub(super) fn hang_up(on: &mut Memberships<'_>, key: ConnectionKey) {
    if !on.connections.is_open(key) {
        on.delivery().write_out(key);
    }
    on.connections.abandon(key);
}
