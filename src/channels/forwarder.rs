//! Writes events for Django's consumers as channels_redis does, in the order of the queue.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::rand;
use bytes::Bytes;

use super::codec::{Codec, MessageChannels};
use super::forward_queue::{DropCounter, ForwardJob, ForwardJobs};
use super::metrics::DjangoDrop;
use super::{ChannelSettings, MailboxNames};
use crate::clock;
use crate::event::Event;
use crate::group::GroupName;
use crate::layer::{FromReply, RedisHandle, RemoteRedis, Reply, Script, ScriptError};

/// Events that share the commands to Redis.
const MAX_JOBS: usize = 64;

/// Messages in one script, which blocks Redis for about 1 ms.
const MAX_MESSAGES: usize = 256;

/// Bytes in one script, as far as messages are smaller than that.
const MAX_BYTES: usize = 256 * 1024;

/// The task that empties a [`super::ForwardQueue`].
pub(super) struct Forwarder {
    pub(super) redis: RedisHandle,
    /// Where the mailboxes are, if not on the layer's server.
    pub(super) remote: Option<RemoteRedis>,
    pub(super) codec: Arc<Codec>,
    pub(super) names: MailboxNames,
    pub(super) settings: ChannelSettings,
    pub(super) drops: Arc<DropCounter>,
}

/// The scripts, and the state between batches.
struct ForwardState {
    members: Script,
    write: Script,
    publish: Script,
    /// Microseconds of the last score written.
    last_score: String,
}

/// The consumers of one process, or a worker's channel.
#[derive(Debug, PartialEq)]
struct Mailbox {
    key: String,
    names: Vec<String>,
}

/// Messages that one script writes.
#[derive(Default)]
struct MessageBatch<'a> {
    keys: Vec<String>,
    messages: Vec<Bytes>,
    groups: Vec<&'a GroupName>,
    bytes: usize,
}

type GroupEvent = (GroupName, Event);

impl Forwarder {
    /// Runs for as long as events may be queued.
    pub(super) async fn run(self, mut jobs: ForwardJobs) {
        let mut state = ForwardState {
            members: Script::new(&[include_str!("scripts/members.lua")]),
            write: Script::new(&[include_str!("scripts/write_messages.lua")]),
            publish: Script::new(&[include_str!("scripts/publish_messages.lua")]),
            last_score: "0".to_owned(),
        };
        loop {
            let batch = jobs.take(MAX_JOBS).await;
            if batch.is_empty() {
                return;
            }
            let (mut events, mut flushes) = (Vec::new(), Vec::new());
            for job in batch {
                match job {
                    ForwardJob::Send(group, event) => events.push((group, event)),
                    ForwardJob::Flush(done) => flushes.push(done),
                }
            }
            if self.settings.core {
                self.to_mailboxes(&events, &mut state).await;
            } else {
                self.to_subscribers(&events, &state).await;
            }
            for done in flushes {
                // The caller may have reached its time limit.
                let _ = done.send(());
            }
        }
    }

    /// As `group_send` of the core layer: one message for each mailbox of a group's members.
    async fn to_mailboxes(&self, events: &[GroupEvent], state: &mut ForwardState) {
        let members = match self.members(events, state).await {
            Ok(members) => members,
            Err(error) => return self.drop_all(events.iter().map(|(group, _)| group), &error),
        };
        let mut batch = MessageBatch::default();
        for (group, event) in events {
            let mailboxes = match members.get(group) {
                Some(Ok(mailboxes)) => mailboxes.as_slice(),
                Some(Err(why)) => {
                    self.drops.add(DjangoDrop::Redis, 1, group, why);
                    continue;
                }
                None => &[],
            };
            for mailbox in mailboxes {
                let message = self.message(event, mailbox);
                if batch.is_full_with(&message) {
                    self.write(std::mem::take(&mut batch), state).await;
                }
                batch.add(group, mailbox, message);
            }
        }
        self.write(batch, state).await;
    }

