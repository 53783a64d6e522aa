//! Byte for byte what channels_redis 4.3.0 wrote: `tests/golden`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Samples {
    serializers: Vec<Sample>,
    encryption: Vec<Encrypted>,
}

#[derive(Deserialize)]
struct Sample {
    name: String,
    msgpack_hex: String,
    /// None of what `json.dumps` refuses.
    json_utf8: Option<String>,
}

#[derive(Deserialize)]
struct Encrypted {
    key: String,
    iv_hex: String,
    timestamp: u64,
    plaintext_hex: String,
    token: String,
    value_with_zero_prefix_hex: String,
}

/// Keys of Redis and what is in them, by what was done.
type KeySpaces = BTreeMap<String, BTreeMap<String, Stored>>;

#[derive(Deserialize)]
struct Stored {
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    member_hex: String,
}

fn samples() -> Samples {
    serde_json::from_str(include_str!("../../../../tests/golden/channels-redis-messages.json"))
        .unwrap()
}

fn sample(name: &str) -> Sample {
    samples().serializers.into_iter().find(|sample| sample.name == name).unwrap()
}

/// The one entry of a mailbox.
fn stored(done: &str, key: &str) -> Vec<u8> {
    let text = include_str!("../../../../tests/golden/channels-redis-keyspace.json");
    let spaces: KeySpaces = serde_json::from_str(text).unwrap();
    let [member] = &spaces[done][key].members[..] else { panic!("{key} has one entry") };
    hex(&member.member_hex)
}

/// Both serializers read what Python wrote and write the same.
fn holds_both_ways(name: &str, expected: &Received, channel: MessageChannels<'_>) {
    let sample = sample(name);
    let msgpack = codec(Serializer::MsgPack, &[]);
    let bytes = hex(&sample.msgpack_hex);
    assert_eq!(&msgpack.read(&bytes, THEN).unwrap(), expected);
    assert_eq!(msgpack.write(&expected.event, channel, &[], [0; 16], THEN), bytes);

    let json = codec(Serializer::Json, &[]);
    let text = sample.json_utf8.unwrap();
    assert_eq!(&json.read(text.as_bytes(), THEN).unwrap(), expected);
    let written = json.write(&expected.event, channel, &[], [0; 16], THEN);
    assert_eq!(String::from_utf8(written).unwrap(), text);
}

