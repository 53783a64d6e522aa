//! What Django's channel layer keeps in Redis: groups, members, mailboxes and their readers.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::Serialize;

use super::cluster::ClusterState;
use super::redis_server::{RedisInfo, time};
use super::sample::MessageFormat;
use super::scan::LayerKeys;
use crate::layer::{RedisSession, Reply, ScriptError};

/// Index of the last member of one group that is sampled.
const MEMBERS: &str = "999";

/// Keys read in one round trip.
const BATCH: usize = 100;

/// Most messages that are sampled, one of each mailbox.
const SAMPLES: usize = 64;

/// Groups of the pub/sub layer whose subscribers are counted.
const COUNTED: usize = 1000;

/// Seconds after which an unread message makes its mailbox count as unread:
/// consumers take them within milliseconds, and block for 5 s at most.
const UNREAD: f64 = 10.0;

/// The contents of one prefix of one database.
#[derive(Debug, Default, Serialize)]
pub struct Survey {
    /// The prefix of every key.
    pub prefix: String,
    /// Keys read.
    pub keys: usize,
    /// Whether those are all.
    pub whole: bool,
    /// Groups of the core layer, the largest first.
    pub groups: Vec<SurveyedGroup>,
    /// Mailboxes that hold messages, the fullest first.
    pub boxes: Vec<SurveyedMailbox>,
    /// Copies that receivers left behind: channel and number.
    pub inflight: Vec<(String, u64)>,
    /// Groups of the pub/sub layer and their listening processes, the most first.
    pub pubsub: Vec<(String, u64)>,
    /// Clusters of Groupcast that are members: name, mailboxes agreed, instances running.
    pub clusters: Vec<(String, String, usize)>,
    /// How messages are written, as far as the samples show it.
    pub writing: Option<MessageFormat>,
    /// Consumers that wait for a message at this moment; `None` = unknown.
    pub waiting: Option<usize>,
    /// Versions of redis-py that they use, where Redis knows (7.2 or newer).
    pub redis_py: BTreeSet<String>,
    /// Databases that hold something, and how many keys.
    pub databases: Vec<(u32, u64)>,
    /// Seconds, from the time to live of mailboxes.
    pub expiry: Option<u64>,
    /// Seconds, the least that any group shows.
    pub group_expiry: Option<u64>,
    /// Sampled messages, one of each mailbox; never shown.
    #[serde(skip)]
    pub samples: Vec<Bytes>,
}

/// A group of the core layer.
#[derive(Debug, Default, Serialize)]
pub struct SurveyedGroup {
    /// The group's name.
    pub name: String,
    /// Channels in it, gateways included.
    pub members: u64,
    /// Of the sampled members, those whose mailbox is not read.
    pub dead: u64,
    /// Of the sampled members, those of Groupcast.
    pub gateways: u64,
    /// Whether the sample has all members.
    pub whole: bool,
    #[serde(skip)]
    members_seen: Vec<String>,
}

/// A mailbox: one process of Django, one normal channel, or one share of a gateway's groups.
#[derive(Debug, Serialize)]
pub struct SurveyedMailbox {
    /// The channel's name, up to the exclamation mark if it has one.
    pub channel: String,
    /// Messages waiting.
    pub entries: u64,
    /// Age of the oldest in seconds, by the sender's clock; negative = from the future.
    pub oldest: f64,
    /// Whether no process reads it.
    pub unread: bool,
}

impl Survey {
    /// Reads everything under `prefix`, within bounds.
    pub(super) async fn read(session: &RedisSession, prefix: &str) -> Result<Self, ScriptError> {
        let keys = LayerKeys::find(session, prefix).await?;
        let mut survey = Self {
            prefix: prefix.to_owned(),
            keys: keys.count(),
            whole: keys.whole,
            ..Self::default()
        };
        survey.read_boxes(session, &keys).await?;
        survey.read_groups(session, &keys).await?;
        survey.read_inflight(session, &keys).await?;
        survey.writing = MessageFormat::detect(&survey.samples);
        survey.read_clusters(session).await;
        survey.read_pubsub(session).await?;
        survey.read_clients(session).await;
        if let Ok(info) = RedisInfo::ask(session).await {
            survey.databases = info.databases();
        }
        Ok(survey)
    }

    /// Mailboxes of consumers that no process reads.
    pub(super) fn dead_boxes(&self) -> impl Iterator<Item = &SurveyedMailbox> {
        self.boxes.iter().filter(|found| found.unread && is_consumer(&found.channel))
    }

