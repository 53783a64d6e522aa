//! Findings for values that a current server does not show, and the trial of rights against the
//! scripts.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::redis_server::{
    RedisInfo, buffer_limits, clock_difference, memory, persistence, span, version,
};
use super::survey::{cluster_of, waiting_consumers};
use super::{Level, MessageFormat, rights};
use crate::channels::codec::{Codec, CodecSettings, MessageChannels, Serializer};
use crate::event::Event;

fn info(lines: &str) -> RedisInfo {
    RedisInfo::parse(&lines.replace(' ', "\r\n"))
}

#[test]
fn fails_for_a_server_that_is_too_old() {
    for (text, level) in [
        ("6.0.16", Level::Fail),
        ("5.0.14", Level::Fail),
        ("6.2.0", Level::Ok),
        ("7.0.15", Level::Ok),
        ("10.1.0", Level::Ok),
        ("", Level::Fail),
    ] {
        let finding = version(&info(&format!("redis_version:{text}")));
        assert_eq!(finding.level, level, "{text}");
        assert!(finding.found.contains(text), "{}", finding.found);
    }
    let valkey = version(&info("redis_version:7.2.4 valkey_version:8.0.1"));
    assert_eq!((valkey.level, valkey.found.as_str()), (Level::Ok, "Valkey 8.0.1, as Redis 7.2.4"));
}

#[test]
fn warns_of_eviction_and_of_a_full_memory() {
    let judged = |text| memory(&info(text)).level;
    assert_eq!(judged("used_memory:9 maxmemory:0 maxmemory_policy:allkeys-lru"), Level::Ok);
    assert_eq!(judged("used_memory:9 maxmemory:100 maxmemory_policy:allkeys-lru"), Level::Warn);
    assert_eq!(judged("used_memory:9 maxmemory:100 maxmemory_policy:noeviction"), Level::Ok);
    assert_eq!(judged("used_memory:95 maxmemory:100 maxmemory_policy:noeviction"), Level::Warn);
}

#[test]
fn warns_of_a_failed_snapshot() {
    let judged = |text| persistence(&info(text)).level;
    assert_eq!(judged("rdb_last_bgsave_status:ok aof_last_write_status:ok"), Level::Ok);
    assert_eq!(judged("rdb_last_bgsave_status:err aof_last_write_status:ok"), Level::Warn);
    assert_eq!(judged("rdb_last_bgsave_status:ok aof_last_write_status:err"), Level::Warn);
}

#[test]
fn tolerates_clock_differences_by_which_nothing_expires() {
    for (difference, uncertain, level) in [
        (0.1, 0.0, Level::Ok),
        (-1.9, 0.0, Level::Ok),
        (3.0, 0.5, Level::Warn),
        (-3.0, 0.5, Level::Warn),
        // Within what the round trip explains.
        (3.0, 1.5, Level::Ok),
        (61.0, 0.5, Level::Fail),
        (-300.0, 0.5, Level::Fail),
    ] {
        assert_eq!(
            clock_difference(difference, uncertain).level,
            level,
            "{difference} ± {uncertain}"
        );
    }
    assert!(clock_difference(-3.0, 0.0).found.contains("3.000 s behind"));
}

#[test]
fn warns_of_a_buffer_smaller_than_the_default() {
    let limits = |pubsub| format!("normal 0 0 0 slave 268435456 67108864 60 pubsub {pubsub}");
    for (pubsub, level) in [
        ("33554432 8388608 60", Level::Ok),
        ("0 0 0", Level::Ok),
        ("8388608 1048576 60", Level::Warn),
    ] {
        assert_eq!(buffer_limits(&limits(pubsub)).level, level, "{pubsub}");
    }
}

#[test]
fn counts_clients_that_block_on_a_mailbox_as_consumers() {
    let list = "id=3 addr=127.0.0.1:1 cmd=bzpopmin user=default lib-name=redis-py lib-ver=8.0.1\n\
                id=4 addr=127.0.0.1:2 cmd=bzpopmin user=default lib-name=redis-py(x) \
                lib-ver=5.2.0\n\
                id=5 addr=127.0.0.1:3 cmd=client|list user=default lib-name=redis-py \
                lib-ver=7.1.0\n";
    let (waiting, versions) = waiting_consumers(list);
    assert_eq!(waiting, 2);
    assert_eq!(versions, BTreeSet::from(["5.2.0".to_owned(), "8.0.1".to_owned()]));
}

