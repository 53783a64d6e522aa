//! Checks that Redis allows what draining needs, before anything is drained.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::SourceSettings;
use super::health::DrainHealth;
use crate::channels::{DjangoLayer, MailboxNames};
use crate::group::GroupName;
use crate::layer::{RedisHandle, Script, ScriptError};

/// How logs refer to the tested commands together.
pub(super) const RIGHTS: &str = "commands that draining needs";

/// Time between two attempts while Redis cannot be reached.
pub(super) const RETRY: Duration = Duration::from_millis(200);

/// Time between two attempts after Redis refused: an operator has to change something first.
pub(super) const REFUSED_RETRY: Duration = Duration::from_secs(1);

/// Tests the commands.
pub(super) struct Probe {
    mailboxes: bool,
    stream: bool,
    names: MailboxNames,
    script: Script,
}

impl Probe {
    pub(super) fn new(settings: &SourceSettings, django: &DjangoLayer) -> Self {
        Self {
            mailboxes: settings.channels.core,
            stream: settings.ingress,
            names: django.names.clone(),
            script: Script::new(&[include_str!("scripts/probe.lua")]),
        }
    }

    /// Tests until nothing is refused.
    pub(super) async fn pass(&self, redis: &RedisHandle, health: &DrainHealth) {
        loop {
            match self.refused(redis).await {
                Ok(refused) if refused.is_empty() => return health.refusals.clear(RIGHTS),
                Ok(refused) => {
                    let pairs: Vec<_> = refused.chunks(2).map(|pair| pair.join(": ")).collect();
                    health.refusals.add(RIGHTS, &pairs.join("; "));
                    sleep(REFUSED_RETRY).await;
                }
                Err(ScriptError::Refused(why)) => {
                    health.refusals.add(RIGHTS, &why);
                    sleep(REFUSED_RETRY).await;
                }
                Err(ScriptError::Away(_)) => sleep(RETRY).await,
            }
        }
    }

    /// The refused commands, each followed by the reason.
    async fn refused(&self, redis: &RedisHandle) -> Result<Vec<String>, ScriptError> {
        let unused = GroupName::parse("groupcast.nobody").expect("it is a legal name");
        let names = redis.names();
        let trial = names.key("trial");
        let keys = vec![
            self.names.of_groups(0),
            self.names.group_key(&unused),
            names.ingress(),
            trial.clone(),
        ];
        let flag = |on: bool| Bytes::from_static(if on { b"1" } else { b"0" });
        let arguments = vec![flag(self.mailboxes), flag(self.stream), Bytes::from(trial)];
        redis.run(&self.script, keys, arguments).await
    }
}
