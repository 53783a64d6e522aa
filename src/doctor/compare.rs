//! A survey compared with the configuration: whether both sides have the same settings.

use super::Finding;
use super::redis_server::now;
use super::sample::{MessageFormat, SampleCheck};
use super::survey::Survey;
use crate::channels::{ChannelSettings, Serializer};
use crate::group::GroupName;

/// Seconds by which a value computed from a time to live may be wrong.
const TOLERANCE: u64 = 2;

pub(super) fn compare(survey: &Survey, channels: &ChannelSettings, findings: &mut Vec<Finding>) {
    findings.extend(kind(survey, channels));
    findings.extend(received(survey, channels));
    findings.push(messages(survey, channels));
    let seen = [
        ("channels.expiry", survey.expiry, channels.codec.expiry),
        ("channels.group_expiry", survey.group_expiry, channels.group_expiry),
    ];
    for (key, seen, here) in seen {
        if let Some(seen) = seen
            && seen.abs_diff(here.as_secs()) > TOLERANCE
        {
            let found = format!("{} s here, {seen} s by what Django writes", here.as_secs());
            let advice = format!("set it to \"{seen}s\", or Django's to yours");
            findings.push(Finding::warn(key, found, advice));
        }
    }
    let fullest = survey
        .boxes
        .iter()
        .filter(|found| found.channel.starts_with("groupcast."))
        .map(|found| found.entries)
        .max();
    if let Some(fullest) = fullest
        && fullest > u64::from(channels.capacity)
    {
        let found = format!(
            "{} here, and a mailbox of a gateway holds {fullest} messages",
            channels.capacity
        );
        let advice =
            "set it to Django's channel_capacity for \"groupcast.*\": losses are detected by it";
        findings.push(Finding::warn("channels.capacity", found, advice));
    }
}

fn kind(survey: &Survey, channels: &ChannelSettings) -> Option<Finding> {
    let core = survey.groups.iter().any(|group| group.members > group.gateways);
    let (receives, other) = match (channels.core, channels.pubsub) {
        (true, false) if !core && !survey.pubsub.is_empty() => ("core", "pubsub"),
        (false, true) if core && survey.pubsub.is_empty() => ("pubsub", "core"),
        _ => return None,
    };
    let found = format!("[{receives:?}] here, and Django's consumers use channels_redis.{other}");
    Some(Finding::warn("channels.receive", found, format!("receive = [{other:?}], or both")))
}

/// Whether the groups of Django are received.
fn received(survey: &Survey, channels: &ChannelSettings) -> Option<Finding> {
    let names = survey.groups.iter().map(|group| &group.name);
    let names = names.chain(survey.pubsub.iter().map(|(name, _)| name));
    let (mut count, mut unwanted, mut illegal) = (0, Vec::new(), Vec::new());
    for name in names {
        count += 1;
        match GroupName::parse(name) {
            Ok(group) if channels.receives(&group) => {}
            Ok(_) => unwanted.push(name.as_str()),
            Err(_) => illegal.push(name.as_str()),
        }
    }
    if let Some(name) = illegal.first() {
        let found =
            format!("{} names that groups cannot have here, such as {name:?}", illegal.len());
        let advice = "1 to 99 of A-Z a-z 0-9 _ . - are allowed; rename them in Django";
        return Some(Finding::warn("groups", found, advice));
    }
    if let Some(name) = unwanted.first() {
        let found = format!("{} of {count} are not received, such as {name}", unwanted.len());
        return Some(Finding::ok("groups", found).hint("channels.groups leaves them out"));
    }
    (count > 0).then(|| Finding::ok("groups", format!("all {count} are received")))
}

fn messages(survey: &Survey, channels: &ChannelSettings) -> Finding {
    let count = survey.samples.len();
    if count == 0 {
        let found = "none waits, so serializer, keys and random_prefix_length cannot be compared";
        return Finding::ok("messages", found);
    }
    let check = SampleCheck::of(&survey.samples, &channels.codec, now() as u64);
    let Some(error) = check.errors.first() else {
        return Finding::ok("messages", format!("{count} waiting ones sampled, all can be read"));
    };
    let found = format!("{} of {count} waiting ones cannot be read: {error}", check.errors.len());
    let advice = match &survey.writing {
        Some(writing) => describe(writing, channels.codec.serializer),
        None => "set [channels] as CHANNEL_LAYERS is set".to_owned(),
    };
    match check.read {
        0 => Finding::fail("messages", found, advice),
        _ => Finding::warn("messages", found, advice),
    }
}

fn describe(writing: &MessageFormat, here: Serializer) -> String {
    let serializer = writing.serializer.map_or(here.to_string(), str::to_owned);
    let keys =
        if writing.encrypted { "the [[channels.key]] of Django" } else { "no [[channels.key]]" };
    let prefix = writing.random_prefix;
    format!(
        "waiting messages look like serializer = {serializer:?}, random_prefix_length = {prefix}, \
         {keys}"
    )
}
