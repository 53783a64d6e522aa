//! Builds the commands of the draining scripts.

use bytes::Bytes;

use super::bounds::Bounds;
use super::entry::{EntryAction, SourceEntry};
use super::remote::RemoteSource;
use super::source::DurableSource;
use super::state::SourceState;
use crate::channels::GroupAddresses;
use crate::event::{InstanceId, Publication, Target};
use crate::group::GroupName;
use crate::layer::{PossibleLoss, RedisHandle, RemoteRedis, overflow_field};
use crate::lua_table::{LuaTable, ScriptKeys};

/// Entries of one source in one batch. They block Redis for about 1 ms.
pub(super) const MAX_ENTRIES: u64 = 256;

/// Most bytes of one source in one batch, unless a single entry is larger.
pub(super) const MAX_BYTES: u64 = 256 * 1024;

/// Most bytes of one read of all sources.
const MAX_LOOK_BYTES: u64 = 1024 * 1024;

/// Keys and arguments of a script.
pub(super) type ScriptCall = (Vec<String>, Vec<Bytes>);

/// The server that is looked at, by the keys of the gateway there.
pub(super) struct LookedAt {
    instance: InstanceId,
    under_way: String,
    instances: String,
    generation_key: String,
    /// The generation whose entries are read; empty = any.
    generation: Bytes,
}

impl LookedAt {
    /// The layer's own: the draining script compares the generation.
    pub(super) fn layer(redis: &RedisHandle) -> Self {
        let names = redis.names();
        Self {
            instance: redis.instance(),
            under_way: names.under_way(),
            instances: names.instances(),
            generation_key: names.generation(),
            generation: Bytes::new(),
        }
    }

    /// Another one.
    pub(super) fn remote(remote: &RemoteRedis, instance: InstanceId, generation: Bytes) -> Self {
        Self {
            instance,
            under_way: remote.under_way(),
            instances: remote.instances(),
            generation_key: remote.generation_key(),
            generation,
        }
    }
}

/// The command of `look.lua`: reads either a whole batch or the first entry of each source.
pub(super) fn look<'a>(
    server: LookedAt,
    wanted: impl Iterator<Item = (DurableSource, &'a str, &'a SourceState, bool)>,
) -> ScriptCall {
    let mut keys = Vec::new();
    let instance = Bytes::from(server.instance.to_string());
    let limits = [number(MAX_LOOK_BYTES), number(MAX_BYTES)];
    let mut arguments: Vec<Bytes> =
        limits.into_iter().chain([instance, server.generation]).collect();
    for (source, key, state, whole) in wanted {
        keys.push(key.to_owned());
        let is_careful = state.suspects.is_careful();
        let table = LuaTable::new()
            .text("type", source.key_type().name())
            .number("left", state.left() as u64)
            .text("last_left", state.last_left().map_or(&[][..], |key| key))
            .number("count", if whole && !is_careful { MAX_ENTRIES } else { 1 })
            .number("is_drained", whole.into())
            .number("ends", is_careful.into());
        arguments.push(table.pack());
    }
    keys.extend([server.under_way, server.instances, server.generation_key]);
    (keys, arguments)
}

/// Builds `drain.lua`'s commands.
pub(super) struct DrainCommand<'a> {
    pub(super) redis: &'a RedisHandle,
    pub(super) addresses: &'a GroupAddresses,
    pub(super) bounds: &'a Bounds,
    /// Where the source is, if not on the layer's server, and when it was read.
    pub(super) remote: Option<(&'a RemoteSource, u64)>,
}

/// What is drained of one source.
pub(super) struct DrainedSource<'a> {
    pub(super) source: DurableSource,
    pub(super) key: &'a str,
    pub(super) state: &'a SourceState,
    pub(super) entries: &'a [SourceEntry],
    /// Whether these were all of its entries.
    pub(super) is_whole: bool,
    /// What is to be done with each entry.
    pub(super) actions: &'a [EntryAction],
}

