//! Appends commands to the stream and reads them there.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use bytes::Bytes;
use parking_lot::Mutex;

use super::recent::{Recent, RecentCommands};
use crate::event::{Control, Stamp};
use crate::layer::LayerError;
use crate::layer::envelope::{CommandMark, Decoded, EnvelopeCodec, Message, Origin};
use crate::layer::redis::connect::Commands;
use crate::layer::redis::names::Names;
use crate::layer::redis::redis_health::RedisHealth;
use crate::layer::redis::script::{NUMBERING, Script, ScriptError, millis, number};

/// Most commands in the stream; further ones are refused. About 100 a second for [`MAX_AGE`], which
/// take some 10 MB in Redis.
const MAX_COMMANDS: u64 = 65_536;

/// How long a command is kept: an instance that is away for longer closes its connections when it
/// is back.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Commands read at once.
const CHUNK: u64 = 256;

/// The stream of one cluster.
pub(in crate::layer::redis) struct CommandStream {
    names: Arc<Names>,
    codec: Arc<EnvelopeCodec>,
    commands: Commands,
    redis_health: Arc<RedisHealth>,
    pub(super) recent: Mutex<RecentCommands>,
    append: Script,
    read: Script,
}

/// Commands as they stand in the stream.
pub(super) struct CommandChunk {
    /// Whether some from [`CommandChunk::from`] on are no longer kept.
    pub(super) missed: bool,
    /// The number of the first that was to be read.
    pub(super) from: u64,
    /// The place of the newest command of all.
    pub(super) newest: Stamp,
    pub(super) entries: Vec<StoredCommand>,
    /// Whether there are none after these.
    pub(super) is_last: bool,
}

pub(super) struct StoredCommand {
    pub(super) place: Stamp,
    /// `None` = unreadable.
    pub(super) command: Option<(Control, CommandMark)>,
}

impl CommandStream {
    pub(in crate::layer::redis) fn new(
        names: Arc<Names>,
        codec: Arc<EnvelopeCodec>,
        commands: Commands,
        redis_health: Arc<RedisHealth>,
    ) -> Self {
        let append = Script::new(&[NUMBERING, include_str!("append.lua")]);
        let read = Script::new(&[include_str!("read.lua")]);
        let recent = Mutex::default();
        Self { names, codec, commands, redis_health, recent, append, read }
    }

    pub(in crate::layer::redis) fn redis_health(&self) -> &Arc<RedisHealth> {
        &self.redis_health
    }

    /// Appends a command and publishes it.
    pub(in crate::layer::redis) async fn accept(&self, control: Control) -> Result<(), LayerError> {
        let mark = CommandMark { id: random_id(), accepted: None, place: None };
        let stamp = self.append(&[(&control, &mark)], 0).await?;
        self.redis_health.command_accepted(stamp);
        self.recent.lock().insert(Recent::new(mark.id, stamp, stamp, control));
        Ok(())
    }

    /// Returns the place of the last. Those already among the `searched` newest are left out.
    pub(super) async fn append(
        &self,
        commands: &[(&Control, &CommandMark)],
        searched: u64,
    ) -> Result<Stamp, LayerError> {
        let mut arguments = vec![
            number(self.redis_health.generation()),
            Bytes::from(self.names.control().to_owned()),
            number(MAX_COMMANDS),
            millis(MAX_AGE),
            number(searched),
        ];
        for (control, mark) in commands {
            arguments.push(Bytes::copy_from_slice(&mark.id.to_be_bytes()));
            arguments.push(self.codec.command(self.names.control(), control, mark).into());
        }
        let answer: Vec<String> = self.append.run(&self.commands, self.keys(), arguments).await?;
        match answer.as_slice() {
            [] => {
                self.redis_health.set_silent();
                Err(LayerError::Unreachable("redis has another generation".to_owned()))
            }
            [full, _] if full == "full" => Err(LayerError::Full(MAX_COMMANDS as usize)),
            [generation, number] => stamp(generation, number).ok_or_else(unexpected),
            _ => Err(unexpected()),
        }
    }

    fn keys(&self) -> Vec<String> {
        vec![self.names.generation(), self.names.commands()]
    }

    /// The commands behind `place`, as many as are read at once.
    pub(super) async fn read_after(&self, place: Stamp) -> Result<CommandChunk, ScriptError> {
        let arguments = vec![number(place.generation), number(place.number), number(CHUNK)];
        let answer: Vec<Bytes> = self.read.run(&self.commands, self.keys(), arguments).await?;
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let [missed, from, generation, newest, entries @ ..] = answer.as_slice() else {
            return Err(unexpected().into());
        };
        let newest = stamp(&text(generation), &text(newest)).ok_or_else(unexpected)?;
        let from = text(from).parse().map_err(|_| unexpected())?;
        let entries =
            entries.as_chunks::<3>().0.iter().filter_map(|[number, generation, bytes]| {
                // The generation of what another program appended is unreadable as well.
                let number = text(number).parse().ok()?;
                let generation =
                    text(generation).parse().unwrap_or(u64::MAX).min(newest.generation);
                let place = Stamp { generation, number };
                Some(StoredCommand { place, command: self.decode(bytes.clone()) })
            });
        let entries: Vec<_> = entries.collect();
        let is_last = (entries.len() as u64) < CHUNK;
        Ok(CommandChunk { missed: missed.as_ref() == b"1", from, newest, entries, is_last })
    }

    fn decode(&self, bytes: Bytes) -> Option<(Control, CommandMark)> {
        let now = std::time::Instant::now();
        let found = self.names.found(Origin::Commands);
        match self.codec.read(found, bytes, usize::MAX, now) {
            Ok(Decoded::From(_, Message::Command(control, Some(mark)))) => Some((control, mark)),
            _ => {
                self.redis_health.count_unreadable();
                None
            }
        }
    }
}

fn stamp(generation: &str, number: &str) -> Option<Stamp> {
    Some(Stamp { generation: generation.parse().ok()?, number: number.parse().ok()? })
}

fn random_id() -> u128 {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).expect("the operating system has random bytes");
    u128::from_ne_bytes(bytes)
}

fn unexpected() -> LayerError {
    LayerError::Unreachable("redis sent a reply of an unknown form".to_owned())
}
