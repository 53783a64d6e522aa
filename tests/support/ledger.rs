//! The oracle: one client's frames, judged one by one.
//!
//! Events are `{"type":"paso","s":<sender>,"n":<number>}`, numbered from 1 by each sender for each
//! group. Nothing may come twice, nor out of its sender's order, and where numbers are missing the
//! client must have a report: by a gap, or by a join that did not recover what was between. After
//! such a join, what was received on an earlier connection may come again under its old id, by
//! which clients drop it (docs/protocol.md, section 4).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::Value;

/// What one client has received, over all its connections.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    groups: BTreeMap<String, GroupAccount>,
    /// Events received, each once.
    pub(crate) events: u64,
    /// Gaps reported, also of the client's own group.
    pub(crate) gaps: u64,
    /// Events dropped by their ids.
    pub(crate) again: u64,
}

/// Last number of each sender.
pub(crate) type Numbers = BTreeMap<u64, u64>;

/// What was received of one group.
#[derive(Debug, Default)]
struct GroupAccount {
    numbers: BTreeMap<u64, Sender>,
    /// Senders of which nothing has come may begin with a later number than 1.
    excused: bool,
    /// Events that never came, as gaps and joins reported.
    missed: u64,
    gaps: u64,
    /// Where the client stands, in a group with history.
    position: Option<(String, u64)>,
}

#[derive(Debug, Default)]
struct Sender {
    /// The greatest number, and the newest on this connection.
    last: u64,
    newest: u64,
    /// The id of each number that came; null in a group with history.
    came: BTreeMap<u64, Value>,
    /// Whether a loss was reported since `last`.
    excused: bool,
}

impl Ledger {
    /// Takes the next frame of the client; those that are about neither events nor groups do not
    /// count here.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn hear(&mut self, frame: &Value) -> Result<(), String> {
        let outcome = match frame["type"].as_str() {
            Some("event") => self.event(frame),
            Some("gap") => self.gap(frame),
            Some("welcome" | "joined") => self.joined(frame),
            _ => Ok(()),
        };
        outcome.map_err(|fault| format!("{fault}: {frame}"))
    }

    /// Whether, in `group`, every sender's last number has come.
    pub(crate) fn has_all(&self, group: &str, expected: &Numbers) -> bool {
        let received = self.groups.get(group);
        let last = |sender| received.and_then(|received| Some(received.numbers.get(sender)?.last));
        expected.iter().all(|(sender, number)| last(sender) == Some(*number))
    }

    /// How many events of `group` never came.
    pub(crate) fn missed(&self, group: &str) -> u64 {
        self.groups.get(group).map_or(0, |received| received.missed)
    }

    /// How many gaps of `group` were reported.
    pub(crate) fn gaps(&self, group: &str) -> u64 {
        self.groups.get(group).map_or(0, |received| received.gaps)
    }

    /// The numbers of `group` that have come last.
    pub(crate) fn last(&self, group: &str) -> Numbers {
        let received = self.groups.get(group).into_iter().flat_map(|received| &received.numbers);
        received.map(|(sender, numbers)| (*sender, numbers.last)).collect()
    }

    /// What a join should say of where the client stands.
    pub(crate) fn since(&self, group: &str) -> Option<Value> {
        let (epoch, offset) = self.groups.get(group)?.position.as_ref()?;
        Some(serde_json::json!({"epoch": epoch, "offset": offset}))
    }

    fn event(&mut self, frame: &Value) -> Result<(), String> {
        let (sender, number) = (&frame["data"]["s"], &frame["data"]["n"]);
        let (Some(sender), Some(number)) = (sender.as_u64(), number.as_u64()) else {
            return Ok(());
        };
        let group = name(frame)?;
        let received = self.groups.get_mut(group).ok_or("an event before its join")?;
        received.follow(frame)?;
        match received.number(sender, number, &frame["id"])? {
            Some(missed) => {
                self.events += 1;
                received.missed += missed;
            }
            None => self.again += 1,
        }
        Ok(())
    }

    fn gap(&mut self, frame: &Value) -> Result<(), String> {
        self.gaps += 1;
        if frame["group"].is_null() {
            return Ok(());
        }
        let received = self.groups.get_mut(name(frame)?).ok_or("a gap before its join")?;
        received.gaps += 1;
        received.skip(frame)?;
        received.excuse();
        Ok(())
    }

    fn joined(&mut self, frame: &Value) -> Result<(), String> {
        for standing in frame["groups"].as_array().ok_or("no groups")? {
            if !standing["error"].is_null() {
                continue;
            }
            match self.groups.entry(name(standing)?.to_owned()) {
                Entry::Vacant(first) => first.insert(GroupAccount::default()).stand(standing),
                Entry::Occupied(mut again) => again.get_mut().come_back(standing)?,
            }
        }
        Ok(())
    }
}

