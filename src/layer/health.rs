//! Whether publications get through, for those who ask whether the instance is ready.

/// How the layer of one instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Whether a message has ever come back: before that the instance has only begun.
    pub started: bool,
    /// Whether a message sent lately came back.
    pub delivering: bool,
    /// Whether, beyond that, nothing was lost lately.
    pub whole: bool,
    /// Other instances that deliver, as far as this one can know.
    pub peers: u64,
}

impl Health {
    /// Of a layer that cannot fail.
    pub const WELL: Self = Self { started: true, delivering: true, whole: true, peers: 0 };
}