impl DrainCommand<'_> {
    /// The command that publishes the entries of these sources and removes them.
    pub(super) fn build<'b>(&self, sources: impl Iterator<Item = DrainedSource<'b>>) -> ScriptCall {
        let names = self.redis.names();
        let mut keys = ScriptKeys::new(vec![
            names.generation(),
            names.instances(),
            names.terms(),
            names.parking(),
            names.poison(),
            names.under_way(),
        ]);
        let mut arguments = vec![self.settings().pack()];
        for drained in sources {
            arguments.push(self.source(&drained, &mut keys).pack());
            let entries = drained.entries.iter().zip(drained.actions);
            arguments.extend(entries.map(|(entry, action)| self.entry(entry, action, &mut keys)));
        }
        (keys.into_vec(), arguments)
    }

    fn entry(&self, entry: &SourceEntry, action: &EntryAction, keys: &mut ScriptKeys) -> Bytes {
        let table = match self.remote {
            Some(_) => LuaTable::new().text("key", entry.id().0.to_be_bytes()),
            None => LuaTable::new().text("key", &entry.key),
        };
        let (table, tables) = match action {
            EntryAction::Publish(publications) => {
                (table, publications.iter().map(|it| self.publication(it, keys)).collect())
            }
            EntryAction::ReportLoss(loss) => (table, self.losses(loss, keys)),
            EntryAction::Remove => (table, Vec::new()),
            EntryAction::SetAside { loss, why, content } => {
                let losses = loss.as_ref().map(|loss| self.losses(loss, keys));
                let table = table.text("set_aside", why).text("content", content);
                (table, losses.unwrap_or_default())
            }
        };
        table.tables("publications", tables).pack()
    }

    fn losses(&self, loss: &PossibleLoss, keys: &mut ScriptKeys) -> Vec<LuaTable> {
        match loss {
            PossibleLoss::Groups(groups) => {
                groups.iter().map(|group| self.loss_of_group(group, keys)).collect()
            }
            share => vec![self.loss(share)],
        }
    }

    fn settings(&self) -> LuaTable {
        LuaTable::new()
            .text("generation", self.redis.generation())
            .text("control", self.redis.names().control())
            .text("random", self.redis.random_epoch())
            .text("instance_stem", self.redis.names().instance_stem())
            .number("max_parked", u64::from(self.bounds.parking.most))
            .millis("parked_ms", self.bounds.parking.span)
    }

    fn source(&self, drained: &DrainedSource, keys: &mut ScriptKeys) -> LuaTable {
        let DrainedSource { source, key, state, entries, is_whole, .. } = *drained;
        let table = match self.remote {
            Some((remote, read_ms)) => LuaTable::new()
                .number("key", keys.place(self.redis.names().drained(key)))
                .text("type", "elsewhere")
                .tables("elsewhere", vec![remote.table(state.length(), read_ms, is_whole)]),
            None => LuaTable::new()
                .number("key", keys.place(key.to_owned()))
                .text("type", source.key_type().name()),
        };
        let table = table
            .number("count", entries.len() as u64)
            .text("loss", self.redis.possible_loss(&self.possible_loss(source)))
            .texts("blocked", state.blocked().iter());
        match source {
            DurableSource::GroupMailbox(number) => table
                .number("capacity", u64::from(self.bounds.capacity))
                .text("overflow_count", overflow_field(number)),
            DurableSource::ConnectionMailbox => {
                table.number("capacity", u64::from(self.bounds.capacity))
            }
            DurableSource::Ingress => table,
        }
    }

    /// The groups whose events senders may have dropped because the source was full.
    fn possible_loss(&self, source: DurableSource) -> PossibleLoss {
        match source {
            DurableSource::GroupMailbox(number) => {
                PossibleLoss::Share { number, of: self.bounds.boxes }
            }
            DurableSource::ConnectionMailbox | DurableSource::Ingress => {
                PossibleLoss::Groups(Vec::new())
            }
        }
    }

    fn publication(&self, publication: &Publication, keys: &mut ScriptKeys) -> LuaTable {
        let (channel, envelope) = self.redis.envelope(publication);
        let table = LuaTable::new().text("channel", channel).text("envelope", envelope);
        match &publication.target {
            Target::Group(group) => self.for_group(group, table, keys),
            Target::Connection(_) => table.text("kind", "connection"),
            Target::User(_) | Target::All => table.text("kind", "everywhere"),
        }
    }

    fn loss_of_group(&self, group: &GroupName, keys: &mut ScriptKeys) -> LuaTable {
        let names = self.redis.names();
        let table = self.loss(&PossibleLoss::Groups(vec![group.clone()]));
        let table = table.text("channel", names.of_group(group));
        match self.redis.history().of(group) {
            Some(_) => table
                .number("held", keys.place(names.held(group)))
                .number("numbering", keys.place(names.numbering(group)))
                .number("log", keys.place(names.log(group))),
            None => table,
        }
    }

    fn loss(&self, loss: &PossibleLoss) -> LuaTable {
        LuaTable::new().text("kind", "loss").text("envelope", self.redis.possible_loss(loss))
    }

    fn for_group(&self, group: &GroupName, table: LuaTable, keys: &mut ScriptKeys) -> LuaTable {
        let names = self.redis.names();
        let table = table
            .number("held", keys.place(names.held(group)))
            .number("listeners", keys.place(names.listeners(group)))
            .number("parked", keys.place(names.parked(group)))
            .number("parked_mark", keys.place(names.parked_mark(group)));
        let table = match (self.addresses.of(group), self.remote) {
            (Some((registry, member)), _) => {
                table.number("registry", keys.place(registry)).text("member", member)
            }
            (None, Some(_)) => match self.addresses.anywhere(group) {
                Some((_, member)) => table.text("member", member),
                None => table,
            },
            (None, None) => table,
        };
        match self.redis.history().of(group) {
            Some(kept) => self.redis.add_history(table.text("kind", "history"), keys, group, kept),
            None => table.text("kind", "group"),
        }
    }
}

fn number(number: u64) -> Bytes {
    Bytes::from(number.to_string())
}
