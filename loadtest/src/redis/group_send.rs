//! Django's `channel_layer.group_send`, as channels_redis 4.3.0 says it to Redis, byte for byte.
//!
//! The library waits for each answer: clean the group, read its members, clean their mailboxes (one
//! transaction, pipelined), write to them by a script whose text goes along each time. So four round
//! trips a send; `async_to_sync`, which Celery tasks and views use, opens a connection for each call on
//! top, which costs three more. `recorded/group_send.json` has what the library wrote and is where the
//! script's text comes from; `tests` holds this to it, `recorded/record.py --check` the library.

use std::io;
use std::net::SocketAddr;
use std::sync::OnceLock;

use serde::Deserialize;

use super::msgpack;
pub use super::msgpack::Message;
use super::resp::{Connection, Reply, command};

/// Member of a message that names its receivers.
const RECEIVERS: &str = "__asgi_channel__";

/// What the library wrote, recorded.
pub(super) const RECORDING: &str = include_str!("../../recorded/group_send.json");

/// `CONFIG` of Django's `CHANNEL_LAYERS`, at the library's defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Begins every key.
    pub prefix: String,
    /// Most messages in a mailbox.
    pub capacity: u32,
    /// Seconds after which a message is old.
    pub expiry: u64,
    /// Seconds after which a membership is old.
    pub group_expiry: u64,
    /// Random bytes before each message, which make it unlike all others.
    pub random_prefix_length: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefix: "asgi".to_owned(),
            capacity: 100,
            expiry: 60,
            group_expiry: 86_400,
            random_prefix_length: 12,
        }
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Mailboxes it was for.
    pub mailboxes: usize,
    /// Those of them that were full, and did not take it. The library logs it and tells the caller nothing.
    pub full: usize,
}

/// A process with a channel layer.
pub struct ChannelLayer {
    settings: Settings,
    address: SocketAddr,
    connection: Connection,
    random: Random,
}

/// Fills prefixes.
type Random = Box<dyn FnMut(&mut [u8]) + Send>;

impl ChannelLayer {
    /// Connects as redis-py 8 does. `random` fills prefixes.
    pub fn connect(
        address: SocketAddr,
        settings: Settings,
        random: impl FnMut(&mut [u8]) + Send + 'static,
    ) -> io::Result<Self> {
        Ok(Self { settings, address, connection: open(address)?, random: Box::new(random) })
    }

    /// Connects anew, as every call through `async_to_sync` does: its event loop is a new one.
    pub fn reconnect(&mut self) -> io::Result<()> {
        self.connection = open(self.address)?;
        Ok(())
    }

    /// Sends `message` to `group` at `now`, seconds since 1970. The library looks at the clock several
    /// times; here one look serves a call.
    pub fn group_send(&mut self, group: &str, message: &Message, now: f64) -> io::Result<Sent> {
        let Settings { prefix, capacity, expiry, group_expiry, .. } = &self.settings;
        let key = format!("{prefix}:group:{group}");
        let older = |age: u64| (now as u64).saturating_sub(age).to_string();
        let (stale_members, stale_messages) = (older(*group_expiry), older(*expiry));
        self.connection.ask(&[
            b"ZREMRANGEBYSCORE",
            key.as_bytes(),
            b"0",
            stale_members.as_bytes(),
        ])?;
        let members = self.connection.ask(&[b"ZRANGE", key.as_bytes(), b"0", b"-1"])?;
        let members = names(members)?;
        let mailboxes = by_mailbox(&members);
        if mailboxes.is_empty() {
            return Ok(Sent { mailboxes: 0, full: 0 });
        }
        let keys: Vec<_> = mailboxes.iter().map(|(name, _)| format!("{prefix}{name}")).collect();

        let mut transaction = Vec::new();
        command(&mut transaction, &[b"MULTI"]);
        for key in &keys {
            let stale = stale_messages.as_bytes();
            command(&mut transaction, &[b"ZREMRANGEBYSCORE", key.as_bytes(), b"0", stale]);
        }
        command(&mut transaction, &[b"EXEC"]);
        self.connection.write(&transaction)?;
        for _ in 0..keys.len() + 2 {
            self.connection.read_taken()?;
        }

        let (capacity, expiry) = (capacity.to_string(), expiry.to_string());
        // Python's text of a float: the shortest that reads back the same, always with a point.
        let (count, now) = (keys.len().to_string(), format!("{now:?}"));
        let pack = |(_, receivers): &(&str, Vec<&str>)| {
            let mut entry = vec![0; self.settings.random_prefix_length];
            (self.random)(&mut entry);
            entry.extend(msgpack::pack(message, (RECEIVERS, receivers)));
            entry
        };
        let entries: Vec<_> = mailboxes.iter().map(pack).collect();
        let mut words: Vec<&[u8]> = vec![b"EVAL", script().as_bytes(), count.as_bytes()];
        words.extend(keys.iter().map(String::as_bytes));
        words.extend(entries.iter().map(Vec::as_slice));
        words.extend(keys.iter().map(|_| capacity.as_bytes()));
        words.extend([now.as_bytes(), expiry.as_bytes()]);
        match self.connection.ask(&words)? {
            Reply::Integer(full) => Ok(Sent { mailboxes: keys.len(), full: full as usize }),
            other => Err(unexpected(&other)),
        }
    }
}

/// Opens a connection with what redis-py 8 says first. Servers that do not know the last three refuse
/// them, which the library ignores.
fn open(address: SocketAddr) -> io::Result<Connection> {
    let mut connection = Connection::open(address)?;
    connection.ask(&[b"HELLO", b"3"])?;
    let mut said = Vec::new();
    let ip: &[u8] = b"internal-ip";
    command(&mut said, &[b"CLIENT", b"MAINT_NOTIFICATIONS", b"ON", b"moving-endpoint-type", ip]);
    connection.write(&said)?;
    connection.read()?;
    said.clear();
    command(&mut said, &[b"CLIENT", b"SETINFO", b"LIB-NAME", b"redis-py"]);
    command(&mut said, &[b"CLIENT", b"SETINFO", b"LIB-VER", b"8.1.0"]);
    connection.write(&said)?;
    connection.read()?;
    connection.read()?;
    Ok(connection)
}

/// Members by the mailbox they share, in the order in which they came.
fn by_mailbox(members: &[String]) -> Vec<(&str, Vec<&str>)> {
    let mut mailboxes: Vec<(&str, Vec<&str>)> = Vec::new();
    for member in members {
        let name = member.find('!').map_or(member.as_str(), |at| &member[..=at]);
        match mailboxes.iter_mut().find(|(known, _)| *known == name) {
            Some((_, receivers)) => receivers.push(member),
            None => mailboxes.push((name, vec![member])),
        }
    }
    mailboxes
}

fn names(reply: Reply) -> io::Result<Vec<String>> {
    let Reply::Array(items) = reply else { return Err(unexpected(&reply)) };
    let name = |item| match item {
        Reply::Bulk(bytes) => String::from_utf8(bytes).map_err(io::Error::other),
        other => Err(unexpected(&other)),
    };
    items.into_iter().map(name).collect()
}

/// The text of the script, from the recording.
fn script() -> &'static str {
    #[derive(Deserialize)]
    struct Recording {
        script: String,
    }
    static SCRIPT: OnceLock<String> = OnceLock::new();
    SCRIPT.get_or_init(|| {
        let recording: Recording = serde_json::from_str(RECORDING).expect("the recording is JSON");
        recording.script
    })
}

fn unexpected(reply: &Reply) -> io::Error {
    io::Error::other(format!("Redis answers with {reply:?}"))
}
