//! The oracle: checks the frames of one client, one by one.
//!
//! Events are `{"type":"paso","s":<sender>,"n":<number>}`, numbered from 1 by each sender for each
//! group. No event may arrive twice or out of its sender's order. Missing numbers must have been
//! reported, by a gap or by a join that was not recovered. After such a join, events received on an
//! earlier connection may arrive again under their old ids, by which clients drop them
//! (docs/protocol.md, section 4).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::Value;

/// What one client has received, over all its connections.
#[derive(Debug, Default)]
pub(crate) struct DeliveryOracle {
    groups: BTreeMap<String, GroupRecord>,
    /// Events received, without repetitions.
    pub(crate) events: u64,
    /// Gaps reported, including those of the client's own group.
    pub(crate) gaps: u64,
    /// Repetitions, recognised by their ids.
    pub(crate) repetitions: u64,
}

/// The last number of each sender.
pub(crate) type Numbers = BTreeMap<u64, u64>;

/// What was received from one group.
#[derive(Debug, Default)]
struct GroupRecord {
    numbers: BTreeMap<u64, SenderRecord>,
    /// Whether senders not seen so far may begin with a later number than 1.
    loss_reported: bool,
    /// Events that never arrived, as gaps and joins reported.
    missed: u64,
    missed_within_epoch: u64,
    gaps: u64,
    /// The client's position, in a group with history.
    position: Option<(String, u64)>,
}

#[derive(Debug, Default)]
struct SenderRecord {
    /// The greatest number, and the latest on this connection.
    last: u64,
    newest: u64,
    /// The id of each number received; null in a group with history.
    received_ids: BTreeMap<u64, Value>,
    /// Whether a loss was reported since `last`.
    loss_reported: bool,
    /// Whether the epoch of the history has ended since `last`.
    epoch_ended: bool,
}

impl DeliveryOracle {
    /// Checks the next frame of the client. Frames that concern neither events nor groups are
    /// ignored.
    ///
    /// # Errors
    /// What is wrong with the frame.
    pub(crate) fn observe(&mut self, frame: &Value) -> Result<(), String> {
        let outcome = match frame["type"].as_str() {
            Some("event") => self.event(frame),
            Some("gap") => self.gap(frame),
            Some("welcome" | "joined") => self.joined(frame),
            _ => Ok(()),
        };
        outcome.map_err(|error| format!("{error}: {frame}"))
    }

    /// Whether the last number of every sender has arrived in `group`.
    pub(crate) fn has_all(&self, group: &str, expected: &Numbers) -> bool {
        let received = self.groups.get(group);
        let last = |sender| received.and_then(|received| Some(received.numbers.get(sender)?.last));
        expected.iter().all(|(sender, number)| last(sender) == Some(*number))
    }

    /// How many events of `group` never arrived.
    pub(crate) fn missed(&self, group: &str) -> u64 {
        self.groups.get(group).map_or(0, |received| received.missed)
    }

    /// How many of them a history should have had: their epoch had not ended.
    pub(crate) fn missed_within_epoch(&self, group: &str) -> u64 {
        self.groups.get(group).map_or(0, |received| received.missed_within_epoch)
    }

    /// How many gaps of `group` were reported.
    pub(crate) fn gaps(&self, group: &str) -> u64 {
        self.groups.get(group).map_or(0, |received| received.gaps)
    }

    /// The last number of each sender received in `group`.
    pub(crate) fn last(&self, group: &str) -> Numbers {
        let received = self.groups.get(group).into_iter().flat_map(|received| &received.numbers);
        received.map(|(sender, numbers)| (*sender, numbers.last)).collect()
    }

    /// The position for the `since` of a join.
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
        received.check_offset(frame)?;
        match received.number(sender, number, &frame["id"])? {
            Some(missed) => {
                self.events += 1;
                received.missed += missed.count;
                received.missed_within_epoch += if missed.epoch_ended { 0 } else { missed.count };
            }
            None => self.repetitions += 1,
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
        received.check_gap(frame)?;
        received.report_loss();
        Ok(())
    }

    fn joined(&mut self, frame: &Value) -> Result<(), String> {
        for group in frame["groups"].as_array().ok_or("no groups")? {
            if !group["error"].is_null() {
                continue;
            }
            match self.groups.entry(name(group)?.to_owned()) {
                Entry::Vacant(first) => first.insert(GroupRecord::default()).start_at(group),
                Entry::Occupied(mut repetitions) => repetitions.get_mut().rejoin(group)?,
            }
        }
        Ok(())
    }
}

