//! Writes events for Django's consumers as channels_redis does, in the order in which they were offered.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand;
use bytes::Bytes;

use super::Channels;
use super::codec::Channel;
use super::consumers::{DropCounter, ForwardJob, ForwardQueue};
use super::source::EntryDecoder;
use crate::event::Event;
use crate::group::GroupName;
use crate::layer::{RedisHandle, Reply, Script, ScriptError};
use crate::telemetry::DjangoDrop;

/// Events that share the questions to Redis.
const TOGETHER: usize = 64;

/// Messages in one script: about 1 ms in which Redis does nothing else.
const MAX_MESSAGES: usize = 256;

/// Bytes in one script, as far as messages are smaller than that.
const MAX_BYTES: usize = 256 * 1024;

/// The task behind [`super::Consumers`].
pub(super) struct Forwarder {
    pub(super) link: RedisHandle,
    pub(super) reading: Arc<EntryDecoder>,
    pub(super) channels: Channels,
    pub(super) losses: Arc<DropCounter>,
}

/// What is known between two jobs.
struct ForwardState {
    members: Script,
    write: Script,
    announce: Script,
    /// Microseconds of the last score written.
    last: String,
}

/// The consumers of one process, or a worker's channel.
#[derive(Debug, PartialEq)]
struct Mailbox {
    key: String,
    names: Vec<String>,
}

/// Messages of one script.
#[derive(Default)]
struct Load<'a> {
    keys: Vec<String>,
    messages: Vec<Bytes>,
    groups: Vec<&'a GroupName>,
    bytes: usize,
}

type GroupEvent = (GroupName, Event);

impl Forwarder {
    /// Works for as long as events may be offered.
    pub(super) async fn run(self, mut jobs: ForwardQueue) {
        let mut desk = ForwardState {
            members: Script::new(&[include_str!("scripts/members.lua")]),
            write: Script::new(&[include_str!("scripts/to_django.lua")]),
            announce: Script::new(&[include_str!("scripts/announce.lua")]),
            last: "0".to_owned(),
        };
        loop {
            let batch = jobs.take(TOGETHER).await;
            if batch.is_empty() {
                return;
            }
            let (mut said, mut told) = (Vec::new(), Vec::new());
            for job in batch {
                match job {
                    ForwardJob::Send(group, event) => said.push((group, event)),
                    ForwardJob::Tell(tell) => told.push(tell),
                }
            }
            if self.channels.core {
                self.to_mailboxes(&said, &mut desk).await;
            } else {
                self.to_subscribers(&said, &desk).await;
            }
            for tell in told {
                // Whoever asked may have lost patience.
                let _ = tell.send(());
            }
        }
    }

    /// As `group_send` of the core layer: one message for each mailbox of a group's members.
    async fn to_mailboxes(&self, said: &[GroupEvent], desk: &mut ForwardState) {
        let members = match self.members(said, desk).await {
            Ok(members) => members,
            Err(error) => return self.lose(said.iter().map(|(group, _)| group), &error),
        };
        let mut load = Load::default();
        for (group, event) in said {
            let mailboxes = match members.get(group) {
                Some(Ok(mailboxes)) => mailboxes.as_slice(),
                Some(Err(why)) => {
                    self.losses.note(DjangoDrop::Redis, 1, group, why);
                    continue;
                }
                None => &[],
            };
            for mailbox in mailboxes {
                let message = self.message(event, mailbox);
                if load.is_full_with(&message) {
                    self.write(std::mem::take(&mut load), desk).await;
                }
                load.add(group, mailbox, message);
            }
        }
        self.write(load, desk).await;
    }

