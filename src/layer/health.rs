//! The health of the layer, for readiness checks.

/// The state of one instance's layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Whether a probe has ever returned; before that the instance is still starting.
    pub started: bool,
    /// Whether a recent probe returned.
    pub delivering: bool,
    /// Whether it delivers and nothing was lost recently.
    pub lossless: bool,
    /// Other instances that deliver, as far as this one knows.
    pub peers: u64,
}

impl Health {
    /// The health of a layer that cannot fail.
    pub const DELIVERING: Self = Self { started: true, delivering: true, lossless: true, peers: 0 };
}
