//! Values that carry their unit: durations such as `"10s"`, sizes such as `"256KiB"`.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// A duration, written as a whole number and `ms`, `s`, `m` or `h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Period(pub(crate) Duration);

/// A number of bytes: a plain number, or a whole number with `KiB`, `MiB` or `GiB`.
///
/// Only powers of 1024: a `KB` that means 1000 to some readers is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) usize);

/// Milliseconds in each unit, largest first, as `Display` tries them.
const PERIODS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Bytes in each unit, largest first.
const SIZES: [(&str, usize); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl Period {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split(text)?;
        let (_, scale) = PERIODS.iter().find(|(name, _)| *name == unit)?;
        let millis = number.parse::<u64>().ok()?.checked_mul(*scale)?;
        Some(Self(Duration::from_millis(millis)))
    }
}

impl Size {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Ok(bytes) = text.parse() {
            return Some(Self(bytes));
        }
        let (number, unit) = split(text)?;
        let (_, scale) = SIZES.iter().find(|(name, _)| *name == unit)?;
        Some(Self(number.parse::<usize>().ok()?.checked_mul(*scale)?))
    }
}

/// Digits, then the unit; one space between them is fine.
fn split(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    (!number.is_empty()).then(|| (number, unit.strip_prefix(' ').unwrap_or(unit)))
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis() as u64;
        match PERIODS.iter().find(|(_, scale)| millis != 0 && millis.is_multiple_of(*scale)) {
            Some((unit, scale)) => write!(f, "{}{unit}", millis / scale),
            None => f.write_str("0s"),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIZES.iter().find(|(_, scale)| self.0 != 0 && self.0.is_multiple_of(*scale)) {
            Some((unit, scale)) => write!(f, "{}{unit}", self.0 / scale),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PeriodVisitor;

        impl Visitor<'_> for PeriodVisitor {
            type Value = Period;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration in quotes such as \"10s\", \"500ms\", \"2m\" or \"1h\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Period, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
                Period::parse(text).ok_or_else(wrong)
            }
        }

        deserializer.deserialize_any(PeriodVisitor)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;

        impl Visitor<'_> for SizeVisitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes such as 4096, \"256KiB\" or \"1MiB\"")
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Size, E> {
                let wrong = |_| E::invalid_value(serde::de::Unexpected::Signed(number), &self);
                usize::try_from(number).map(Size).map_err(wrong)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Size, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
                Size::parse(text).ok_or_else(wrong)
            }
        }

        deserializer.deserialize_any(SizeVisitor)
    }
}
