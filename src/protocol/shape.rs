//! How a route shapes events for its plain connections.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json::{Text, string};
use crate::event::Event;
use crate::frame::Frame;

/// The shapes of events on a route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// Events listed, by name with `.` turned into `_`; `None` = every event, verbatim.
    events: Option<HashMap<String, EventShape>>,
}

/// The shape of one kind of event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventShape {
    /// The `type` that the browser receives instead of the event's own.
    pub rename: Option<String>,
    /// The members that are passed on besides `type`, in the event's own order; `None` = all.
    pub keep: Option<Vec<String>>,
    /// The one member whose value is sent alone, in place of the object: what a consumer does with
    /// `send(text_data=event["message"])`. A string is sent as its bare text, anything else (`null`
    /// too) as JSON. An event without the member is not sent, as if it were not listed.
    pub body: Option<String>,
}

/// Why a list of events is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// Two names that are equal in Channels.
    #[error("events {0:?} and {1:?} are the same, since '.' and '_' are equal; list one of them")]
    SameName(String, String),
    /// `body` sends no object, so there is nothing to rename or keep.
    #[error(
        "event {0:?} has \"body\", which sends one member alone; leave out \"as\" and \"keep\""
    )]
    BodyNotAlone(String),
}

impl Shape {
    /// Every event, unchanged.
    pub fn verbatim() -> Self {
        Self { events: None }
    }

    /// The listed events only, by name; `.` and `_` are equal, as in Channels.
    pub fn new(events: BTreeMap<String, EventShape>) -> Result<Self, ShapeError> {
        let mut listed = HashMap::with_capacity(events.len());
        let mut written: HashMap<String, String> = HashMap::with_capacity(events.len());
        for (name, event) in events {
            if event.body.is_some() && (event.rename.is_some() || event.keep.is_some()) {
                return Err(ShapeError::BodyNotAlone(name));
            }
            let key = plain_name(&name).into_owned();
            if let Some(other) = written.insert(key.clone(), name.clone()) {
                return Err(ShapeError::SameName(other, name));
            }
            listed.insert(key, event);
        }
        Ok(Self { events: Some(listed) })
    }

    /// Whether only listed events are passed on.
    pub fn lists_events(&self) -> bool {
        self.events.is_some()
    }

    /// The frame for `event`; `None` = it is not sent here.
    ///
    /// Runs once per publication and shape. Values are passed on as the sender wrote them.
    pub fn encode(&self, event: &Event) -> Option<Frame> {
        let Some(events) = &self.events else { return Some(Frame::text(event.json())) };
        let shape = events.get(&*plain_name(event.kind()))?;
        match shape {
            EventShape { body: Some(member), .. } => body(event, member),
            EventShape { rename: None, keep: None, .. } => Some(Frame::text(event.json())),
            EventShape { rename, keep, .. } => {
                Some(object(event, rename.as_deref(), keep.as_deref()))
            }
        }
    }
}

fn plain_name(name: &str) -> Cow<'_, str> {
    if name.contains('.') { Cow::Owned(name.replace('.', "_")) } else { Cow::Borrowed(name) }
}

fn body(event: &Event, member: &str) -> Option<Frame> {
    let mut found = None;
    each_member(event, |name, value| {
        if name == member {
            found = Some(value);
        }
    });
    let value = found?;
    let text = string(value).unwrap_or(Cow::Borrowed(value.get()));
    Some(Frame::text(text.as_bytes()))
}

fn object(event: &Event, rename: Option<&str>, keep: Option<&[String]>) -> Frame {
    let mut json = Vec::with_capacity(event.json().len() + 64);
    let push_text = |json: &mut Vec<u8>, text: &str| {
        serde_json::to_writer(json, text).expect("a string always serializes to memory");
    };
    each_member(event, |name, value| {
        let is_type = name == "type";
        if !is_type && keep.is_some_and(|keep| keep.iter().all(|kept| kept != name)) {
            return;
        }
        json.push(if json.is_empty() { b'{' } else { b',' });
        push_text(&mut json, name);
        json.push(b':');
        match rename {
            Some(new) if is_type => push_text(&mut json, new),
            _ => json.extend_from_slice(value.get().as_bytes()),
        }
    });
    json.push(b'}');
    Frame::text(&json)
}

/// Calls `visit` for each member of the event's object, in order.
fn each_member<'a>(event: &'a Event, visit: impl FnMut(&str, &'a RawValue)) {
    struct Members<F>(F);

    impl<'de, F: FnMut(&str, &'de RawValue)> Visitor<'de> for Members<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some((Text(name), value)) = map.next_entry()? {
                (self.0)(&name, value);
            }
            Ok(())
        }
    }

    serde_json::Deserializer::from_slice(event.json())
        .deserialize_map(Members(visit))
        .expect("an event was checked to be a JSON object");
}
