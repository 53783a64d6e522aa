//! The names of channels and keys, all with the cluster's name as prefix.

use crate::event::{InstanceId, Target};
use crate::group::GroupName;
use crate::layer::External;
use crate::layer::envelope::{Found, Origin};

/// The channels and keys of one cluster, as one instance uses them.
#[derive(Debug, Clone)]
pub struct Names {
    group: String,
    external: Option<External>,
    /// How many shares group names are divided into, where senders can find a share full.
    shares: Option<u16>,
    user: String,
    instance: String,
    boundary: String,
    control: String,
    questions: String,
    cluster: String,
}

/// The channel of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Channel {
    /// The channel of a group.
    Group(GroupName),
    /// The channel on which an external program sends to a group.
    External(GroupName),
    /// The channel of publications for users.
    User,
    /// The channel of this instance.
    Instance,
    /// The channel of publications for all connections, and of changes.
    Control,
    /// The channel of questions to all instances.
    Questions,
    /// The first channel of each connection, see [`Names::boundary`].
    Boundary,
}

impl Names {
    pub(super) fn new(
        cluster: &str,
        instance: InstanceId,
        external: Option<External>,
        shares: Option<u16>,
    ) -> Self {
        Self {
            external,
            shares,
            group: format!("{cluster}:group:"),
            user: format!("{cluster}:user"),
            instance: format!("{cluster}:instance:{instance}"),
            boundary: format!("{cluster}:instance:{instance}:connection"),
            control: format!("{cluster}:control"),
            questions: format!("{cluster}:questions"),
            cluster: cluster.to_owned(),
        }
    }

    /// The channels that every instance subscribes to.
    pub(crate) fn fixed(&self) -> [&str; 4] {
        [&self.user, &self.instance, &self.control, &self.questions]
    }