    async fn read_boxes(
        &mut self,
        session: &RedisSession,
        keys: &LayerKeys,
    ) -> Result<(), ScriptError> {
        let names: Vec<_> = keys.boxes.iter().collect();
        for batch in names.chunks(BATCH) {
            let now = time(session).await?;
            let asked = batch.iter().flat_map(|name| {
                let key = [&*self.prefix, name.as_str()].concat();
                [
                    query(&["ZCARD", &key]),
                    query(&["PTTL", &key]),
                    query(&["ZRANGE", &key, "0", "0", "WITHSCORES"]),
                    query(&["ZRANGE", &key, "-1", "-1", "WITHSCORES"]),
                ]
            });
            let answers = answers(session, asked.collect()).await?;
            for (name, found) in batch.iter().zip(answers.chunks(4)) {
                let [entries, left, oldest, newest] = found else { continue };
                let (Some(oldest), Some(newest)) = (pairs(oldest).pop(), pairs(newest).pop())
                else {
                    continue;
                };
                least(&mut self.expiry, number(left), now - newest.1);
                if self.samples.len() < SAMPLES {
                    self.samples.push(newest.0);
                }
                let oldest = now - oldest.1;
                self.boxes.push(SurveyedMailbox {
                    channel: (*name).clone(),
                    entries: number(entries).unsigned_abs(),
                    unread: oldest > UNREAD,
                    oldest,
                });
            }
        }
        self.boxes.sort_by_key(|found| std::cmp::Reverse(found.entries));
        Ok(())
    }

    async fn read_groups(
        &mut self,
        session: &RedisSession,
        keys: &LayerKeys,
    ) -> Result<(), ScriptError> {
        let unread: BTreeSet<_> = self.dead_boxes().map(|found| found.channel.clone()).collect();
        let names: Vec<_> = keys.groups.iter().collect();
        for batch in names.chunks(BATCH) {
            let now = time(session).await?;
            let asked = batch.iter().flat_map(|name| {
                let key = format!("{}:group:{name}", self.prefix);
                [
                    query(&["ZCARD", &key]),
                    query(&["PTTL", &key]),
                    query(&["ZRANGE", &key, "0", MEMBERS]),
                    query(&["ZRANGE", &key, "-1", "-1", "WITHSCORES"]),
                ]
            });
            let answers = answers(session, asked.collect()).await?;
            for (name, found) in batch.iter().zip(answers.chunks(4)) {
                let [members, left, seen, newest] = found else { continue };
                let seen = texts(seen);
                if let Some((member, score)) = pairs(newest).pop()
                    && !member.starts_with(GATEWAY.as_bytes())
                {
                    least(&mut self.group_expiry, number(left), now - score);
                }
                self.groups.push(SurveyedGroup::new(name, number(members), seen, &unread));
            }
        }
        self.groups.sort_by_key(|group| std::cmp::Reverse(group.members));
        Ok(())
    }

    async fn read_inflight(
        &mut self,
        session: &RedisSession,
        keys: &LayerKeys,
    ) -> Result<(), ScriptError> {
        let names: Vec<_> = keys.inflight.iter().collect();
        for batch in names.chunks(BATCH) {
            let asked = batch
                .iter()
                .map(|name| query(&["ZCARD", &format!("{}{name}$inflight", self.prefix)]));
            let answers = answers(session, asked.collect()).await?;
            let counted = answers.iter().map(|answer| number(answer).unsigned_abs());
            self.inflight.extend(batch.iter().map(|name| (*name).clone()).zip(counted));
        }
        Ok(())
    }

    async fn read_clusters(&mut self, session: &RedisSession) {
        let members = self.groups.iter().flat_map(|group| &group.members_seen);
        let names: BTreeSet<_> = members.filter_map(|member| cluster_of(member)).collect();
        let names: Vec<_> = names.into_iter().map(str::to_owned).collect();
        for name in names {
            // The rights of this user may cover the library's keys alone.
            let cluster = ClusterState::read(session, &name).await.unwrap_or_default();
            let live = cluster.live().count();
            self.clusters.push((name, cluster.boxes, live));
        }
    }

