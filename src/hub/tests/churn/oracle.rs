//! What each connection must see: for every membership the publications that reached its shard from
//! `joined` to `left`, in order, each once, but for those a gap accounts for.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use crate::event::{ConnectionId, Publication, Target};

#[derive(Default)]
pub(super) struct Oracle {
    views: HashMap<ConnectionId, View>,
    /// Gaps that connections were notified of.
    pub(super) gaps: u64,
    /// Positions that connections received in place of events that excepted them.
    pub(super) positions: u64,
}

/// One connection, as the model sees it.
struct View {
    v1: bool,
    welcomed: bool,
    closed: bool,
    /// Whether it ever asked for a group whose overflow closes.
    strict: bool,
    /// In the order of the requests. The first, without a name, is for events addressed to the
    /// connection itself.
    memberships: Vec<Membership>,
}

struct Membership {
    name: &'static str,
    phase: Phase,
    /// Whether the connection has read that it joined.
    announced: bool,
    /// The group's position at the answer: publications up to it are not for this membership.
    from: Option<u64>,
    /// Publications that have reached the shard and were not read yet.
    owed: VecDeque<Owed>,
}

#[derive(Debug, Clone, Copy)]
struct Owed {
    number: u64,
    offset: Option<u64>,
    /// Not for this connection, which is owed its position alone.
    is_left_out: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Asked,
    /// Left before it was answered.
    Abandoned,
    Granted,
    Left,
}

impl Oracle {
    pub(super) fn arrives(&mut self, id: ConnectionId, v1: bool) {
        let addressed = Membership { announced: true, ..Membership::new("", Phase::Granted) };
        let memberships = vec![addressed];
        self.views
            .insert(id, View { v1, welcomed: false, closed: false, strict: false, memberships });
    }

    pub(super) fn gone(&mut self, id: ConnectionId) {
        self.views.remove(&id);
    }

    pub(super) fn asks(&mut self, id: ConnectionId, name: &'static str) {
        let view = self.view(id);
        view.strict |= name.starts_with('c');
        view.memberships.push(Membership::new(name, Phase::Asked));
    }

    pub(super) fn holds(&self, id: ConnectionId, name: &str) -> bool {
        self.views[&id].memberships.iter().any(|m| m.name == name && m.is_held())
    }

    pub(super) fn leaves(&mut self, id: ConnectionId, name: &str) {
        let memberships = &mut self.view(id).memberships;
        let Some(held) = memberships.iter_mut().find(|m| m.name == name && m.is_held()) else {
            return;
        };
        held.phase = if held.phase == Phase::Asked { Phase::Abandoned } else { Phase::Left };
    }

    /// The layer answers the oldest unanswered join of this group.
    pub(super) fn granted(&mut self, id: ConnectionId, name: &str, from: Option<u64>) {
        let Some(view) = self.views.get_mut(&id) else { return };
        let unanswered =
            |m: &Membership| m.name == name && matches!(m.phase, Phase::Asked | Phase::Abandoned);
        let Some(at) = view.memberships.iter().position(unanswered) else { return };
        let membership = &mut view.memberships[at];
        if membership.phase == Phase::Abandoned {
            view.memberships.remove(at);
            return;
        }
        membership.phase = Phase::Granted;
        membership.from = from;
        membership.owed.retain(|owed| owed.offset > from || from.is_none());
    }

    /// A publication reaches the connection's shard.
    pub(super) fn sent(&mut self, id: ConnectionId, user: &str, publication: &Publication) {
        let name = match &publication.target {
            Target::Group(group) => group.as_str(),
            Target::User(sub) if **sub != *user => return,
            _ => "",
        };
        let held = |m: &&mut Membership| m.name == name && m.is_held();
        let Some(membership) = self.view(id).memberships.iter_mut().find(held) else { return };
        let offset = publication.position.as_ref().map(|position| position.offset);
        if membership.from.is_none() || offset > membership.from {
            let number = publication.id.0 as u64;
            let is_left_out = publication.except.holds(id, user);
            if offset.is_some() || !is_left_out {
                membership.owed.push_back(Owed { number, offset, is_left_out });
            }
        }
    }

    pub(super) fn received(&mut self, id: ConnectionId, frame: &Value) {
        if !self.views[&id].v1 {
            return self.view(id).passes(frame);
        }
        let view = self.view(id);
        assert!(!view.closed, "{frame} after the close");
        let kind = frame["type"].as_str().unwrap();
        assert_eq!(view.welcomed, kind != "welcome", "{frame}");
        view.welcomed = true;
        let group = frame["group"].as_str().unwrap_or_default();
        match kind {
            "welcome" | "joined" => view.each(frame, View::joined),
            "left" => view.each(frame, View::left),
            "event" => {
                let (number, offset) = (frame["data"]["n"].as_u64(), frame["offset"].as_u64());
                let owed = view.announced(group).owed.pop_front();
                let owed = owed.unwrap_or_else(|| panic!("{frame} was not owed"));
                assert!(!owed.is_left_out, "{frame}, but {owed:?} was owed");
                assert_eq!((Some(owed.number), owed.offset), (number, offset), "{frame}");
            }
            "position" => {
                let offset = frame["offset"].as_u64();
                let owed = &mut view.announced(group).owed;
                let mut last = None;
                while let Some(first) = owed.front()
                    && first.offset <= offset
                {
                    assert!(first.is_left_out, "{frame}, but {first:?} was owed");
                    last = first.offset;
                    owed.pop_front();
                }
                assert_eq!(last, offset, "{frame}, but {owed:?} were owed");
                self.positions += 1;
            }
            "gap" => {
                view.announced(group).misses(frame);
                self.gaps += 1;
            }
            other => panic!("{other}"),
        }
    }

