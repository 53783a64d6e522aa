//! The names of channels and keys, all behind the cluster's name.

use crate::event::{InstanceId, Target};
use crate::group::GroupName;
use crate::layer::External;

/// The names that one instance uses.
#[derive(Debug, Clone)]
pub struct Names {
    group: String,
    /// The beginning of the channels, and the patterns of the groups, that are subscribed as well.
    foreign: Option<External>,
    /// How many mailboxes groups share, if senders may be turned away from them.
    boxes: Option<u16>,
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
    /// What a foreign program calls a group.
    External(GroupName),
    /// One of those that carry envelopes alone.
    Other,
}

impl Names {
    pub(super) fn new(
        cluster: &str,
        instance: InstanceId,
        foreign: Option<External>,
        boxes: Option<u16>,
    ) -> Self {
        Self {
            foreign,
            boxes,
            group: format!("{cluster}:group:"),
            user: format!("{cluster}:user"),
            instance: format!("{cluster}:instance:{instance}"),
            control: format!("{cluster}:control"),
            cluster: cluster.to_owned(),
        }
    }

    /// What every instance subscribes to whatever groups it holds.
    pub(crate) fn own(&self) -> [&str; 3] {
        [&self.user, &self.instance, &self.control]
    }

    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    pub(crate) fn control(&self) -> &str {
        &self.control
    }

    pub(crate) fn of_group(&self, group: &GroupName) -> String {
        [&self.group, group.as_str()].concat()
    }

    /// What is subscribed for whoever holds `group`.
    pub(super) fn heard_by(&self, group: &GroupName) -> impl Iterator<Item = String> {
        let wanted = |foreign: &&External| foreign.groups.iter().any(|p| p.matches(group.as_str()));
        let foreign = self.foreign.as_ref().filter(wanted);
        let foreign = foreign.map(|foreign| [&foreign.prefix, group.as_str()].concat());
        std::iter::once(self.of_group(group)).chain(foreign)
    }

    /// Where a publication for `target` goes.
    pub(crate) fn of(&self, target: &Target) -> String {
        match target {
            Target::Group(group) => self.of_group(group),
            Target::User(_) => self.user.clone(),
            Target::Connection(id) => format!("{}:instance:{}", self.cluster, id.instance),
            Target::All => self.control.clone(),
        }
    }

    /// The same, behind what `out` holds.
    pub(super) fn write(&self, target: &Target, out: &mut Vec<u8>) {
        match target {
            Target::Group(group) => {
                out.extend_from_slice(self.group.as_bytes());
                out.extend_from_slice(group.as_str().as_bytes());
            }
            Target::User(_) | Target::Connection(_) | Target::All => {
                out.extend_from_slice(self.of(target).as_bytes());
            }
        }
    }

    /// What `channel` is for; `None` = nothing that this cluster knows.
    pub(super) fn read(&self, channel: &str) -> Option<Channel> {
        if let Some(name) = channel.strip_prefix(&self.group) {
            return GroupName::parse(name).ok().map(Channel::Group);
        }
        if let Some(foreign) = &self.foreign
            && let Some(name) = channel.strip_prefix(&foreign.prefix)
        {
            return GroupName::parse(name).ok().map(Channel::External);
        }
        self.own().contains(&channel).then_some(Channel::Other)
    }

    /// A hash: the run id of the Redis known, and how often that has changed.
    pub(crate) fn generation(&self) -> String {
        self.key("gen")
    }

    /// What stands before every key and channel.
    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// A stream into which any program may write.
    pub(crate) fn ingress(&self) -> String {
        self.key("ingress")
    }

    /// A sorted set: the instances that deliver.
    pub(crate) fn instances(&self) -> String {
        self.key("instances")
    }

    /// A hash: epoch and newest offset of a group with history.
    pub(crate) fn numbering(&self, group: &GroupName) -> String {
        self.of_its_own("numbering", group)
    }

    /// The field of the generation that counts how often senders of `group` may have been turned away;
    /// empty = there are none.
    pub(crate) fn doubt(&self, group: &GroupName) -> String {
        self.boxes.map_or(String::new(), |boxes| doubt_of(group.share(boxes)))
    }

    /// A stream: what is kept of a group with history.
    pub(crate) fn log(&self, group: &GroupName) -> String {
        self.of_its_own("log", group)
    }

    /// A list: what waits for somebody to listen to a group again.
    pub(crate) fn waiting(&self, group: &GroupName) -> String {
        self.of_its_own("waiting", group)
    }

    /// A string with a time to live: somebody holds the group, or did a moment ago.
    pub(crate) fn held(&self, group: &GroupName) -> String {
        self.of_its_own("held", group)
    }

    /// What an instance leaves for the others under `name`.
    pub(super) fn note(&self, name: &str) -> String {
        self.key(&format!("note:{name}"))
    }

    /// The braces put what is a group's own on one node of a Redis Cluster, should that be supported
    /// one day.
    fn of_its_own(&self, kind: &str, group: &GroupName) -> String {
        self.key(&format!("{kind}:{{{group}}}"))
    }

    /// A key of the cluster as a whole.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.cluster)
    }
}

/// The field of the generation that counts how often senders may have been turned away from a mailbox.
pub fn doubt_of(mailbox: u16) -> String {
    format!("doubt{mailbox}")
}
