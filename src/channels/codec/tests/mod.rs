//! Bytes that the codec must know, bytes that it must refuse, and that nothing is lost both ways.

mod ages;
mod golden;
mod json;
mod malformed;
mod round_trip;

use bytes::Bytes;
use data_encoding::HEXLOWER;

use super::*;

/// When the samples were written.
const THEN: u64 = 1_700_000_000;

fn event(json: &str) -> Event {
    Event::parse(Bytes::copy_from_slice(json.as_bytes())).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

/// A codec without prefix.
fn codec(serializer: Serializer, keys: &[&str]) -> Codec {
    let keys = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
    Codec::new(&CodecSettings { serializer, keys, random_prefix: 0, ..CodecSettings::default() })
}

fn received(json: &str, channels: &[&str]) -> Received {
    Received { event: event(json), channels: channels.iter().map(|&name| name.into()).collect() }
}

#[test]
fn never_shows_a_key() {
    let settings =
        CodecSettings { keys: vec![b"clave-nueva".to_vec()], ..CodecSettings::default() };
    for shown in [format!("{settings:?}"), format!("{:?}", Codec::new(&settings))] {
        assert!(shown.contains("keys: 1"), "{shown}");
        assert!(!shown.contains("clave") && !shown.contains("99, 108"), "{shown}");
    }
}

#[test]
fn an_event_must_not_name_a_channel() {
    let clean = r#"{"type":"a","x":{"__asgi_channel__":"kept"}}"#;
    for forged in [
        r#"{"type":"a","__asgi_channel__":"victim","x":{"__asgi_channel__":"kept"}}"#,
        r#"{"__asgi_channel__":["victim"],"type":"a","x":{"__asgi_channel__":"kept"}}"#,
        r#"{"type":"a","x":{"__asgi_channel__":"kept"},"__asgi_channel\u005f_":{"a":[1,2]}}"#,
    ] {
        for serializer in [Serializer::MsgPack, Serializer::Json] {
            let codec = codec(serializer, &[]);
            let bare = codec.write_bare(&event(forged), [0; 16], THEN);
            assert_eq!(bare, codec.write_bare(&event(clean), [0; 16], THEN));
            let entry =
                codec.write(&event(forged), MessageChannels::One("gw!1"), &[], [0; 16], THEN);
            assert_eq!(codec.read(&entry, THEN).unwrap().channels, ["gw!1"]);
        }
    }
}
