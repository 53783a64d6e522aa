//! Settings that all instances of a cluster share, agreed in Redis before anything is drained.

use std::fmt;

use bytes::Bytes;

use super::ChannelSettings;
use crate::layer::{RedisHandle, Script, ScriptError};

/// Versions of what instances write in Redis: names of mailboxes and members, how parked events are
/// kept, envelopes. Each release reads a range of them and writes the one that the cluster agreed
/// on, so that two releases work side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Formats {
    oldest: u32,
    newest: u32,
}

/// What this release reads.
pub(crate) const FORMATS: Formats = Formats { oldest: 1, newest: 1 };

impl Formats {
    fn includes(self, format: &str) -> bool {
        format.parse().is_ok_and(|format: u32| (self.oldest..=self.newest).contains(&format))
    }

    #[cfg(test)]
    pub(crate) const fn range(oldest: u32, newest: u32) -> Self {
        Self { oldest, newest }
    }
}

impl fmt::Display for Formats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.oldest == self.newest {
            return write!(f, "{}", self.newest);
        }
        write!(f, "{} to {}", self.oldest, self.newest)
    }
}

/// Why an instance is incompatible with the cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgreementError {
    /// Senders would be sent to mailboxes that the other instances do not read.
    #[error(
        "channels.boxes is {here}, but the cluster has {there}: give all instances the same \
         number, or stop all of them and delete the key {key}"
    )]
    Boxes {
        /// As configured.
        here: u16,
        /// As agreed.
        there: String,
        /// Where it is written.
        key: String,
    },
    /// The releases of the other instances have no format in common with this one.
    #[error(
        "the cluster writes format {there}, this release reads format {here}: run a release that \
         reads it, or stop all instances and delete the key {key}"
    )]
    Format {
        /// Of this release.
        here: Formats,
        /// As agreed.
        there: String,
        /// Where it is written.
        key: String,
    },
}

/// The values on which all instances must agree.
pub(crate) struct Agreement {
    /// Mailboxes of this instance, if it has any.
    boxes: Option<u16>,
    formats: Formats,
    script: Script,
}

impl Agreement {
    pub(crate) fn new(settings: &ChannelSettings, formats: Formats) -> Self {
        Self {
            boxes: settings.core.then_some(settings.boxes),
            formats,
            script: Script::new(&[include_str!("scripts/agree.lua")]),
        }
    }

    /// Proposes this instance's settings and compares them with the agreed ones. `Err` = they
    /// differ.
    pub(crate) async fn ask(
        &self,
        redis: &RedisHandle,
    ) -> Result<Result<(), AgreementError>, ScriptError> {
        let names = redis.names();
        let key = names.key("bridge");
        let boxes = self.boxes.map_or_else(String::new, |boxes| boxes.to_string());
        let Formats { oldest, newest } = self.formats;
        let instance = redis.instance().to_string();
        let arguments = [boxes, oldest.to_string(), newest.to_string(), instance];
        let arguments = arguments.map(Bytes::from).to_vec();
        let keys = vec![key.clone(), names.key("formats"), names.instances(), names.key("trial")];
        let (boxes, format): (String, String) = redis.run(&self.script, keys, arguments).await?;
        Ok(compare(self.boxes, &boxes, self.formats, &format, &key).map_or(Ok(()), Err))
    }
}

/// Why this instance cannot work with what was agreed, if so; `here` = its mailboxes, if it has
/// any.
pub(crate) fn compare(
    here: Option<u16>,
    boxes: &str,
    formats: Formats,
    format: &str,
    key: &str,
) -> Option<AgreementError> {
    let key = key.to_owned();
    if !formats.includes(format) {
        return Some(AgreementError::Format { here: formats, there: format.to_owned(), key });
    }
    let here = here.filter(|here| boxes != here.to_string())?;
    Some(AgreementError::Boxes { here, there: boxes.to_owned(), key })
}
