//! The range of a single value.

use std::fmt::Display;
use std::time::Duration;

use super::error::ConfigError;
use super::units::{Period, Size};

/// The shortest period: zero would end every connection immediately.
const SHORTEST: Period = Period(Duration::from_millis(1));

/// Longest period, so that sums of periods with "now" stay far from overflow.
const LONGEST: Period = Period(Duration::from_secs(24 * 3600));

pub(super) fn at_least_one<T: Copy + PartialOrd + Display + One>(
    key: &str,
    value: T,
) -> Result<T, ConfigError> {
    if value < T::ONE {
        return Err(ConfigError::value(key, value, "at least 1"));
    }
    Ok(value)
}

pub(super) fn period(key: &str, value: Period) -> Result<Duration, ConfigError> {
    within(key, value, SHORTEST, LONGEST).map(|period| period.0)
}

/// A period measured by a clock of whole seconds.
pub(super) fn seconds(key: &str, value: Period) -> Result<Duration, ConfigError> {
    within(key, value, Period(Duration::from_secs(1)), LONGEST).map(|period| period.0)
}

pub(super) fn within<T: Copy + PartialOrd + Display>(
    key: &str,
    value: T,
    min: T,
    max: T,
) -> Result<T, ConfigError> {
    if value < min || value > max {
        return Err(ConfigError::value(key, value, format!("{min} to {max}")));
    }
    Ok(value)
}

/// One, of types whose value must not be zero.
pub(super) trait One {
    const ONE: Self;
}

impl One for u32 {
    const ONE: Self = 1;
}

impl One for usize {
    const ONE: Self = 1;
}

impl One for Size {
    const ONE: Self = Self(1);
}
