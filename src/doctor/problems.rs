//! The likely problems that a survey shows.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Finding;
use super::redis_server::span;
use super::survey::{Survey, SurveyedMailbox, is_consumer};

/// Default `capacity` of channels_redis: senders drop messages for a mailbox that holds this many.
const CAPACITY: u64 = 100;

/// Per cent of a capacity that count as near it.
const NEAR: u64 = 80;

/// Per cent of it that concurrent senders may reach, since they check before they write.
const OVER: u64 = 110;

/// Least `group_expiry` with which members outlive two failed refreshes, seconds.
const LEAST_GROUP_EXPIRY: u64 = 180;

/// Seconds from the start of a process until it drains mailboxes: Redis, agreement, subscription.
const START: u64 = 5;

/// Names listed in one line.
const SHOWN: usize = 3;

/// Everything that needs no configuration of the gateway. `drain` is how long a gateway may take to
/// stop, `capacity` the assumed capacity of its mailboxes in Django.
pub(super) fn find(survey: &Survey, drain: Duration, capacity: u32, findings: &mut Vec<Finding>) {
    findings.push(found(survey));
    if survey.groups.is_empty() && survey.boxes.is_empty() && survey.pubsub.is_empty() {
        findings.push(elsewhere(survey));
        return;
    }
    if !survey.groups.is_empty() {
        findings.push(dead(survey));
    }
    findings.push(self::capacity(survey, capacity.into()));
    findings.extend(gateways(survey));
    findings.extend(expiry(survey, drain));
    findings.extend(group_expiry(survey));
    findings.extend(inflight(survey));
    findings.extend(sender_clock(survey));
    findings.extend(consumers(survey));
    findings.extend(databases(survey));
}

fn found(survey: &Survey) -> Finding {
    let members: u64 = survey.groups.iter().map(|group| group.members).sum();
    let mut parts = Vec::new();
    if let Some(largest) = survey.groups.first() {
        parts.push(format!(
            "{} with {} in channels_redis.core, the largest {} ({})",
            counted(survey.groups.len() as u64, "group"),
            counted(members, "member"),
            largest.name,
            largest.members
        ));
    }
    if let Some((group, listeners)) = survey.pubsub.first() {
        parts.push(format!(
            "{} in channels_redis.pubsub, the largest {group} ({})",
            counted(survey.pubsub.len() as u64, "group"),
            counted(*listeners, "listener")
        ));
    }
    for (name, _, live) in &survey.clusters {
        parts.push(format!(
            "cluster {name} of Groupcast, {} running",
            counted(*live as u64, "instance")
        ));
    }
    if parts.is_empty() {
        parts.push(format!("nothing under the prefix {:?}", survey.prefix));
    }
    let finding = Finding::ok("channel layer", parts.join("; "));
    if survey.whole {
        return finding;
    }
    let count = survey.keys;
    finding.hint(format!(
        "these are the first {count} keys that SCAN found; there are more, which were not read"
    ))
}

fn elsewhere(survey: &Survey) -> Finding {
    let databases = match survey.databases.as_slice() {
        [] => "this Redis is empty".to_owned(),
        found => {
            let found: Vec<_> = found
                .iter()
                .map(|(number, keys)| format!("/{number} ({})", counted(*keys, "key")))
                .collect();
            format!("databases with keys: {}", found.join(", "))
        }
    };
    let advice = "give the database and prefix of CHANNEL_LAYERS, and run this while consumers are \
                  connected";
    Finding::warn("where", databases, advice)
}

fn dead(survey: &Survey) -> Finding {
    let boxes: Vec<_> = survey.dead_boxes().collect();
    let members: u64 = survey.groups.iter().map(|group| group.dead).sum();
    if boxes.is_empty() {
        let processes: BTreeSet<_> = survey
            .groups
            .iter()
            .flat_map(|group| group.processes())
            .filter(|process| is_consumer(process))
            .collect();
        let found =
            format!("none seen among the {} of Django in groups", numbered(processes.len()));
        if survey.waiting == Some(0) && !processes.is_empty() {
            let found = format!("{found}, but none waits for messages now");
            let advice = "if no site is running, its members stay until group_expiry has passed";
            return Finding::warn("dead members", found, advice);
        }
        return Finding::ok("dead members", found);
    }
    let oldest = boxes.iter().map(|found| found.oldest).fold(0.0, f64::max);
    let fullest = boxes.iter().map(|found| found.entries).max().unwrap_or(0);
    let found = format!(
        "{} of {} whose mailbox nobody reads: {}; up to {fullest} messages, the oldest {} old",
        counted(members, "member"),
        numbered(boxes.len()),
        listed(boxes.iter().map(|found| found.channel.as_str())),
        span(oldest)
    );
    Finding::warn(
        "dead members",
        found,
        "processes that ended without leaving; each group_send writes to them until group_expiry \
         has passed. ZREM them, or wait; a gateway leaves none behind",
    )
}