    /// The mailboxes of each group's consumers.
    async fn members<'a>(
        &self,
        events: &'a [GroupEvent],
        state: &ForwardState,
    ) -> Result<HashMap<&'a GroupName, Result<Vec<Mailbox>, String>>, ScriptError> {
        let mut groups: Vec<_> = events.iter().map(|(group, _)| group).collect();
        groups.sort_unstable();
        groups.dedup();
        if groups.is_empty() {
            return Ok(HashMap::new());
        }
        let keys = groups.iter().map(|group| self.names.group_key(group)).collect();
        let expiry = self.settings.group_expiry.as_secs().to_string();
        let arguments = vec![expiry.into(), self.names.stem().to_owned().into()];
        let answer: Vec<Reply> = self.ask(&state.members, keys, arguments).await?;
        let read = |answer| match answer {
            Reply::List(names) => {
                // A name that is not UTF-8 makes every sender of the library fail.
                let names = names.iter().filter_map(|name| name.as_str().map(str::to_owned));
                Ok(by_mailbox(&self.settings.prefix, names))
            }
            why => Err(why.convert().unwrap_or_default()),
        };
        Ok(groups.into_iter().zip(answer.into_iter().map(read)).collect())
    }

    /// The event as members of `mailbox` receive it.
    fn message(&self, event: &Event, mailbox: &Mailbox) -> Bytes {
        let mut prefix = vec![0; self.settings.codec.random_prefix];
        rand::fill(&mut prefix).expect("the operating system has random bytes");
        let names = MessageChannels::Many(&mailbox.names);
        self.codec.write(event, names, &prefix, random_iv(), clock::unix_seconds()).into()
    }

    async fn write(&self, batch: MessageBatch<'_>, state: &mut ForwardState) {
        if batch.keys.is_empty() {
            return;
        }
        let mut arguments = vec![
            Bytes::from(self.settings.send_capacity.to_string()),
            Bytes::from(self.settings.codec.expiry.as_secs().to_string()),
            Bytes::from(state.last_score.clone()),
        ];
        arguments.extend(batch.messages);
        let answer = self.ask::<Vec<String>>(&state.write, batch.keys, arguments).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.drop_all(batch.groups.into_iter(), &error),
        };
        let [last_score, cause, outcomes @ ..] = answer.as_slice() else {
            let why = format!("{} values answered; at least 2 are expected", answer.len());
            return self.drop_all(batch.groups.into_iter(), &ScriptError::Refused(why));
        };
        state.last_score.clone_from(last_score);
        self.drops.sent(outcomes.iter().filter(|outcome| *outcome == "sent").count() as u64);
        for (group, outcome) in batch.groups.into_iter().zip(outcomes) {
            match outcome.as_str() {
                "sent" => {}
                "full" => {
                    let why = "a consumers' mailbox is full; its process is slow or gone";
                    self.drops.add(DjangoDrop::Capacity, 1, group, why);
                }
                _ => self.drops.add(DjangoDrop::Redis, 1, group, cause),
            }
        }
    }

    /// Runs a script where the mailboxes are.
    async fn ask<R: FromReply>(
        &self,
        script: &Script,
        keys: Vec<String>,
        arguments: Vec<Bytes>,
    ) -> Result<R, ScriptError> {
        match &self.remote {
            Some(remote) => remote.run(script, keys, arguments).await,
            None => self.redis.run(script, keys, arguments).await,
        }
    }

    /// As `group_send` of the pub/sub layer: one message on the group's channel.
    async fn to_subscribers(&self, events: &[GroupEvent], state: &ForwardState) {
        let mut arguments = Vec::with_capacity(events.len() * 4);
        for (group, event) in events {
            let payload =
                Bytes::from(self.codec.write_bare(event, random_iv(), clock::unix_seconds()));
            let (channel, announcement) = self.redis.announcement(group, &payload);
            arguments.extend([channel.into(), announcement]);
            arguments.push(self.names.pubsub_channel(group).into());
            arguments.push(payload);
        }
        match self.redis.run::<u64>(&state.publish, Vec::new(), arguments).await {
            Ok(count) => self.drops.sent(count),
            Err(error) => self.drop_all(events.iter().map(|(group, _)| group), &error),
        }
    }

    /// Never retried: perhaps only the answer was lost, and nothing may arrive twice.
    fn drop_all<'a>(&self, groups: impl Iterator<Item = &'a GroupName>, error: &ScriptError) {
        let why = error.to_string();
        groups.for_each(|group| self.drops.add(DjangoDrop::Redis, 1, group, &why));
    }
}

impl<'a> MessageBatch<'a> {
    fn is_full_with(&self, message: &[u8]) -> bool {
        let full = self.keys.len() == MAX_MESSAGES || self.bytes + message.len() > MAX_BYTES;
        full && !self.keys.is_empty()
    }

    fn add(&mut self, group: &'a GroupName, mailbox: &Mailbox, message: Bytes) {
        self.bytes += message.len();
        self.keys.push(mailbox.key.clone());
        self.groups.push(group);
        self.messages.push(message);
    }
}

/// Groups members by mailbox: names that are equal up to a `!` share one, each other name is its
/// own.
fn by_mailbox(prefix: &str, names: impl Iterator<Item = String>) -> Vec<Mailbox> {
    let mut mailboxes: Vec<Mailbox> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for name in names {
        let shared = name.find('!').map_or(name.as_str(), |mark| &name[..=mark]);
        let key = [prefix, shared].concat();
        let place = *places.entry(key).or_insert_with_key(|key| {
            mailboxes.push(Mailbox { key: key.clone(), names: Vec::new() });
            mailboxes.len() - 1
        });
        mailboxes[place].names.push(name);
    }
    mailboxes
}

fn random_iv() -> [u8; 16] {
    let mut iv = [0; 16];
    rand::fill(&mut iv).expect("the operating system has random bytes");
    iv
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_members_of_a_process_and_leaves_workers_alone() {
        let names = ["specific.a!1", "tareas", "specific.b!1", "specific.a!2"].map(str::to_owned);
        let mailbox = |key: &str, names: &[&str]| Mailbox {
            key: key.to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert_eq!(
            by_mailbox("asgi", names.into_iter()),
            [
                mailbox("asgispecific.a!", &["specific.a!1", "specific.a!2"]),
                mailbox("asgitareas", &["tareas"]),
                mailbox("asgispecific.b!", &["specific.b!1"]),
            ]
        );
    }
}