    async fn read_pubsub(&mut self, session: &RedisSession) -> Result<(), ScriptError> {
        let beginning = format!("{}__group__", self.prefix);
        let pattern = format!("{beginning}*");
        let channels: Vec<String> = match session.ask(&["PUBSUB", "CHANNELS", &pattern]).await {
            Ok(channels) => channels,
            Err(ScriptError::Refused(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut command = vec!["PUBSUB", "NUMSUB"];
        command.extend(channels.iter().take(COUNTED).map(String::as_str));
        let counted = match session.ask::<Reply>(&command).await {
            Ok(counted) => pairs(&counted).into_iter().map(|(_, count)| count as u64).collect(),
            Err(_) => Vec::new(),
        };
        let counts = counted.into_iter().chain(std::iter::repeat(0));
        let groups = channels.iter().filter_map(|channel| channel.strip_prefix(&beginning));
        self.pubsub = groups.map(str::to_owned).zip(counts).collect();
        self.pubsub.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Ok(())
    }

    async fn read_clients(&mut self, session: &RedisSession) {
        let Ok(list) = session.ask::<String>(&["CLIENT", "LIST"]).await else { return };
        let (waiting, versions) = waiting_consumers(&list);
        (self.waiting, self.redis_py) = (Some(waiting), versions);
    }
}

impl SurveyedGroup {
    fn new(name: &str, members: i64, seen: Vec<String>, unread: &BTreeSet<String>) -> Self {
        let dead = seen.iter().filter(|member| unread.contains(process_of(member))).count();
        let gateways = seen.iter().filter(|member| member.starts_with(GATEWAY)).count();
        let members = members.unsigned_abs();
        Self {
            name: name.to_owned(),
            members,
            dead: dead as u64,
            gateways: gateways as u64,
            whole: seen.len() as u64 >= members,
            members_seen: seen,
        }
    }

    /// Processes to whose mailboxes senders write.
    pub(super) fn processes(&self) -> impl Iterator<Item = &str> {
        self.members_seen.iter().map(|member| process_of(member))
    }
}

/// Begins the channel names of every cluster.
const GATEWAY: &str = "groupcast.";

/// How many clients wait as consumers do, and by which versions of redis-py.
pub(super) fn waiting_consumers(list: &str) -> (usize, BTreeSet<String>) {
    let (mut waiting, mut versions) = (0, BTreeSet::new());
    for line in list.lines() {
        let fields: BTreeMap<_, _> =
            line.split(' ').filter_map(|field| field.split_once('=')).collect();
        if fields.get("cmd") != Some(&"bzpopmin") {
            continue;
        }
        waiting += 1;
        if fields.get("lib-name").is_some_and(|name| name.starts_with("redis-py")) {
            versions.extend(fields.get("lib-ver").map(|&version| version.to_owned()));
        }
    }
    (waiting, versions)
}

/// The mailbox of a channel, as a name.
fn process_of(channel: &str) -> &str {
    channel.find('!').map_or(channel, |mark| &channel[..=mark])
}

pub(super) fn cluster_of(channel: &str) -> Option<&str> {
    let (front, _) = channel.strip_prefix(GATEWAY)?.split_once('!')?;
    Some(front.rsplit_once('.')?.0)
}

pub(super) fn is_consumer(channel: &str) -> bool {
    channel.ends_with('!') && !channel.starts_with(GATEWAY)
}

/// Lowers `known` to the expiry that a time to live (ms) and the age (s) of the newest write imply:
/// each write sets it. If the newest was removed, that is too high, so the least of many is right.
fn least(known: &mut Option<u64>, left: i64, age: f64) {
    if left < 0 {
        return;
    }
    let shown = (left as f64 / 1000.0 + age).round();
    if shown > 0.0 {
        *known = Some(known.map_or(shown as u64, |known| known.min(shown as u64)));
    }
}

fn query(words: &[&str]) -> Vec<Bytes> {
    words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

/// All answers, or the first error.
async fn answers(
    session: &RedisSession,
    asked: Vec<Vec<Bytes>>,
) -> Result<Vec<Reply>, ScriptError> {
    session.ask_all(asked).await.into_iter().collect()
}

fn number(reply: &Reply) -> i64 {
    reply.clone().convert().unwrap_or(0)
}

fn texts(reply: &Reply) -> Vec<String> {
    reply.clone().convert().unwrap_or_default()
}

/// Members and scores, whether Redis pairs them (RESP3) or not.
fn pairs(reply: &Reply) -> Vec<(Bytes, f64)> {
    let mut flat = Vec::new();
    flatten(reply.clone(), &mut flat);
    let mut flat = flat.into_iter();
    let mut pairs = Vec::new();
    while let (Some(member), Some(score)) = (flat.next(), flat.next()) {
        let member = member.convert().unwrap_or_default();
        pairs.push((member, score.convert().unwrap_or(0.0)));
    }
    pairs
}

fn flatten(reply: Reply, into: &mut Vec<Reply>) {
    match reply {
        Reply::List(replies) => replies.into_iter().for_each(|reply| flatten(reply, into)),
        single => into.push(single),
    }
}