/// Numbers that never arrived.
struct Missed {
    count: u64,
    epoch_ended: bool,
}

impl GroupRecord {
    /// Records a sender's number. Returns what was missed before it; `None`: it is a repetition,
    /// which clients drop by its id.
    fn number(&mut self, sender: u64, number: u64, id: &Value) -> Result<Option<Missed>, String> {
        let new_sender =
            || SenderRecord { loss_reported: self.loss_reported, ..SenderRecord::default() };
        let received = self.numbers.entry(sender).or_insert_with(new_sender);
        let what = format!("{sender}'s number {number}");
        let (last, newest) = (received.last, received.newest);
        if number <= last {
            let Some(known) = received.received_ids.get(&number) else {
                return Err(format!("{what} is out of order after {last}"));
            };
            if number <= newest || known != id || id.is_null() {
                return Err(format!("{what} arrived twice, after {last}; its id was {known}"));
            }
            received.newest = number;
            return Ok(None);
        }
        let missed = number - last - 1;
        if missed > 0 && !received.loss_reported {
            return Err(format!("{missed} are missing before {what}, and no gap reported it"));
        }
        received.received_ids.insert(number, id.clone());
        (received.last, received.newest, received.loss_reported) = (number, number, false);
        let epoch_ended = std::mem::take(&mut received.epoch_ended);
        Ok(Some(Missed { count: missed, epoch_ended }))
    }

    /// From here on, numbers may be missing.
    fn report_loss(&mut self) {
        self.loss_reported = true;
        for received in self.numbers.values_mut() {
            received.loss_reported = true;
        }
    }

    /// Checks that an event has the next offset, in a group with history.
    fn check_offset(&mut self, frame: &Value) -> Result<(), String> {
        let Some((_, last)) = &mut self.position else { return Ok(()) };
        let offset = frame["offset"].as_u64().ok_or("an event without its offset")?;
        if offset != *last + 1 {
            return Err(format!("offset {offset} follows {last}"));
        }
        *last = offset;
        Ok(())
    }

    /// Checks that a gap continues the offsets, in a group with history.
    fn check_gap(&mut self, frame: &Value) -> Result<(), String> {
        let Some((epoch, last)) = &mut self.position else { return Ok(()) };
        let new = frame["epoch"].as_str().unwrap_or(epoch).to_owned();
        let (from, to) = (frame["from"].as_u64(), frame["to"].as_u64());
        if new != *epoch {
            (*epoch, *last) = (new, to.unwrap_or(0));
            self.end_epoch();
        } else if let (Some(from), Some(to)) = (from, to) {
            if from != *last + 1 || to < from {
                return Err(format!("a gap of {from} to {to} follows {last}"));
            }
            *last = to;
        }
        Ok(())
    }

    /// Takes the position of a join that was not recovered.
    fn start_at(&mut self, group: &Value) {
        let epoch = group["epoch"].as_str();
        let at = |epoch: &str| Some((epoch.to_owned(), group["offset"].as_u64()?));
        let position = epoch.and_then(at);
        let epoch_of = |position: &Option<(String, u64)>| position.as_ref().map(|it| it.0.clone());
        if epoch_of(&position) != epoch_of(&self.position) {
            self.end_epoch();
        }
        self.position = position;
    }

    /// What follows is of another epoch: nothing before it can be recovered.
    fn end_epoch(&mut self) {
        self.numbers.values_mut().for_each(|received| received.epoch_ended = true);
    }

    fn rejoin(&mut self, group: &Value) -> Result<(), String> {
        if group["recovered"] != true {
            self.report_loss();
            self.start_at(group);
            self.numbers.values_mut().for_each(|received| received.newest = 0);
            return Ok(());
        }
        let (epoch, last) =
            self.position.as_ref().ok_or("recovered without an earlier position")?;
        let newest = group["offset"].as_u64().ok_or("recovered without a position")?;
        if group["epoch"] != **epoch || newest < *last {
            return Err(format!(
                "recovered from {last} of {epoch} to an earlier or foreign position"
            ));
        }
        Ok(())
    }
}

fn name(frame: &Value) -> Result<&str, String> {
    Ok(frame["group"].as_str().ok_or("no group")?)
}
