//! The sources that are drained.

use std::collections::HashMap;

use crate::channels::MailboxNames;

/// One source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DurableSource {
    /// A mailbox of channels_redis for groups.
    GroupMailbox(u16),
    /// A mailbox of channels_redis for connections.
    ConnectionMailbox,
    /// The stream that any program may write to.
    Ingress,
}

/// The type of a source's key, under the name that scripts use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyType {
    /// A sorted set: entries with scores.
    Set,
    /// A stream: ids with fields.
    Stream,
}

/// All sources by their keys in Redis; the same in every instance of a cluster.
#[derive(Debug)]
pub(super) struct SourceList {
    list: Vec<(DurableSource, String)>,
    by_key: HashMap<String, usize>,
}

impl DurableSource {
    pub(super) fn key_type(self) -> KeyType {
        match self {
            Self::GroupMailbox(_) | Self::ConnectionMailbox => KeyType::Set,
            Self::Ingress => KeyType::Stream,
        }
    }
}

impl KeyType {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Stream => "stream",
        }
    }
}

impl SourceList {
    pub(super) fn new(mailboxes: Option<&MailboxNames>, ingress: Option<String>) -> Self {
        let mut list = Vec::new();
        if let Some(mailboxes) = mailboxes {
            for number in 0..mailboxes.count() {
                list.push((DurableSource::GroupMailbox(number), mailboxes.of_groups(number)));
                list.push((DurableSource::ConnectionMailbox, mailboxes.of_connections(number)));
            }
        }
        list.extend(ingress.map(|key| (DurableSource::Ingress, key)));
        let by_key = list.iter().enumerate().map(|(index, (_, key))| (key.clone(), index));
        Self { by_key: by_key.collect(), list }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn at(&self, index: usize) -> (DurableSource, &str) {
        (self.list[index].0, &self.list[index].1)
    }

    pub(super) fn find(&self, key: &str) -> Option<usize> {
        self.by_key.get(key).copied()
    }
}