#[test]
fn decodes_a_message_without_a_channel() {
    let expected = received(r#"{"type":"imagen_procesada","id":42,"ok":true}"#, &[]);
    holds_both_ways("simple", &expected, MessageChannels::None);
}

#[test]
fn decodes_a_message_for_all_members_of_a_mailbox() {
    let names = ["gw.a1!g1", "gw.a1!g2"];
    let expected = received(r#"{"type":"imagen_procesada","id":42}"#, &names);
    holds_both_ways("group_batch", &expected, MessageChannels::Many(&names.map(str::to_owned)));
}

#[test]
fn decodes_a_message_for_one_channel() {
    let expected = received(r#"{"type":"aviso"}"#, &["gw.a1!g1"]);
    holds_both_ways("direct", &expected, MessageChannels::One("gw.a1!g1"));
}

#[test]
fn decodes_strings_of_every_length() {
    let [short, long, longest] = [31, 32, 256].map(|len| "a".repeat(len));
    let text = format!(r#"{{"type":"s","s31":"{short}","s32":"{long}","s256":"{longest}"}}"#);
    holds_both_ways("str_lengths", &received(&text, &[]), MessageChannels::None);
}

#[test]
fn decodes_values_of_every_type() {
    let bytes = hex(&sample("types").msgpack_hex);
    let expected = concat!(
        r#"{"type":"t","nulo":null,"f":1.5,"neg":-1,"neg33":-33,"u8":200,"u16":65535,"#,
        r#""u32":4294967295,"u64":18446744073709551615,"i64":-9223372036854775808,"#,
        r#""s":"ñandú ✓","bin":"AP8=","lista":[1,[2,{}]],"tupla":[1,2],"t":true,"fa":false}"#,
    );
    let codec = codec(Serializer::MsgPack, &[]);
    assert_eq!(codec.read(&bytes, THEN).unwrap(), received(expected, &[]));

    // Binary has become text, and is text on the way back; all else is as it was.
    let written = codec.write(&event(expected), MessageChannels::None, &[], [0; 16], THEN);
    let text = sample("types").msgpack_hex.replace("c40200ff", "a44150383d");
    assert_eq!(written, hex(&text));
}

#[test]
fn decrypts_tokens_of_every_key() {
    let settings = CodecSettings {
        keys: samples().encryption.iter().map(|sample| sample.key.clone().into_bytes()).collect(),
        ..CodecSettings::default()
    };
    let rotated = Codec::new(&settings);
    for sample in samples().encryption {
        let expected = codec(Serializer::MsgPack, &[]).read(&hex(&sample.plaintext_hex), 0);
        let expected = expected.unwrap();
        let entry = hex(&sample.value_with_zero_prefix_hex);
        assert_eq!(rotated.read(&entry, sample.timestamp).unwrap(), expected);
        assert_eq!(rotated.read_bare(sample.token.as_bytes()).unwrap(), expected);

        let iv = hex(&sample.iv_hex).try_into().unwrap();
        let keys = vec![sample.key.into_bytes()];
        let own = Codec::new(&CodecSettings { keys, ..settings.clone() });
        let written =
            own.write(&expected.event, MessageChannels::None, &[0; 12], iv, sample.timestamp);
        assert_eq!(written, entry);
        assert_eq!(own.write_bare(&expected.event, iv, THEN), sample.token.as_bytes());
    }
}

#[test]
fn decodes_entries_of_mailboxes() {
    let prefix: Vec<u8> = (0..12).collect();
    let codec = Codec::new(&CodecSettings::default());
    let consumer = format!("specific.{}!{}", "0".repeat(32), "1".repeat(32));
    let box_of_consumers = format!("asgispecific.{}!", "0".repeat(32));
    let processed = event(r#"{"type":"imagen_procesada","id":42}"#);
    let own = ["gw.a1!g1".to_owned(), "gw.a1!g2".to_owned()];
    for (done, key, event, channel) in [
        ("group_send_plain", "asgigw.a1!", &processed, MessageChannels::Many(&own)),
        ("group_send_plain", &box_of_consumers, &processed, MessageChannels::Many(&[consumer])),
        ("send", "asgigw.a1!", &event(r#"{"type":"directo"}"#), MessageChannels::One("gw.a1!g1")),
        ("send", "asgitareas", &event(r#"{"type":"normal"}"#), MessageChannels::None),
    ] {
        let entry = stored(done, key);
        assert_eq!(codec.write(event, channel, &prefix, [0; 16], THEN), entry);
        assert_eq!(&codec.read(&entry, THEN).unwrap().event, event);
    }
}

#[test]
fn decodes_another_serializer_and_prefix_length() {
    let codec = Codec::new(&CodecSettings {
        serializer: Serializer::Json,
        random_prefix: 4,
        ..CodecSettings::default()
    });
    let entry = stored("group_send_json_prefix_miapp_random4", "miappgw.a1!");
    // As JSON escapes stay the text they are, the event has Python's.
    let escaped = event(r#"{"type":"aviso","texto":"se\u00f1al"}"#);
    let read = codec.read(&entry, THEN).unwrap();
    assert_eq!(read, Received { event: escaped, channels: vec!["gw.a1!g1".to_owned()] });
    let channel = ["gw.a1!g1".to_owned()];
    for text in [r#"{"type":"aviso","texto":"se\u00f1al"}"#, r#"{"type":"aviso","texto":"señal"}"#]
    {
        let written = codec.write(
            &event(text),
            MessageChannels::Many(&channel),
            &[0, 1, 2, 3],
            [0; 16],
            THEN,
        );
        assert_eq!(written, entry);
    }
}
