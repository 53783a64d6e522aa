//! Every event that is written is read back unchanged.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::channels::codec::channel::CHANNELS_KEY;

/// A value as the compact JSON that serde_json writes.
fn value() -> impl Strategy<Value = String> {
    let text = |value: serde_json::Value| value.to_string();
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<u64>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        (-300i64..300).prop_map(|value| value.to_string()),
        any::<f64>().prop_map(move |value| text(value.into())),
        any::<String>().prop_map(move |value| text(value.into())),
        (0usize..300).prop_map(move |len| text("a".repeat(len).into())),
    ];
    // More than 15 entries take a longer header.
    let long = prop::collection::vec("[0-9]", 0..40).prop_map(|values| array(&values));
    prop_oneof![8 => leaf, 1 => long].prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|values| array(&values)),
            members(inner, 4).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

fn array(values: &[String]) -> String {
    format!("[{}]", values.join(","))
}

/// Up to `most` members of an object in any order, no key twice.
fn members(
    value: impl Strategy<Value = String>,
    most: usize,
) -> impl Strategy<Value = Vec<String>> {
    let key = prop_oneof!["[a-z_]{0,40}", any::<String>()];
    prop::collection::vec((key, value), 0..=most).prop_map(|pairs| {
        let mut seen = BTreeSet::from(["type".to_owned(), CHANNELS_KEY.to_owned()]);
        let fresh = pairs.into_iter().filter(|(key, _)| seen.insert(key.clone()));
        fresh.map(|(key, value)| format!("{}:{value}", serde_json::Value::from(key))).collect()
    })
}

/// An event whose `type` is at any position.
fn events() -> impl Strategy<Value = String> {
    (members(value(), 18), any::<prop::sample::Index>(), "[a-z.ñ\"]{1,40}").prop_map(
        |(mut members, at, kind)| {
            let at = at.index(members.len() + 1);
            members.insert(at, format!("\"type\":{}", serde_json::Value::from(kind)));
            format!("{{{}}}", members.join(","))
        },
    )
}

/// The event with its strings written as serde_json does, not with Python's escapes.
fn plain(event: &Event) -> String {
    let msgpack = codec(Serializer::MsgPack, &[]);
    let read = msgpack.read_bare(&msgpack.write_bare(event, [0; 16], 0)).unwrap();
    String::from_utf8(read.event.json().to_vec()).unwrap()
}

proptest! {
    // Each is an event of up to some hundred values; making them takes most of the time.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn decoding_returns_what_was_encoded(
        text in events(),
        names in prop::collection::vec("[a-z]{1,8}\\.[a-z0-9]{1,4}![a-z0-9]{0,40}", 0..20),
        keys in prop::collection::vec(any::<String>(), 0..3),
        json in any::<bool>(),
        prefix in prop::collection::vec(any::<u8>(), 0..20),
        iv: [u8; 16],
        now in 0..1u64 << 34,
    ) {
        let codec = Codec::new(&CodecSettings {
            serializer: if json { Serializer::Json } else { Serializer::MsgPack },
            keys: keys.into_iter().map(String::into_bytes).collect(),
            random_prefix: prefix.len(),
            ..CodecSettings::default()
        });
        let event = event(&text);
        let channels = [MessageChannels::None, MessageChannels::Many(&names)];
        let one = names.first().map(|name| MessageChannels::One(name));
        for channel in channels.into_iter().chain(one) {
            let read = codec.read(&codec.write(&event, channel, &prefix, iv, now), now).unwrap();
            prop_assert_eq!(plain(&read.event), text.as_str());
            let expected = match channel {
                MessageChannels::None => &[],
                MessageChannels::One(_) => &names[..1],
                MessageChannels::Many(names) => names,
            };
            prop_assert_eq!(read.channels, expected);
        }
        let bare = codec.read_bare(&codec.write_bare(&event, iv, now)).unwrap();
        prop_assert_eq!(plain(&bare.event), text);
    }
}
