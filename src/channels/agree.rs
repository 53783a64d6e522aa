//! What all instances of a cluster have in common, asked of Redis before anything is drained.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::sleep;

use super::Settings;
use super::health::DrainHealth;
use super::names::Mailboxes;
use crate::group::GroupName;
use crate::layer::{RedisHandle, Script, ScriptError};

/// Version of what is written in Redis: names of mailboxes and members, how waiting events are kept.
pub(super) const FORMAT: u32 = 1;

/// What draining needs of Redis, as logs call it.
const RIGHTS: &str = "what draining sources needs";

/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(200);

/// Between two attempts after Redis said no: somebody has to mend that.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why an instance cannot work with the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelsError {
    /// Senders would find groups in mailboxes that the others do not look into.
    #[error(
        "channels.boxes is {here}, but the cluster has {there}: give all instances the same number, or \
         stop all of them and delete the key {key}"
    )]
    Boxes {
        /// As configured.
        here: u16,
        /// As agreed.
        there: String,
        /// Where it is written.
        key: String,
    },
    /// The others are of another release.
    #[error("the cluster writes format {there}, this release format {here}: run the same release")]
    Format {
        /// Of this release.
        here: u32,
        /// As agreed.
        there: String,
    },
}

/// What is to be agreed upon.
pub(super) struct Agreement {
    core: bool,
    ingress: bool,
    boxes: u16,
    mailbox: String,
    stranger: String,
    outcome: watch::Sender<Option<ChannelsError>>,
    health: Arc<DrainHealth>,
}

impl Agreement {
    pub(super) fn new(
        settings: &Settings,
        mailboxes: &Mailboxes,
        outcome: watch::Sender<Option<ChannelsError>>,
        health: Arc<DrainHealth>,
    ) -> Self {
        let nobody = GroupName::parse("groupcast.nobody").expect("it is a legal name");
        Self {
            core: settings.channels.core,
            ingress: settings.ingress,
            boxes: settings.channels.boxes,
            mailbox: mailboxes.of_groups(0),
            stranger: mailboxes.group_key(&nobody),
            outcome,
            health,
        }
    }

    /// Asks until there is an answer; whether there is agreement.
    pub(super) async fn reach(self, link: &RedisHandle) -> bool {
        let script = Script::new(&[include_str!("scripts/agree.lua")]);
        let key = link.names().key("bridge");
        loop {
            let answer = match self.ask(&script, &key, link).await {
                Ok(answer) => answer,
                Err(ScriptError::Away(_)) => {
                    sleep(AGAIN).await;
                    continue;
                }
                Err(ScriptError::Refused(why)) => {
                    self.health.refused(RIGHTS, &why);
                    sleep(PATIENCE).await;
                    continue;
                }
            };
            let [boxes, format, refused @ ..] = answer.as_slice() else { continue };
            let boxes_here = self.core.then_some(self.boxes);
            if let Some(error) = compare(boxes_here, boxes, format, &key) {
                self.outcome.send_replace(Some(error));
                return false;
            }
            if refused.is_empty() {
                self.health.mended(RIGHTS);
                return true;
            }
            let refused = refused.chunks(2).map(|pair| pair.join(": ")).collect::<Vec<_>>();
            self.health.refused(RIGHTS, &refused.join("; "));
            sleep(PATIENCE).await;
        }
    }

    async fn ask(
        &self,
        script: &Script,
        key: &str,
        link: &RedisHandle,
    ) -> Result<Vec<String>, ScriptError> {
        let names = link.names();
        let keys = vec![
            key.to_owned(),
            self.mailbox.clone(),
            self.stranger.clone(),
            names.ingress(),
            names.key("trial"),
        ];
        let flag = |on: bool| Bytes::from_static(if on { b"1" } else { b"0" });
        let arguments = vec![
            Bytes::from(self.boxes.to_string()),
            Bytes::from(FORMAT.to_string()),
            Bytes::from(names.key("trial")),
            flag(self.core),
            flag(self.ingress),
        ];
        link.run(script, keys, arguments).await
    }
}

/// Whether this instance can work with what was agreed; `here` = its mailboxes, if it drains any.
pub(super) fn compare(
    here: Option<u16>,
    boxes: &str,
    format: &str,
    key: &str,
) -> Option<ChannelsError> {
    if format != FORMAT.to_string() {
        return Some(ChannelsError::Format { here: FORMAT, there: format.to_owned() });
    }
    let here = here.filter(|here| boxes != here.to_string())?;
    Some(ChannelsError::Boxes { here, there: boxes.to_owned(), key: key.to_owned() })
}
