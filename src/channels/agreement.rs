//! Settings that all instances of a cluster share, agreed in Redis before anything is drained.

use bytes::Bytes;

use super::ChannelSettings;
use crate::layer::{RedisHandle, Script, ScriptError};

/// Version of what is written in Redis: names of mailboxes and members, how parked events are kept.
pub(crate) const FORMAT: u32 = 1;

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
    /// The other instances run another release.
    #[error("the cluster writes format {there}, this release format {here}: run the same release")]
    Format {
        /// Of this release.
        here: u32,
        /// As agreed.
        there: String,
    },
}

/// The values on which all instances must agree.
pub(crate) struct Agreement {
    /// Mailboxes of this instance, if it has any.
    boxes: Option<u16>,
    script: Script,
}

impl Agreement {
    pub(crate) fn new(settings: &ChannelSettings) -> Self {
        Self {
            boxes: settings.core.then_some(settings.boxes),
            script: Script::new(&[include_str!("scripts/agree.lua")]),
        }
    }

    /// Proposes this instance's settings and compares them with the agreed ones. `Err` = they
    /// differ.
    pub(crate) async fn ask(
        &self,
        redis: &RedisHandle,
    ) -> Result<Result<(), AgreementError>, ScriptError> {
        let key = redis.names().key("bridge");
        let boxes = self.boxes.map_or_else(String::new, |boxes| boxes.to_string());
        let arguments = vec![Bytes::from(boxes), Bytes::from(FORMAT.to_string())];
        let keys = vec![key.clone(), redis.names().key("trial")];
        let (boxes, format): (String, String) = redis.run(&self.script, keys, arguments).await?;
        Ok(compare(self.boxes, &boxes, &format, &key).map_or(Ok(()), Err))
    }
}

/// Why this instance cannot work with what was agreed, if so; `here` = its mailboxes, if it has
/// any.
pub(crate) fn compare(
    here: Option<u16>,
    boxes: &str,
    format: &str,
    key: &str,
) -> Option<AgreementError> {
    if format != FORMAT.to_string() {
        return Some(AgreementError::Format { here: FORMAT, there: format.to_owned() });
    }
    let here = here.filter(|here| boxes != here.to_string())?;
    Some(AgreementError::Boxes { here, there: boxes.to_owned(), key: key.to_owned() })
}
