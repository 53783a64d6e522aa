//! Reads edge-triggered sockets into messages, within each connection's share of a turn.

use std::io::ErrorKind;

use super::frames::handle_message;
use super::hang_up::hang_up;
use crate::hub::join::Memberships;
use crate::hub::store::ConnectionKey;

/// Reads of one socket in one turn, so that a busy sender does not starve others.
const MAX_READS: usize = 4;

/// Reads a socket into `scratch` and handles the input, unless its connection must wait.
pub(in crate::hub) fn read(
    on: &mut Memberships<'_>,
    key: ConnectionKey,
    to_the_end: bool,
    scratch: &mut [u8],
) {
    for _ in 0..MAX_READS {
        let Some(connection) = on.connections.get_mut(key).filter(|it| !it.is_gone()) else {
            return;
        };
        if connection.must_wait() || connection.socket.has_backlog() {
            connection.socket.note_readable();
            break;
        }
        match connection.socket.read(scratch) {
            Ok(0) => {
                hang_up(on, key);
                break;
            }
            Ok(length) => {
                connection.last_input = on.context.clock.second();
                handle_input(on, key, &mut scratch[..length]);
                if length < scratch.len() && !to_the_end {
                    break;
                }
                on.connections[key].socket.note_readable();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => {
                on.connections.abandon(key);
                break;
            }
        }
    }
    // Edge-triggered readiness does not come again for what was left unread.
    let connection = &on.connections[key];
    if !connection.is_gone() && connection.socket.is_readable() && !connection.must_wait() {
        on.connections.resume(key);
    }
}

/// Resumes reading a connection that had to wait.
pub(in crate::hub) fn resume_reading(
    on: &mut Memberships<'_>,
    (key, serial): (ConnectionKey, u64),
    scratch: &mut [u8],
) {
    let connection = on.connections.get_mut(key).filter(|it| it.id.serial == serial);
    let Some(connection) = connection.filter(|it| !it.is_gone()) else { return };
    let mut backlog = connection.socket.take_backlog();
    handle_input(on, key, &mut backlog);
    if on.connections[key].socket.is_readable() {
        read(on, key, true, scratch);
    }
}

/// Decodes `input` and handles each message. What must wait is kept with the connection.
fn handle_input(on: &mut Memberships<'_>, key: ConnectionKey, mut input: &mut [u8]) {
    let mut decoder = on.connections[key].socket.take_decoder();
    loop {
        let connection = &mut on.connections[key];
        if connection.is_gone() {
            return;
        }
        if connection.must_wait() {
            connection.socket.keep_backlog(input);
            break;
        }
        match decoder.decode(&mut input) {
            Ok(Some(inbound)) => handle_message(on, key, inbound),
            Ok(None) => break,
            Err(disconnect) => {
                on.connections.close(key, disconnect, on.context);
                break;
            }
        }
    }
    on.connections[key].socket.give_decoder(decoder);
}
