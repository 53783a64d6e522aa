//! Timers of connections: pings, expiry of tokens, silence, the end of a close.

use super::wheel::TimerWheel;
use crate::frame::Frame;
use crate::hub::context::Context;
use crate::hub::join::ask_to_confirm;
use crate::hub::store::{
    Connection, ConnectionKey, ConnectionPhase, Connections, Renewal, RequestQueue,
};
use crate::protocol::{Disconnect, outbound};

/// The timers of a shard: for each connection the next one.
pub(super) struct Timers {
    wheel: TimerWheel,
    /// Scratch: the connections due in one turn.
    due: Vec<ConnectionKey>,
}

impl Timers {
    pub(super) fn new() -> Self {
        Self { wheel: TimerWheel::new(), due: Vec::new() }
    }

    /// Sets the timers that changed, and runs those that are due.
    pub(super) fn run(
        &mut self,
        context: &Context,
        connections: &mut Connections,
        requests: &mut RequestQueue,
    ) {
        self.set(context, connections);
        let second = context.clock.second();
        let mut due = std::mem::take(&mut self.due);
        self.wheel.turn(u64::from(second), &mut due);
        for key in due.drain(..) {
            // An entry may outlive its connection; a reused key has its own entry.
            if connections.get(key).is_some_and(|it| it.due <= second && !it.is_gone()) {
                run_timer(context, connections, requests, key);
            }
        }
        self.due = due;
        self.set(context, connections);
    }

    fn set(&mut self, context: &Context, connections: &mut Connections) {
        while let Some(key) = connections.next_to_schedule() {
            if let Some(connection) = connections.get_mut(key) {
                let due = due(context, connection);
                connection.due = self.wheel.put(key, u64::from(due)) as u32;
            }
        }
    }
}

fn run_timer(
    context: &Context,
    connections: &mut Connections,
    requests: &mut RequestQueue,
    key: ConnectionKey,
) {
    let ping = context.config.connection.ping.as_secs() as u32;
    let (second, unix) = (context.clock.second(), context.clock.unix());
    let connection = &mut connections[key];
    if let ConnectionPhase::Closing(until) = connection.phase() {
        return match second >= until {
            true => connections.abandon(key),
            false => connections.reschedule(key),
        };
    }
    if context.clock.expiry_unix() >= connection.identity.expires_at {
        let over = match connection.renewal {
            Renewal::Hook(_) => {
                Disconnect::UNAVAILABLE.because("the back end does not confirm who it is")
            }
            Renewal::Token { .. } => Disconnect::UNAUTHORIZED.because("token expired"),
        };
        return connections.close(key, over, context);
    }
    let is_arriving = connection.phase() == ConnectionPhase::Arriving;
    if second >= silent_at(context, connection) {
        let late = if is_arriving { Disconnect::UNAVAILABLE } else { Disconnect::SILENT };
        return connections.close(key, late, context);
    }
    if is_arriving {
        // Nothing is sent before the welcome.
        return connections.reschedule(key);
    }
    if connection.renewal.hook_mut().is_some_and(|hook| hook.is_due(unix)) {
        ask_to_confirm(context, connections, requests, key);
    }
    let connection = &mut connections[key];
    let is_v1 = connection.is_v1();
    let mut answers = [None, None];
    if is_v1
        && let Renewal::Token { announce_before } = &mut connection.renewal
        && *announce_before > 0
        && unix + u64::from(*announce_before) >= connection.identity.expires_at
    {
        *announce_before = 0;
        answers[0] = Some(outbound::auth_due());
    }
    if second >= connection.pinged + ping {
        connection.pinged = second;
        connection.socket.round_trip.begin(context.clock.millis().0);
        // Also sent to slow readers, ahead of queued events: otherwise a slow reader that sends
        // nothing would seem dead. At most two are queued.
        answers[1] = Some(if is_v1 { outbound::ping() } else { Frame::ping() });
    }
    for frame in answers.into_iter().flatten() {
        connections.answer(key, frame, context);
    }
    connections.reschedule(key);
}

/// The second of the shard's clock at which a connection has been silent for too long.
///
/// Silence is counted from the last input, or from the end of a pause of the process, since input
/// may still be unread then. A ping is sent before the grace begins, so the grace is the time to
/// answer it.
fn silent_at(context: &Context, connection: &Connection) -> u32 {
    let ping = context.config.connection.ping.as_secs() as u32;
    let grace = context.config.connection.ping_grace.as_secs() as u32;
    connection.last_input.max(context.clock.resumed()) + ping + grace
}

/// The second of the shard's clock at which a connection's next timer is due.
fn due(context: &Context, connection: &Connection) -> u32 {
    let ping = context.config.connection.ping.as_secs() as u32;
    let (second, unix) = (context.clock.second(), context.clock.unix());
    let at = |moment: u64, unix: u64| {
        let left = moment.saturating_sub(unix);
        second.saturating_add(u32::try_from(left).unwrap_or(u32::MAX))
    };
    let expires = at(connection.identity.expires_at, context.clock.expiry_unix());
    let silent = silent_at(context, connection);
    match connection.phase() {
        ConnectionPhase::Closing(until) => until,
        ConnectionPhase::Arriving => silent.min(expires),
        ConnectionPhase::Open => {
            let renewal_due = match &connection.renewal {
                Renewal::Token { announce_before }
                    if connection.is_v1() && *announce_before > 0 =>
                {
                    at(connection.identity.expires_at - u64::from(*announce_before), unix)
                }
                Renewal::Token { .. } => expires,
                Renewal::Hook(hook) => expires.min(hook.due(second, unix)),
            };
            (connection.pinged + ping).min(silent).min(renewal_due)
        }
        ConnectionPhase::Gone => second,
    }
}
