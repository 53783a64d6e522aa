//! The back end's word on a connection, asked for again while the connection lasts.

use std::sync::Arc;

use super::command::{Confirm, Confirmation, HookIdentity, Request};
use super::members::SeatKey;
use super::shard::Shard;
use crate::event::ConnectionId;
use crate::frame::Frame;
use crate::identity::Identity;
use crate::protocol::Disconnect;

/// What a seat keeps of a [`HookIdentity`].
pub(super) struct Vouched {
    words: Arc<[u8]>,
    /// Seconds since 1970.
    ask_at: u64,
    /// Whether it is being asked.
    asking: bool,
    /// Until it is sent.
    pub(super) welcome: Option<Frame>,
}

impl Vouched {
    pub(super) fn boxed(vouch: HookIdentity) -> Box<Self> {
        let HookIdentity { words, ask_at, welcome } = vouch;
        Box::new(Self { words, ask_at, asking: false, welcome })
    }

    pub(super) fn is_due(&self, unix: u64) -> bool {
        !self.asking && unix >= self.ask_at
    }

    /// The second of the shard's clock at which it is due, which is `second` at `unix`.
    pub(super) fn due(&self, second: u32, unix: u64) -> u32 {
        if self.asking {
            return u32::MAX;
        }
        let left = u32::try_from(self.ask_at.saturating_sub(unix)).unwrap_or(u32::MAX);
        second.saturating_add(left)
    }
}

impl Shard {
    pub(super) fn ask_to_confirm(&mut self, key: SeatKey) {
        let seat = &mut self.seats[key];
        let Some(vouched) = &mut seat.vouched else { return };
        vouched.asking = true;
        let words = Arc::clone(&vouched.words);
        let confirm = Confirm { to: seat.id, shard: self.index, words };
        self.request(key, Request::Confirm(confirm));
    }

    /// The back end's new word takes the place of the old, or ends the connection.
    pub(super) fn confirmed(&mut self, to: ConnectionId, outcome: Confirmation) {
        let Some(key) = self.seats.find(to).filter(|key| self.is_open(*key)) else { return };
        let unix = self.clock.unix();
        let Some(vouched) = &mut self.seats[key].vouched else { return };
        vouched.asking = false;
        match outcome {
            Confirmation::StillValid { identity, ask_at } => {
                // A word that is old already would be asked for again in the same turn.
                vouched.ask_at = ask_at.max(unix + 1);
                self.hold_to(key, identity);
            }
            Confirmation::Ended(disconnect) => self.close(key, disconnect),
            Confirmation::Unknown { after } => {
                vouched.ask_at = unix + after.max(1);
                self.schedule(key);
            }
        }
    }

    fn hold_to(&mut self, key: SeatKey, identity: Identity) {
        let seat = &self.seats[key];
        if identity.sub != seat.identity.sub {
            tracing::info!(connection = %seat.id, "the browser's cookies are somebody else's now");
            return self.close(key, Disconnect::FORBIDDEN.because("it is somebody else now"));
        }
        let joins = &self.blueprint.routes[usize::from(seat.route)].join;
        let parameters = seat.parameters.as_deref().unwrap_or_default();
        match identity.groups_on_connect(joins, parameters) {
            Ok(wanted) => self.renew(key, None, identity, wanted),
            Err(error) => {
                tracing::warn!(connection = %seat.id, %error, "the back end's word makes an illegal name");
                self.close(key, Disconnect::FORBIDDEN.because("a group name is not legal"));
            }
        }
    }
}
