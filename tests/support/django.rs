//! The configuration of Django's channel layer, for the gateway and for Django's side.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{Expected, Python, RedisServer};

/// One layer as both sides configure it, over a Redis of the test.
pub(crate) struct Django {
    url: String,
    /// Of the gateways' layer, if it is another.
    layer_url: Option<String>,
    layer: &'static str,
    /// `CHANNEL_LAYERS["default"]["CONFIG"]`, but for the hosts.
    config: Value,
    /// The same, as the gateway's configuration has it.
    channels: String,
}

impl Django {
    /// `channels_redis.core` at its defaults.
    pub(crate) fn core(server: &RedisServer) -> Self {
        Self::core_at(server.address())
    }

    /// The same, over the Redis that an address leads to.
    pub(crate) fn core_at(address: SocketAddr) -> Self {
        let url = format!("redis://{address}");
        let (layer_url, channels) = (None, String::new());
        Self { url, layer_url, layer: "core", config: json!({}), channels }
    }

    /// `channels_redis.pubsub`.
    pub(crate) fn pubsub(server: &RedisServer) -> Self {
        Self { layer: "pubsub", ..Self::core(server) }
    }

    /// The layer of the gateways is on the Redis at `layer`, apart from Django's.
    pub(crate) fn with_layer_at(mut self, layer: SocketAddr) -> Self {
        self.layer_url = Some(format!("redis://{layer}"));
        self
    }

    /// Set alike on both sides: Django's `config`, and what the gateway calls it.
    pub(crate) fn with(mut self, config: Value, channels: &str) -> Self {
        self.config = config;
        self.channels = channels.to_owned();
        self
    }

    /// The configuration of a gateway that receives; `pedido.*` keep a history.
    pub(crate) fn gateway(&self) -> String {
        self.cluster("groupcast")
    }

    /// The same, of another cluster.
    pub(crate) fn cluster(&self, name: &str) -> String {
        let of_channels = self.layer_url.as_ref().map(|_| format!("url = {:?}\n", self.url));
        format!(
            "[connections]\nping = \"1s\"\n\
             [layer]\nkind = \"redis\"\nurl = \"{}\"\ncluster = \"{name}\"\n\
             [[layer.history]]\npattern = \"pedido.*\"\nsize = 10000\n\
             [channels]\nreceive = [\"{}\"]\n{}{}\n",
            self.layer_url.as_ref().unwrap_or(&self.url),
            self.layer,
            of_channels.unwrap_or_default(),
            self.channels
        )
    }

    /// Has one process send `events` to each of `groups`, as sender `sender`; the summary.
    pub(crate) async fn send(&self, sender: u64, groups: &[&str], events: usize) -> Value {
        let all = events * groups.len();
        let one = json!({"groups": groups, "processes": 1, "events": all, "first_sender": sender});
        Python::send(self.options(one)).await
    }

    /// The options of a script, with `more` of them.
    pub(crate) fn options(&self, more: Value) -> Value {
        let mut options = more;
        options["url"] = self.url.as_str().into();
        options["layer"] = self.layer.into();
        options["config"] = self.config.clone();
        options
    }
}

/// The key of the mailbox in which senders find `group`.
pub(crate) fn mailbox(server: &RedisServer, group: &str) -> String {
    let members = server.ask(&["ZRANGE", &format!("asgi:group:{group}"), "0", "-1"]);
    let ours = members.lines().find(|line| line.starts_with("groupcast."));
    let ours = ours.unwrap_or_else(|| panic!("senders do not find {group}: {members:?}"));
    format!("asgi{}!", ours.split('!').next().unwrap())
}

/// The last numbers of each sender for each group, of summaries.
pub(crate) fn expected_of_all(summaries: &[Value]) -> Expected {
    let mut all = Expected::new();
    for (group, numbers) in summaries.iter().flat_map(expected_of) {
        all.entry(group).or_default().extend(numbers);
    }
    all
}

/// The last numbers of each sender for each group, of a summary.
pub(crate) fn expected_of(summary: &Value) -> Expected {
    let mut expected_of = Expected::new();
    for (sender, groups) in summary["numbers"].as_object().unwrap() {
        for (group, number) in groups.as_object().unwrap() {
            let numbers = expected_of.entry(group.clone()).or_default();
            numbers.insert(sender.parse().unwrap(), number.as_u64().unwrap());
        }
    }
    expected_of
}
