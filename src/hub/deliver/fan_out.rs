//! Delivers a publication to its receivers: links each to its frame, holds it back, or expires it.

use std::sync::Arc;

use super::Delivery;
use crate::event::{ConnectionId, Publication, Target};
use crate::hub::command::PostedAt;
use crate::hub::metrics::DropReason;
use crate::hub::report::Dropped;
use crate::hub::store::{Buffered, ConnectionKey, ConnectionPhase, GroupKey};
use crate::protocol::outbound::{Gap, GapReason};
use crate::socket::Limits;

impl Delivery<'_> {
    /// Step six of the walk: links every receiver of `publication` to its frame.
    pub(in crate::hub) fn fan_out(&mut self, publication: Arc<Publication>, posted: PostedAt) {
        match &publication.target {
            Target::Group(name) => {
                if let Some(group) = self.groups.find(name) {
                    self.fan_out_to_group(group, publication);
                }
            }
            Target::User(sub) => {
                let keys = self.connections.of_user(sub).collect::<Vec<_>>();
                self.fan_out_to_connections(&keys, publication, posted);
            }
            Target::Connection(id) => {
                let is_ours = id.instance == self.context.instance;
                let key = self.connections.find(*id).filter(|_| is_ours);
                self.fan_out_to_connections(key.as_slice(), publication, posted);
            }
            Target::All => {
                let keys = self.connections.keys().collect::<Vec<_>>();
                self.fan_out_to_connections(&keys, publication, posted);
            }
        }
    }

    fn fan_out_to_group(&mut self, key: GroupKey, publication: Arc<Publication>) {
        let Some(group) = self.groups.get(key) else { return };
        // Live members already have what the layer repeats or an answered position covers.
        let is_old = publication.position.as_ref().is_some_and(|own| group.has_reached(own));
        if !is_old && let Some(position) = &publication.position {
            self.notify_hole(key, position);
            self.groups.reach(key, position);
        }
        let limits = self.groups.limits_of(Some(key));
        let is_over = self.is_over(&publication);
        let item = self.turn.add(Arc::clone(&publication), Some(key), limits, false);
        let bound = (limits.capacity, self.context.config.connection.outbox_bytes);
        let shapes = &self.context.config.shapes;
        let reaches_all = publication.except.is_empty();
        let mut unlisted = 0;
        let (mut caught_up, mut left_out, mut late) = (Vec::new(), Vec::new(), Vec::new());
        for member in self.groups.get(key).map_or(&[][..], |group| group.members()) {
            let connection = &mut self.connections[member.connection];
            // Its membership ends with this step.
            if !connection.is_open() {
                continue;
            }
            let is_left_out = !reaches_all && connection.is_left_out(&publication.except);
            if is_left_out && publication.position.is_none() {
                continue;
            }
            if member.is_joining {
                let (own, joins) = (member.connection, &mut *self.joins);
                let kept = joins.offer(own, Some(key), &publication, bound, is_left_out);
                if kept == Buffered::Held {
                    continue;
                }
                caught_up.push(member.connection);
            } else if is_old {
                continue;
            }
            if is_left_out {
                left_out.push(member.connection);
                continue;
            }
            if is_over {
                late.push(member.connection);
                continue;
            }
            match self.turn.frame(item, connection.encoding, shapes) {
                Some(frame) => self.turn.link(member.connection, &mut connection.chain, frame),
                None => unlisted += 1,
            }
        }
        for connection in caught_up {
            self.groups.let_through(self.connections, connection, key);
        }
        let second = self.context.clock.second();
        self.groups.count_sent(key, self.turn.receivers(item), second);
        self.groups.show(key, &publication);
        if unlisted > 0 {
            self.groups.note_unlisted(key, publication.event.kind());
            self.groups.count_dropped(key, &Dropped { unlisted, ..Dropped::default() });
            self.context.by_label.dropped.of(DropReason::Unlisted).increment(unlisted);
        }
        for connection in late {
            self.expire(connection, Some(key), &publication);
        }
        if let Some(position) = &publication.position {
            for connection in left_out {
                self.notify_position(connection, key, position);
            }
        }
    }

    /// Whether the publication may not be delivered any more.
    fn is_over(&self, publication: &Publication) -> bool {
        publication.deadline.is_some_and(|deadline| deadline <= self.context.clock.now())
    }

    /// Reports an expired publication to a connection, at its place.
    fn expire(&mut self, key: ConnectionKey, group: Option<GroupKey>, publication: &Publication) {
        let range = publication.position.clone().map(|position| {
            let last = position.offset;
            (position, last)
        });
        let gap = Gap { reason: GapReason::Expired, lost: Some(1), range, possible: false };
        self.notify_gap(key, group, gap, &Dropped { expired: 1, ..Dropped::default() });
    }

    /// For targets other than groups, which have separate limits.
    fn fan_out_to_connections(
        &mut self,
        keys: &[ConnectionKey],
        publication: Arc<Publication>,
        posted: PostedAt,
    ) {
        let limits = Limits::default();
        let bound = (limits.capacity, self.context.config.connection.outbox_bytes);
        let item = self.turn.add(Arc::clone(&publication), None, limits, false);
        for key in keys {
            let Some(connection) = self.connections.get(*key).filter(|it| it.is_open()) else {
                continue;
            };
            if connection.posted >= posted || connection.is_left_out(&publication.except) {
                continue;
            }
            if connection.phase() == ConnectionPhase::Arriving {
                self.joins.offer(*key, None, &publication, bound, false);
            } else if self.is_over(&publication) {
                self.expire(*key, None, &publication);
            } else {
                self.link(*key, item);
            }
        }
    }

    /// Links a publication of a group to one member. It has no position: a history has it for all.
    pub(in crate::hub) fn deliver_to_member(
        &mut self,
        member: ConnectionId,
        publication: Arc<Publication>,
    ) {
        let Target::Group(name) = &publication.target else { return };
        let Some(key) = self.connections.find(member) else { return };
        let Some(group) = self.groups.held(self.connections, key, name) else { return };
        let capacity = self.groups.limits_of(Some(group)).capacity;
        let bound = (capacity, self.context.config.connection.outbox_bytes);
        if self.joins.offer(key, Some(group), &publication, bound, false) == Buffered::Held {
            return;
        }
        self.groups.let_through(self.connections, key, group);
        self.deliver_to(key, Some(group), publication, false);
    }

    /// Links one publication, replayed or held back, to one connection.
    pub(in crate::hub) fn deliver_to(
        &mut self,
        key: ConnectionKey,
        group: Option<GroupKey>,
        publication: Arc<Publication>,
        replay: bool,
    ) {
        // Earlier publications may have closed it.
        if !self.connections.is_open(key) {
            return;
        }
        let connection = &self.connections[key];
        if connection.is_left_out(&publication.except) {
            if let Some((group, position)) = group.zip(publication.position.as_ref()) {
                self.notify_position(key, group, position);
            }
            return;
        }
        if self.is_over(&publication) {
            return self.expire(key, group, &publication);
        }
        let item = self.turn.add(publication, group, self.groups.limits_of(group), replay);
        self.link(key, item);
        if let Some(group) = group {
            let second = self.context.clock.second();
            self.groups.count_sent(group, self.turn.receivers(item), second);
        }
    }

    fn link(&mut self, key: ConnectionKey, item: u32) {
        let connection = &mut self.connections[key];
        match self.turn.frame(item, connection.encoding, &self.context.config.shapes) {
            Some(frame) => self.turn.link(key, &mut connection.chain, frame),
            None => self.count(key, None, &Dropped { unlisted: 1, ..Dropped::default() }),
        }
    }
}
