//! How a route shows events to its plain connections.

use std::collections::HashMap;

/// What a route makes of events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// Events listed, by name with `.` turned into `_`; `None` = every event, verbatim.
    pub events: Option<HashMap<String, EventShape>>,
}

/// What a route makes of one kind of event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventShape {
    /// The `type` that the browser sees in place of the event's own.
    pub rename: Option<String>,
    /// The members that are passed on beside `type`; `None` = all.
    pub keep: Option<Vec<String>>,
    /// The one member whose value is sent alone, in place of the object.
    pub body: Option<String>,
}
