//! The names of channels and keys, all behind the cluster's name.

use crate::event::{InstanceId, Target};
use crate::group::GroupName;

/// The names that one instance uses.
#[derive(Debug, Clone)]
pub(super) struct Channels {
    group: String,
    user: String,
    instance: String,
    control: String,
    cluster: String,
}

/// What a message came by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Channel {
    /// A group's own.
    Group(GroupName),
    /// One of those that carry envelopes alone.
    Other,
}

impl Channels {
    pub(super) fn new(cluster: &str, instance: InstanceId) -> Self {
        Self {
            group: format!("{cluster}:group:"),
            user: format!("{cluster}:user"),
            instance: format!("{cluster}:instance:{instance}"),
            control: format!("{cluster}:control"),
            cluster: cluster.to_owned(),
        }
    }

    /// What every instance subscribes to whatever groups it holds.
    pub(super) fn own(&self) -> [&str; 3] {
        [&self.user, &self.instance, &self.control]
    }

    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    pub(super) fn control(&self) -> &str {
        &self.control
    }

    pub(super) fn of_group(&self, group: &GroupName) -> String {
        [&self.group, group.as_str()].concat()
    }

    /// Where a publication for `target` goes.
    pub(super) fn of(&self, target: &Target) -> String {
        match target {
            Target::Group(group) => self.of_group(group),
            Target::User(_) => self.user.clone(),
            Target::Connection(id) => format!("{}:instance:{}", self.cluster, id.instance),
            Target::All => self.control.clone(),
        }
    }

    /// What `channel` is for; `None` = nothing that this cluster knows.
    pub(super) fn read(&self, channel: &str) -> Option<Channel> {
        if let Some(name) = channel.strip_prefix(&self.group) {
            return GroupName::parse(name).ok().map(Channel::Group);
        }
        self.own().contains(&channel).then_some(Channel::Other)
    }

    /// A key of the cluster as a whole.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.cluster)
    }
}
