//! Django's `channel_layer.group_send`, as channels_redis 4.3.0 writes it to Redis, byte for byte.
//!
//! The library waits for each answer: clean the group, read its members, clean their mailboxes (one
//! transaction, pipelined), write to them by a script whose text goes along each time. So four
//! round trips a send; `async_to_sync`, which Celery tasks and views use, opens a connection for
//! each call on top, which costs three more. `recorded/group_send.json` has what the library wrote
//! and is where the script's text comes from; `tests` compares this with it, and
//! `recorded/record.py --check` the library.

use std::io;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use groupcast::channels::codec::{Codec, CodecSettings, MessageChannels, Serializer};
use groupcast::event::Event;
use serde::Deserialize;

use super::resp::{Connection, command};

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

/// The outcome of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Mailboxes it was for.
    pub mailboxes: usize,
    /// Those of them that were full, and did not take it. The library logs it, its caller does not
    /// learn of it.
    pub full: usize,
}

/// A process with a channel layer.
pub struct ChannelLayer {
    settings: Settings,
    codec: Codec,
    address: SocketAddr,
    connection: Connection,
    /// Fills the bytes before a message, which the library takes at random.
    pub(super) prefixes: Prefixes,
}

type Prefixes = Box<dyn FnMut(&mut [u8]) + Send>;

impl ChannelLayer {
    /// Connects as redis-py 8 does. Layers of different seeds write no message alike.
    pub fn connect(address: SocketAddr, settings: Settings, seed: u64) -> io::Result<Self> {
        let mut count = seed << 40;
        let prefixes = Box::new(move |prefix: &mut [u8]| {
            count += 1;
            prefix.iter_mut().zip(count.to_be_bytes()).for_each(|(to, byte)| *to = byte);
        });
        let codec = Codec::new(&CodecSettings {
            serializer: Serializer::MsgPack,
            keys: Vec::new(),
            random_prefix: settings.random_prefix_length,
            expiry: Duration::from_secs(settings.expiry),
        });
        Ok(Self { settings, codec, address, connection: open(address)?, prefixes })
    }

    /// Reconnects, as every call through `async_to_sync` does: its event loop is a new one.
    pub fn reconnect(&mut self) -> io::Result<()> {
        self.connection = open(self.address)?;
        Ok(())
    }

    /// Sends `message`, a JSON object, to `group` at `now`, seconds since 1970. The library reads
    /// the clock several times; here one reading serves a call.
    pub fn group_send(&mut self, group: &str, message: String, now: f64) -> io::Result<Sent> {
        let Settings { prefix, capacity, expiry, group_expiry, .. } = &self.settings;
        let key = format!("{prefix}:group:{group}");
        let older = |age: u64| (now as u64).saturating_sub(age).to_string();
        let (stale_members, stale_messages) = (older(*group_expiry), older(*expiry));
        let stale = stale_members.as_bytes();
        self.connection.ask(&[b"ZREMRANGEBYSCORE", key.as_bytes(), b"0", stale])?;
        let members = self.connection.ask(&[b"ZRANGE", key.as_bytes(), b"0", b"-1"])?;
        let mailboxes = by_mailbox(members.texts()?);
        if mailboxes.is_empty() {
            return Ok(Sent { mailboxes: 0, full: 0 });
        }
        let keys: Vec<_> = mailboxes.iter().map(|(name, _)| format!("{prefix}{name}")).collect();
        let (capacity, expiry) = (capacity.to_string(), expiry.to_string());
        self.clean_mailboxes(&keys, stale_messages.as_bytes())?;

        // Python's text of a float: the shortest that reads back the same, always with a point.
        let (count, time) = (keys.len().to_string(), format!("{now:?}"));
        let event = Event::parse(Bytes::from(message)).map_err(io::Error::other)?;
        let pack = |(_, receivers): &(String, Vec<String>)| {
            let mut prefix = vec![0; self.settings.random_prefix_length];
            (self.prefixes)(&mut prefix);
            self.codec.write(&event, MessageChannels::Many(receivers), &prefix, [0; 16], now as u64)
        };
        let entries: Vec<_> = mailboxes.iter().map(pack).collect();
        let mut words: Vec<&[u8]> = vec![b"EVAL", script().as_bytes(), count.as_bytes()];
        words.extend(keys.iter().map(String::as_bytes));
        words.extend(entries.iter().map(Vec::as_slice));
        words.extend(keys.iter().map(|_| capacity.as_bytes()));
        words.extend([time.as_bytes(), expiry.as_bytes()]);
        let full = self.connection.ask(&words)?.integer()?;
        Ok(Sent { mailboxes: keys.len(), full: full as usize })
    }

    fn clean_mailboxes(&mut self, keys: &[String], stale: &[u8]) -> io::Result<()> {
        let mut transaction = Vec::new();
        command(&mut transaction, &[b"MULTI"]);
        for key in keys {
            command(&mut transaction, &[b"ZREMRANGEBYSCORE", key.as_bytes(), b"0", stale]);
        }
        command(&mut transaction, &[b"EXEC"]);
        self.connection.write(&transaction)?;
        (0..keys.len() + 2).try_for_each(|_| self.connection.read_accepted().map(drop))
    }
}

/// Opens a connection with what redis-py 8 sends first. Servers that do not know the last three
/// refuse them, which the library ignores.
fn open(address: SocketAddr) -> io::Result<Connection> {
    let mut connection = Connection::open(address)?;
    connection.ask(&[b"HELLO", b"3"])?;
    let (mut commands, maint): (_, &[u8]) = (Vec::new(), b"MAINT_NOTIFICATIONS");
    let ip = b"internal-ip";
    command(&mut commands, &[b"CLIENT", maint, b"ON", b"moving-endpoint-type", ip]);
    connection.write(&commands)?;
    connection.read()?;
    commands.clear();
    command(&mut commands, &[b"CLIENT", b"SETINFO", b"LIB-NAME", b"redis-py"]);
    command(&mut commands, &[b"CLIENT", b"SETINFO", b"LIB-VER", b"8.1.0"]);
    connection.write(&commands)?;
    connection.read()?;
    connection.read()?;
    Ok(connection)
}

/// Members by the mailbox they share, in the order in which they came.
fn by_mailbox(members: Vec<String>) -> Vec<(String, Vec<String>)> {
    let mut mailboxes: Vec<(String, Vec<String>)> = Vec::new();
    for member in members {
        let name = member.find('!').map_or(member.as_str(), |at| &member[..=at]);
        match mailboxes.iter_mut().find(|(known, _)| known == name) {
            Some((_, receivers)) => receivers.push(member),
            None => mailboxes.push((name.to_owned(), vec![member])),
        }
    }
    mailboxes
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
