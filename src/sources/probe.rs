//! Checks that Redis allows what draining needs, before anything is drained.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::SourceSettings;
use super::drainer::Drainer;
use crate::channels::{DjangoLayer, MailboxNames};
use crate::group::GroupName;
use crate::layer::{Script, ScriptError};

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
    /// Whether entries are published on this server.
    is_layer: bool,
    names: MailboxNames,
    script: Script,
}

impl Probe {
    /// Of the layer's server.
    pub(super) fn new(settings: &SourceSettings, django: &DjangoLayer) -> Self {
        let channels = &settings.channels;
        Self {
            mailboxes: channels.core && channels.server.is_none(),
            stream: settings.ingress,
            is_layer: true,
            names: django.names.clone(),
            script: Script::new(&[include_str!("scripts/probe.lua")]),
        }
    }

    /// Of a server on which only mailboxes are.
    pub(super) fn of_mailboxes(django: &DjangoLayer) -> Self {
        Self {
            mailboxes: true,
            stream: false,
            is_layer: false,
            names: django.names.clone(),
            script: Script::new(&[include_str!("scripts/probe.lua")]),
        }
    }

    /// Tests until nothing is refused.
    pub(super) async fn pass(&self, drainer: &Drainer) {
        let health = &drainer.health;
        loop {
            match self.refused(drainer).await {
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
    async fn refused(&self, drainer: &Drainer) -> Result<Vec<String>, ScriptError> {
        let unused = GroupName::parse("groupcast.nobody").expect("it is a legal name");
        let names = drainer.redis.names();
        let trial = names.key("trial");
        let keys = vec![
            self.names.of_groups(0),
            self.names.group_key(&unused),
            names.ingress(),
            trial.clone(),
        ];
        let flag = |on: bool| Bytes::from_static(if on { b"1" } else { b"0" });
        let flags = [flag(self.mailboxes), flag(self.stream)];
        let arguments = flags.into_iter().chain([Bytes::from(trial), flag(self.is_layer)]);
        let arguments = arguments.collect();
        match self.is_layer {
            true => drainer.redis.run(&self.script, keys, arguments).await,
            false => drainer.place().ask(&self.script, keys, arguments).await,
        }
    }
}