    /// Subscribed first on a new connection. What an instance publishes there to itself arrives
    /// after everything of the previous connection and before everything else of the new one.
    pub(super) fn boundary(&self) -> &str {
        &self.boundary
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

    pub(super) fn questions(&self) -> &str {
        &self.questions
    }

    /// The channels that carry what is sent to `group`.
    pub(super) fn subscribed_for(&self, group: &GroupName) -> impl Iterator<Item = String> {
        let external = self.external.as_ref().filter(|external| external.wants(group));
        let external = external.map(|external| [&external.prefix, group.as_str()].concat());
        std::iter::once(self.of_group(group)).chain(external)
    }

    /// The channel of publications for `target`.
    pub(crate) fn of(&self, target: &Target) -> String {
        match target {
            Target::Group(group) => self.of_group(group),
            Target::User(_) => self.user.clone(),
            Target::Connection(id) => self.of_instance(id.instance),
            Target::All => self.control.clone(),
        }
    }

    /// The channel of one instance.
    pub(super) fn of_instance(&self, instance: InstanceId) -> String {
        format!("{}:instance:{instance}", self.cluster)
    }

    /// Appends [`Names::of`] to `out`.
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

    /// A message that was found at `origin`, and the channel that it was written for.
    pub(super) fn found<'a>(&'a self, origin: Origin<'a>) -> Found<'a> {
        let channel = match origin {
            Origin::Group(group) => [&self.group, group.as_str()],
            Origin::User => [&self.user, ""],
            Origin::Instance => [&self.instance, ""],
            Origin::Questions => [&self.questions, ""],
            Origin::Control | Origin::Commands => [&self.control, ""],
        };
        Found { origin, channel }
    }

    /// The purpose of `channel`; `None` = not a channel of this cluster.
    pub(super) fn read(&self, channel: &str) -> Option<Channel> {
        if let Some(name) = channel.strip_prefix(&self.group) {
            return GroupName::parse(name).ok().map(Channel::Group);
        }
        if let Some(external) = &self.external
            && let Some(name) = channel.strip_prefix(&external.prefix)
        {
            return GroupName::parse(name).ok().map(Channel::External);
        }
        let fixed = [
            (&self.user, Channel::User),
            (&self.instance, Channel::Instance),
            (&self.control, Channel::Control),
            (&self.questions, Channel::Questions),
            (&self.boundary, Channel::Boundary),
        ];
        fixed.into_iter().find(|(name, _)| *name == channel).map(|(_, known)| known)
    }

    /// A hash: the run id of the Redis server, and how often that or its data has changed.
    pub(crate) fn generation(&self) -> String {
        self.key("gen")
    }

    /// The prefix of every key and channel.
    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// A stream that any program may append to.
    pub(crate) fn ingress(&self) -> String {
        self.key("ingress")
    }

    /// A stream: the newest commands of back ends.
    pub(crate) fn commands(&self) -> String {
        self.key("commands")
    }

    /// A sorted set: the instances that deliver.
    pub(crate) fn instances(&self) -> String {
        self.key("instances")
    }

    /// A sorted set: the id and the API's address of each instance that delivers.
    pub(crate) fn addresses(&self) -> String {
        self.key("addresses")
    }

    /// A sorted set: the term in which each instance enters groups.
    pub(crate) fn terms(&self) -> String {
        self.key("terms")
    }

    /// A stream: the entries of sources that were set aside, with the reason.
    pub(crate) fn poison(&self) -> String {
        self.key("poison")
    }

    /// A hash: which instance handles which entries of each source.
    pub(crate) fn under_way(&self) -> String {
        self.key("underway")
    }

    /// A sorted set: what was drained lately of a source on another server.
    pub(crate) fn drained(&self, source: &str) -> String {
        self.key(&format!("drained:{source}"))
    }

    /// A sorted set: the instances that read signed envelopes, by the second of their heartbeat.
    pub(crate) fn signature_readers(&self) -> String {
        self.key("signatures")
    }

    /// A sorted set: the channels of groups for which publications wait, until when at most.
    pub(crate) fn parking(&self) -> String {
        self.key("parking")
    }

    /// The beginning of the channel of each instance, before its id.
    pub(crate) fn instance_stem(&self) -> String {
        self.key("instance:")
    }

    /// A hash: epoch and newest offset of a group with history.
    pub(crate) fn numbering(&self, group: &GroupName) -> String {
        self.group_key("numbering", group)
    }

    /// The field of [`Names::generation`] that counts how often the share of `group` was found
    /// full; empty = no share can be.
    pub(crate) fn overflow_field(&self, group: &GroupName) -> String {
        self.shares.map_or(String::new(), |shares| overflow_field(group.share(shares)))
    }

    /// A stream: the newest publications of a group with history.
    pub(crate) fn log(&self, group: &GroupName) -> String {
        self.group_key("log", group)
    }

    /// A list: publications that wait until an instance listens to the group again.
    pub(crate) fn parked(&self, group: &GroupName) -> String {
        self.group_key("waiting", group)
    }

    /// A string with a longer time to live than [`Names::parked`]: publications wait there, or did
    /// until they expired.
    pub(crate) fn parked_mark(&self, group: &GroupName) -> String {
        self.group_key("waited", group)
    }

    /// A sorted set: the instances that listen to the group, each with the term in which it has
    /// entered.
    pub(crate) fn listeners(&self, group: &GroupName) -> String {
        self.group_key("listeners", group)
    }

    /// A string with a time to live: an instance holds the group, or did recently.
    pub(crate) fn held(&self, group: &GroupName) -> String {
        self.group_key("held", group)
    }

    /// A hash: the marks of what was published under keys of this scope.
    pub(super) fn once_marks(&self, scope: &str) -> String {
        self.key(&format!("once:marks:{scope}"))
    }

    /// A list: the marks of this scope in the order in which they expire.
    pub(super) fn once_order(&self, scope: &str) -> String {
        self.key(&format!("once:order:{scope}"))
    }

    /// A hash of one field: a value that instances share for a while.
    pub(super) fn cached(&self, name: &str) -> String {
        self.key(&format!("note:{name}"))
    }

    /// The braces are a hash tag: in a Redis Cluster all keys of a group are on one node.
    fn group_key(&self, kind: &str, group: &GroupName) -> String {
        self.key(&format!("{kind}:{{{group}}}"))
    }

    /// A key of the cluster as a whole.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.cluster)
    }
}

/// The field that counts how often this share of the groups was found full. Stored under its
/// original name.
pub fn overflow_field(share: u16) -> String {
    format!("doubt{share}")
}