    /// The mailboxes of each group that is spoken to.
    async fn members<'a>(
        &self,
        said: &'a [GroupEvent],
        desk: &ForwardState,
    ) -> Result<HashMap<&'a GroupName, Result<Vec<Mailbox>, String>>, ScriptError> {
        let mailboxes = &self.reading.mailboxes;
        let mut groups: Vec<_> = said.iter().map(|(group, _)| group).collect();
        groups.sort_unstable();
        groups.dedup();
        if groups.is_empty() {
            return Ok(HashMap::new());
        }
        let keys = groups.iter().map(|group| mailboxes.group_key(group)).collect();
        let forgotten = self.channels.group_expiry.as_secs().to_string();
        let arguments = vec![forgotten.into(), mailboxes.word().to_owned().into()];
        let answer: Vec<Reply> = self.link.run(&desk.members, keys, arguments).await?;
        let read = |answer| match answer {
            Reply::List(names) => {
                // A name that is not UTF-8 makes every sender of the library fail.
                let names = names.iter().filter_map(|name| name.as_str().map(str::to_owned));
                Ok(by_mailbox(&self.channels.prefix, names))
            }
            why => Err(why.convert().unwrap_or_default()),
        };
        Ok(groups.into_iter().zip(answer.into_iter().map(read)).collect())
    }

    /// The event as members of `mailbox` receive it.
    fn message(&self, event: &Event, mailbox: &Mailbox) -> Bytes {
        let mut prefix = vec![0; self.channels.codec.random_prefix];
        rand::fill(&mut prefix).expect("the operating system has random bytes");
        let names = Channel::Many(&mailbox.names);
        self.reading.codec.write(event, names, &prefix, random_iv(), now()).into()
    }

    async fn write(&self, load: Load<'_>, desk: &mut ForwardState) {
        if load.keys.is_empty() {
            return;
        }
        let mut arguments = vec![
            Bytes::from(self.channels.send_capacity.to_string()),
            Bytes::from(self.channels.codec.expiry.as_secs().to_string()),
            Bytes::from(desk.last.clone()),
        ];
        arguments.extend(load.messages);
        let answer = self.link.run::<Vec<String>>(&desk.write, load.keys, arguments).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.lose(load.groups.into_iter(), &error),
        };
        let [letters, last, cause] = answer.as_slice() else {
            let strange = format!("writing was answered with {} values; 3 are known", answer.len());
            return self.lose(load.groups.into_iter(), &ScriptError::Refused(strange));
        };
        desk.last.clone_from(last);
        self.losses.sent(letters.bytes().filter(|letter| *letter == b's').count() as u64);
        for (group, letter) in load.groups.into_iter().zip(letters.bytes()) {
            match letter {
                b's' => {}
                b'f' => {
                    let why = "a consumers' mailbox is full; its process is slow or gone";
                    self.losses.note(DjangoDrop::Capacity, 1, group, why);
                }
                _ => self.losses.note(DjangoDrop::Redis, 1, group, cause),
            }
        }
    }

    /// As `group_send` of the pub/sub layer: one message on the group's channel.
    async fn to_subscribers(&self, said: &[GroupEvent], desk: &ForwardState) {
        let mut arguments = Vec::with_capacity(said.len() * 4);
        for (group, event) in said {
            let payload = Bytes::from(self.reading.codec.write_bare(event, random_iv(), now()));
            arguments.push(self.link.names().of_group(group).into());
            arguments.push(RedisHandle::announcement(&payload));
            arguments.push(self.reading.mailboxes.subscribed(group).into());
            arguments.push(payload);
        }
        match self.link.run::<u64>(&desk.announce, Vec::new(), arguments).await {
            Ok(count) => self.losses.sent(count),
            Err(error) => self.lose(said.iter().map(|(group, _)| group), &error),
        }
    }

    /// Not sent, or perhaps: an answer may be all that was lost, and nothing is to arrive twice.
    fn lose<'a>(&self, groups: impl Iterator<Item = &'a GroupName>, error: &ScriptError) {
        let why = error.to_string();
        groups.for_each(|group| self.losses.note(DjangoDrop::Redis, 1, group, &why));
    }
}

impl<'a> Load<'a> {
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

/// Members that share a mailbox, together: names with `!` up to it, each other name alone.
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

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_one_process_share_a_message_and_a_worker_has_its_own() {
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
