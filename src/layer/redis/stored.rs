//! What waits in Redis for somebody: publications parked for groups that nobody listens to, and
//! entries of sources that were set aside.

use std::sync::LazyLock;

use bytes::Bytes;

use super::connect::Commands;
use super::names::{Channel, Names};
use super::reply::Reply;
use super::script::Script;
use crate::group::GroupName;
use crate::layer::LayerError;

/// Groups that are told, those whose publications expire next.
const MAX_GROUPS: usize = 100;

/// Redis' time in milliseconds; the stream, which has 100 entries at most; groups, with the
/// milliseconds at which what is parked for them expires.
static LOOK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&[
        "local time = redis.call('TIME')\n",
        "local now = string.format('%d%03d', time[1], math.floor(time[2] / 1000))\n",
        "local groups = redis.call('ZRANGE', KEYS[2], 0, ARGV[1], 'WITHSCORES')\n",
        "return { now, redis.call('XRANGE', KEYS[1], '-', '+'), groups }\n",
    ])
});

/// The lengths of lists.
static COUNT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&[
        "local lengths = {}\n",
        "for i = 1, #KEYS do lengths[i] = redis.call('LLEN', KEYS[i]) end\n",
        "return lengths\n",
    ])
});

/// What waits in Redis.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredEntries {
    /// The key of the stream of entries that were set aside.
    pub key: String,
    /// Those, the newest first.
    pub set_aside: Vec<SetAside>,
    /// At most 100 groups, those whose publications expire next first.
    pub parked: Vec<ParkedGroup>,
}

/// An entry that was set aside instead of being tried for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Milliseconds since 1970, by the clock of Redis.
    pub at: u64,
    /// The key of its source.
    pub source: String,
    /// Why it was set aside.
    pub why: String,
    /// The beginning of its content.
    pub entry: Bytes,
}

/// A group for which publications are parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedGroup {
    /// The group.
    pub group: GroupName,
    /// How many.
    pub waiting: u64,
    /// Seconds until they expire.
    pub expires: u64,
}

impl StoredEntries {
    pub(super) async fn read(commands: &Commands, names: &Names) -> Result<Self, LayerError> {
        let keys = vec![names.poison(), names.parking()];
        let most = Bytes::from((MAX_GROUPS - 1).to_string());
        let (now, entries, groups): (u64, Vec<(String, Vec<Bytes>)>, Reply) =
            LOOK.run(commands, keys, vec![most]).await?;
        let groups: Vec<String> = groups.convert().unwrap_or_default();
        let group = |pair: &[String]| {
            let [channel, until] = pair else { return None };
            let Some(Channel::Group(group)) = names.read(channel) else { return None };
            let until = until.parse::<f64>().ok()? as u64;
            Some((group, until.saturating_sub(now) / 1000))
        };
        let groups: Vec<_> = groups.chunks(2).filter_map(group).collect();
        let lists = groups.iter().map(|(group, _)| names.parked(group)).collect();
        let lengths: Vec<u64> = COUNT.run(commands, lists, Vec::new()).await?;
        let parked = groups.into_iter().zip(lengths);
        let parked =
            parked.map(|((group, expires), waiting)| ParkedGroup { group, waiting, expires });
        let set_aside = entries.into_iter().rev().filter_map(|(id, fields)| {
            let [_, source, _, why, _, entry] = <[Bytes; 6]>::try_from(fields).ok()?;
            let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
            let at = id.split('-').next()?.parse().ok()?;
            Some(SetAside { at, source: text(&source), why: text(&why), entry })
        });
        Ok(Self {
            key: names.poison(),
            set_aside: set_aside.collect(),
            // What has expired is removed from the set later.
            parked: parked.filter(|group| group.waiting > 0).collect(),
        })
    }
}