#[test]
fn reads_the_cluster_from_a_member() {
    assert_eq!(cluster_of("groupcast.tienda.3!usuario_7"), Some("tienda"));
    assert_eq!(cluster_of("groupcast.la.tienda.63!usuario_7"), Some("la.tienda"));
    assert_eq!(cluster_of("specific.0a!1b"), None);
    assert_eq!(cluster_of("groupcast.tienda"), None);
}

#[test]
fn writes_spans_in_readable_units() {
    for (seconds, text) in
        [(5.0, "5 s"), (600.0, "10 min"), (86_400.0, "24 h"), (864_000.0, "10 days")]
    {
        assert_eq!(span(seconds), text);
    }
}

#[test]
fn detects_the_format_from_a_few_messages() {
    for serializer in [Serializer::MsgPack, Serializer::Json] {
        for (random_prefix, key) in
            [(12, None), (0, None), (40, None), (12, Some(b"clave".to_vec()))]
        {
            let keys: Vec<_> = key.into_iter().collect();
            let encrypted = !keys.is_empty();
            let settings =
                CodecSettings { serializer, keys, random_prefix, ..CodecSettings::default() };
            let guessed = MessageFormat::detect(&messages(&settings));
            let named = if serializer == Serializer::Json { "json" } else { "msgpack" };
            let serializer = (!encrypted).then_some(named);
            assert_eq!(guessed, Some(MessageFormat { serializer, random_prefix, encrypted }));
        }
    }
    assert_eq!(MessageFormat::detect(&[Bytes::from_static(b"no message")]), None);
    assert_eq!(MessageFormat::detect(&[]), None);
}

/// As channels_redis writes them, an event within one among them.
fn messages(settings: &CodecSettings) -> Vec<Bytes> {
    let codec = Codec::new(settings);
    let events = [r#"{"type":"aviso","n":1}"#, r#"{"type":"a","dentro":{"type":"b"}}"#];
    let write = |(seed, text): (usize, &&str)| {
        let event = Event::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap();
        let prefix: Vec<u8> =
            (0..settings.random_prefix).map(|i| (i * 37 + seed * 101) as u8).collect();
        codec.write(&event, MessageChannels::None, &prefix, [seed as u8; 16], 1_700_000_000).into()
    };
    events.iter().enumerate().map(write).collect()
}

/// Commands that a script calls, and those that are sent outside scripts.
fn called(script: &str) -> BTreeSet<&str> {
    let calls = script.split("redis.call('").chain(script.split("redis.pcall('"));
    let tries = script.split("try('");
    let names = calls.chain(tries).filter_map(|rest| rest.split('\'').next());
    names.filter(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase())).collect()
}

#[test]
fn tries_every_command_of_every_script() {
    let tried = called(rights::SCRIPT);
    for script in [
        crate::layer::NUMBERING,
        include_str!("../layer/redis/heartbeat.lua"),
        include_str!("../layer/redis/commit.lua"),
        include_str!("../layer/redis/recover.lua"),
        include_str!("../layer/redis/publish_many.lua"),
        include_str!("../layer/redis/once.lua"),
        include_str!("../channels/scripts/agree.lua"),
        include_str!("../sources/scripts/probe.lua"),
        include_str!("../sources/scripts/drain.lua"),
        include_str!("../channels/scripts/register.lua"),
        include_str!("../channels/scripts/stop_listening.lua"),
        include_str!("../channels/scripts/unregister.lua"),
        include_str!("../sources/scripts/look.lua"),
        include_str!("../layer/redis/remote/heartbeat.lua"),
        include_str!("../channels/scripts/enrol.lua"),
        include_str!("../channels/scripts/tell_losses.lua"),
        include_str!("../channels/scripts/withdraw.lua"),
        include_str!("../sources/scripts/remove.lua"),
        crate::layer::LISTENING,
        crate::layer::PARKING,
        include_str!("../layer/redis/publish.lua"),
        include_str!("../layer/redis/publish_many.lua"),
    ] {
        let missing: Vec<_> = called(script).difference(&tried).copied().collect();
        assert!(missing.is_empty(), "{missing:?} of {script}");
    }
}
