//! Admits a connection to its shard.

use mio::{Registry, Token};

use crate::hub::command::PostedAt;
use crate::hub::join::Memberships;
use crate::hub::request::{Cause, NewConnection};
use crate::hub::store::{Connection, FrameBudget, Renewal};
use crate::protocol::{Disconnect, Encoding};
use crate::socket::{ClientSocket, GapPolicy};

/// Adds a connection and asks the layer for its groups. `false` = its socket is unusable.
pub(super) fn admit(
    on: &mut Memberships<'_>,
    registry: &Registry,
    is_draining: bool,
    new: NewConnection,
    posted: PostedAt,
) -> bool {
    let settings = &on.context.config.connection;
    let gaps = match new.encoding {
        Encoding::V1 => GapPolicy::Notify,
        Encoding::Plain(_) => GapPolicy::Count,
    };
    let socket = match ClientSocket::new(new.stream, new.leftover, settings, gaps) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::warn!(connection = %new.id, %error, "socket cannot be configured");
            return false;
        }
    };
    let clock = &on.context.clock;
    let frames = FrameBudget::full(settings.frame_burst, clock.millis().0);
    let (id, second) = (new.id, clock.second());
    let mut connection = Connection::new(id, socket, new.identity, new.encoding, frames, second);
    connection.posted = posted;
    connection.stamp = new.stamp;
    connection.previous_id = new.previous.map(Box::new);
    connection.route = new.route;
    if !new.parameters.is_empty() {
        connection.parameters = Some(new.parameters.into());
    }
    let life = connection.identity.expires_at.saturating_sub(clock.unix());
    connection.renewal = Renewal::of(new.credential, life);
    on.context.by_label.connections.of(connection.protocol()).increment(1.0);
    let key = on.connections.insert(connection);
    on.connections.reschedule(key);
    if let Err(error) = on.connections[key].socket.register(registry, Token(key as usize)) {
        tracing::warn!(connection = %id, %error, "socket cannot be polled");
        on.connections.abandon(key);
    } else if is_draining {
        on.connections.close(key, Disconnect::DRAINING, on.context);
    } else {
        on.ask_to_join(key, Cause::NewConnection, new.groups, Vec::new());
    }
    true
}
