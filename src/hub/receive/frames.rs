//! Handles one message of a client: checks its rate and its type.

use super::auth::handle_auth;
use super::call::{RequestedCall, handle_call, handle_plain_call};
use super::hang_up::closed_by_peer;
use super::joins::{handle_join, handle_leave};
use super::refuse::refuse;
use super::sends::handle_send;
use crate::frame::Frame;
use crate::hub::join::Memberships;
use crate::hub::request::ReplyFormat;
use crate::hub::store::ConnectionKey;
use crate::protocol::{
    ClientFrame, Code, Disconnect, Encoding, FrameError, Refusal, outbound, parse,
};
use crate::socket::Inbound;

pub(super) fn handle_message(on: &mut Memberships<'_>, key: ConnectionKey, inbound: Inbound<'_>) {
    if let Inbound::Close(code) = inbound {
        return closed_by_peer(on, key, code);
    }
    let connection = &mut on.connections[key];
    if !connection.is_open() {
        return;
    }
    let settings = &on.context.config.connection;
    let now = on.context.clock.millis().0;
    if !connection.frames.take(settings.frames_per_second, settings.frame_burst, now) {
        let many = Disconnect::TOO_MANY.because("too many frames");
        return on.connections.close(key, many, on.context);
    }
    match inbound {
        Inbound::Ping(payload) => {
            on.connections.answer(key, Frame::pong(&payload), on.context);
        }
        Inbound::Text(text) if connection.encoding == Encoding::V1 => handle_v1(on, key, &text),
        Inbound::Text(text) => handle_plain_call(on, key, &text),
        Inbound::Pong => connection.socket.round_trip.end(connection.pinged, now),
        Inbound::Close(_) => {}
    }
}

fn handle_v1(on: &mut Memberships<'_>, key: ConnectionKey, text: &str) {
    let frame = match parse(text) {
        Ok(frame) => frame,
        Err(FrameError::NotAFrame) => {
            let bad = Disconnect::BAD_FRAME.because("no JSON object with a type");
            return on.connections.close(key, bad, on.context);
        }
        Err(FrameError::Unusable { id, message }) => {
            return refuse(on, key, id, &Refusal::new(Code::BadRequest, message));
        }
    };
    match frame {
        ClientFrame::Pong => {
            let (connection, now) = (&mut on.connections[key], on.context.clock.millis().0);
            connection.socket.round_trip.end(connection.pinged, now);
        }
        ClientFrame::Ping => on.connections.answer(key, outbound::pong(), on.context),
        ClientFrame::Hello { .. } => {
            let again = Refusal::new(Code::BadRequest, "hello was already received");
            refuse(on, key, None, &again);
        }
        ClientFrame::Join { id, groups } => handle_join(on, key, id, &groups),
        ClientFrame::Leave { id, groups } => handle_leave(on, key, id, &groups),
        ClientFrame::Send { id, group, data, echo, key: dedupe } => {
            handle_send(on, key, id, &group, data.get(), echo, dedupe.map(Into::into));
        }
        ClientFrame::Call { id, name, data, key: dedupe } => {
            let data = data.map(ToOwned::to_owned);
            let call = RequestedCall { name: name.into(), data, key: dedupe.map(Into::into) };
            handle_call(on, key, ReplyFormat::V1 { id }, call);
        }
        ClientFrame::Auth { id, token } => handle_auth(on, key, id, &token),
    }
}