    pub(super) fn closed(&mut self, id: ConnectionId, code: Option<u16>) {
        let view = self.view(id);
        assert!(code == Some(4508) && view.strict, "closed {code:?} against all policies");
        view.closed = true;
    }

    /// Whether the gateway may let go of it: after a close frame, which it does not wait for for
    /// ever to be read.
    pub(super) fn may_end(&self, id: ConnectionId) -> bool {
        self.views[&id].closed || self.views[&id].strict
    }

    /// Whether everything owed has come; a plain connection cannot know.
    pub(super) fn is_complete(&self, id: ConnectionId) -> bool {
        let view = &self.views[&id];
        let done = |m: &Membership| m.phase == Phase::Granted && m.announced && m.owed.is_empty();
        view.closed || !view.v1 || view.memberships.iter().all(done)
    }

    pub(super) fn missing(&self, ids: &[ConnectionId]) -> String {
        let of = |id: &ConnectionId| {
            let owed = |m: &Membership| format!("{} {:?} {:?}", m.name, m.phase, m.owed);
            let list: Vec<_> = self.views[id].memberships.iter().map(owed).collect();
            format!("{id} still waits: {list:?}")
        };
        ids.iter().filter(|id| !self.is_complete(**id)).map(of).collect::<Vec<_>>().join("\n")
    }

    fn view(&mut self, id: ConnectionId) -> &mut View {
        self.views.get_mut(&id).unwrap()
    }
}

impl View {
    /// For each group of a frame that is not refused.
    fn each(&mut self, frame: &Value, change: fn(&mut Self, &str)) {
        for standing in frame["groups"].as_array().unwrap() {
            if standing.get("error").is_none() {
                change(self, standing["group"].as_str().unwrap());
            }
        }
    }

    fn joined(&mut self, name: &str) {
        let new = |m: &&mut Membership| m.name == name && !m.announced && m.phase != Phase::Asked;
        let membership = self.memberships.iter_mut().find(new);
        membership.unwrap_or_else(|| panic!("joined {name}, which was not granted")).announced =
            true;
    }

    fn left(&mut self, name: &str) {
        let at = self.memberships.iter().position(|m| m.name == name && m.announced);
        let membership = self.memberships.remove(at.expect("left without having joined"));
        assert_eq!(membership.phase, Phase::Left, "left {name}, which was not ended");
    }

    /// The membership of this name that the connection knows itself to have.
    fn announced(&mut self, name: &str) -> &mut Membership {
        let announced = self.memberships.iter_mut().find(|m| m.name == name && m.announced);
        announced.unwrap_or_else(|| panic!("something of {name:?}, which is not joined"))
    }

    /// A plain connection receives only events; those before this one are lost to it.
    fn passes(&mut self, frame: &Value) {
        let number = frame["n"].as_u64().unwrap();
        for membership in &mut self.memberships {
            let is_it = |owed: &Owed| owed.number == number && !owed.is_left_out;
            if let Some(at) = membership.owed.iter().position(is_it) {
                membership.owed.drain(..=at);
                return;
            }
        }
        panic!("{frame} was seen, is out of order, or was never owed");
    }
}

impl Membership {
    fn new(name: &'static str, phase: Phase) -> Self {
        Self { name, phase, announced: false, from: None, owed: VecDeque::new() }
    }

    /// A gap accounts for what was missed, and includes adjacent positions. Of several
    /// positions it need only include the last.
    fn misses(&mut self, frame: &Value) {
        let (from, to) = (frame["from"].as_u64(), frame["to"].as_u64());
        let lost = frame["lost"].as_u64();
        let mut missed = Vec::new();
        while let Some(first) = self.owed.front()
            && (to.is_some() && first.offset <= to
                || to.is_none() && (missed.len() as u64) < lost.unwrap())
        {
            missed.extend(self.owed.pop_front());
        }
        let covered = missed.iter().position(|owed| owed.offset >= from).unwrap_or_default();
        assert!(missed[..covered].iter().all(|owed| owed.is_left_out), "{frame}: {missed:?}");
        let ends = (missed[covered].offset, missed[missed.len() - 1].offset);
        assert_eq!((from, to), ends, "{frame}");
        let events = missed.iter().filter(|owed| !owed.is_left_out).count() as u64;
        assert!(lost.is_none_or(|lost| lost == events) && events > 0, "{frame}: {missed:?}");
    }

    fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Asked | Phase::Granted)
    }
}