/// `assumed` is the capacity of a gateway's mailboxes; that of others is the library's default.
fn capacity(survey: &Survey, assumed: u64) -> Finding {
    let limit =
        |found: &SurveyedMailbox| if is_consumer(&found.channel) { CAPACITY } else { assumed };
    // A mailbox that holds clearly more has a larger capacity.
    let near = |found: &&SurveyedMailbox| {
        (limit(found) * NEAR..=limit(found) * OVER).contains(&(found.entries * 100))
    };
    let read = survey.boxes.iter().filter(|found| !found.unread);
    if let Some(fullest) = read.filter(near).max_by_key(|found| found.entries) {
        let found = format!(
            "{} holds {}; senders drop messages at {}, without an error",
            fullest.channel,
            counted(fullest.entries, "message"),
            limit(fullest)
        );
        return Finding::warn("capacity", found, CHANNEL_CAPACITY);
    }
    let most = survey.boxes.iter().map(|found| found.entries).max().unwrap_or(0);
    let most = counted(most, "message");
    let finding = Finding::ok(
        "capacity",
        format!("up to {most} in a mailbox; its assumed capacity is {assumed}"),
    );
    if assumed > CAPACITY { finding } else { finding.hint(CHANNEL_CAPACITY) }
}

const CHANNEL_CAPACITY: &str = "\"channel_capacity\": {\"groupcast.*\": 10000} in CHANNEL_LAYERS, \
    and channels.capacity = 10000: a gateway's mailboxes serve all browsers, and messages to a \
    full one are lost without an error";

fn gateways(survey: &Survey) -> Option<Finding> {
    let standing =
        |found: &&SurveyedMailbox| found.unread && found.channel.starts_with("groupcast.");
    let boxes: Vec<_> = survey.boxes.iter().filter(standing).collect();
    let first = boxes.first()?;
    let found = format!(
        "{} mailboxes of gateways are not drained, such as {} with {} messages, the oldest {} old",
        boxes.len(),
        first.channel,
        first.entries,
        span(first.oldest)
    );
    Some(Finding::warn(
        "draining",
        found,
        "start a gateway of that cluster; messages wait until expiry",
    ))
}

fn expiry(survey: &Survey, drain: Duration) -> Option<Finding> {
    let expiry = survey.expiry?;
    let restart = drain.as_secs() + START;
    if expiry >= restart {
        return Some(Finding::ok(
            "expiry",
            format!("{expiry} s, longer than a restart ({restart} s)"),
        ));
    }
    let found = format!(
        "{expiry} s; a restart of a gateway takes up to {restart} s (drain.grace and start)"
    );
    Some(Finding::warn(
        "expiry",
        found,
        "raise expiry in CHANNEL_LAYERS, run two instances, or lower drain.grace: messages sent \
         meanwhile wait no longer than expiry",
    ))
}

fn group_expiry(survey: &Survey) -> Option<Finding> {
    let expiry = survey.group_expiry?;
    let found = span(expiry as f64);
    Some(if expiry < LEAST_GROUP_EXPIRY {
        let advice = "raise group_expiry in CHANNEL_LAYERS to 24 h, its default: members are \
                      refreshed each minute, and consumers not at all";
        Finding::warn("group_expiry", found, advice)
    } else {
        Finding::ok("group_expiry", found)
            .hint("consumers receive nothing after that time; a gateway refreshes its members")
    })
}

fn inflight(survey: &Survey) -> Option<Finding> {
    let left: u64 = survey.inflight.iter().map(|(_, count)| count).sum();
    (left > 0).then(|| {
        let channels = listed(survey.inflight.iter().map(|(channel, _)| channel.as_str()));
        let found = format!("{} left behind by {channels}", counted(left, "message"));
        let advice = "messages that a process held when it ended; these keys never expire. \
                      DEL those that still exist in a minute";
        Finding::warn("$inflight", found, advice)
    })
}

fn sender_clock(survey: &Survey) -> Option<Finding> {
    let ahead = survey.boxes.iter().map(|found| -found.oldest).fold(0.0, f64::max);
    (ahead > 2.0).then(|| {
        let found = format!("a message is from {} ahead of Redis' clock", span(ahead));
        let advice =
            "set the clock of the machine that sent it: it removes others' messages as expired";
        Finding::warn("senders' clocks", found, advice)
    })
}

/// redis-py 8 gives up reading after 5 s, which is as long as the library blocks.
fn consumers(survey: &Survey) -> Option<Finding> {
    let waiting = survey.waiting.filter(|waiting| *waiting > 0)?;
    let found = format!("{} waiting for messages", numbered(waiting));
    let advice = "redis-py 8 gives up reading after 5 s by default, as long as a consumer blocks, \
                  so idle WebSockets close: {\"address\": …, \"socket_timeout\": None} in hosts. \
                  Sending is not affected";
    let versions: Vec<_> = survey.redis_py.iter().map(String::as_str).collect();
    let major = |version: &&str| version.split('.').next()?.parse::<u32>().ok();
    if versions.iter().filter_map(major).any(|major| major >= 8) {
        let found = format!("{found}, by redis-py {}", versions.join(", "));
        return Some(Finding::warn("consumers", found, advice));
    }
    let finding = Finding::ok("consumers", found);
    // A Redis that reports no versions cannot rule it out.
    Some(if versions.is_empty() { finding.hint(advice) } else { finding })
}

fn databases(survey: &Survey) -> Option<Finding> {
    (survey.databases.len() > 1).then(|| {
        let found: Vec<_> = survey
            .databases
            .iter()
            .map(|(number, keys)| format!("/{number} ({})", counted(*keys, "key")))
            .collect();
        Finding::ok("databases", found.join(", ")).hint(
            "layer.url must name the one of CHANNEL_LAYERS; publish and subscribe ignore databases",
        )
    })
}

fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let mut shown: Vec<_> = names.take(SHOWN).map(str::to_owned).collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join(", ")
}

/// A count with its noun.
fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

fn numbered(processes: usize) -> String {
    if processes == 1 { "1 process".to_owned() } else { format!("{processes} processes") }
}