impl GroupAccount {
    /// Takes a sender's number; how many were missed before it, `None` = it is dropped by its id.
    fn number(&mut self, sender: u64, number: u64, id: &Value) -> Result<Option<u64>, String> {
        let fresh = || Sender { excused: self.excused, ..Sender::default() };
        let received = self.numbers.entry(sender).or_insert_with(fresh);
        let what = format!("{sender}'s number {number}");
        let (last, newest) = (received.last, received.newest);
        if number <= last {
            let Some(known) = received.came.get(&number) else {
                return Err(format!("{what} is out of order after {last}"));
            };
            if number <= newest || known != id || id.is_null() {
                return Err(format!("{what} came twice, after {last}; its id was {known}"));
            }
            received.newest = number;
            return Ok(None);
        }
        let missed = number - last - 1;
        if missed > 0 && !received.excused {
            return Err(format!("before {what}, {missed} are missing, and no gap reported it"));
        }
        received.came.insert(number, id.clone());
        (received.last, received.newest, received.excused) = (number, number, false);
        Ok(Some(missed))
    }

    /// Something may be missing here.
    fn excuse(&mut self) {
        self.excused = true;
        for received in self.numbers.values_mut() {
            received.excused = true;
        }
    }

    /// An event's place in the numbering of a group with history.
    fn follow(&mut self, frame: &Value) -> Result<(), String> {
        let Some((_, last)) = &mut self.position else { return Ok(()) };
        let offset = frame["offset"].as_u64().ok_or("an event without its offset")?;
        if offset != *last + 1 {
            return Err(format!("offset {offset} follows {last}"));
        }
        *last = offset;
        Ok(())
    }

    /// A gap's place in the numbering.
    fn skip(&mut self, frame: &Value) -> Result<(), String> {
        let Some((epoch, last)) = &mut self.position else { return Ok(()) };
        let new = frame["epoch"].as_str().unwrap_or(epoch).to_owned();
        let (from, to) = (frame["from"].as_u64(), frame["to"].as_u64());
        if new != *epoch {
            (*epoch, *last) = (new, to.unwrap_or(0));
        } else if let (Some(from), Some(to)) = (from, to) {
            if from != *last + 1 || to < from {
                return Err(format!("a gap of {from} to {to} follows {last}"));
            }
            *last = to;
        }
        Ok(())
    }

    /// Where the group stands at a join that begins anew.
    fn stand(&mut self, standing: &Value) {
        let epoch = standing["epoch"].as_str();
        let at = |epoch: &str| Some((epoch.to_owned(), standing["offset"].as_u64()?));
        self.position = epoch.and_then(at);
    }

    fn come_back(&mut self, standing: &Value) -> Result<(), String> {
        if standing["recovered"] != true {
            self.excuse();
            self.stand(standing);
            self.numbers.values_mut().for_each(|received| received.newest = 0);
            return Ok(());
        }
        let (epoch, last) = self.position.as_ref().ok_or("recovered from nowhere")?;
        let newest = standing["offset"].as_u64().ok_or("recovered without a position")?;
        if standing["epoch"] != **epoch || newest < *last {
            return Err(format!("recovered from {last} of {epoch} to where it never was"));
        }
        Ok(())
    }
}

fn name(frame: &Value) -> Result<&str, String> {
    Ok(frame["group"].as_str().ok_or("no group")?)
}
