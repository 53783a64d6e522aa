//! Bytes that are no message: refused by name, without a panic and without memory.

use proptest::prelude::*;

use super::*;

/// `fixmap {"type": "a", "x": <value>}`
fn with(value: &str) -> Vec<u8> {
    hex(&format!("82a474797065a161a178{value}"))
}

fn read(message: &[u8]) -> Result<Received, CodecError> {
    codec(Serializer::MsgPack, &[]).read(message, THEN)
}

#[test]
fn names_the_position_at_which_input_ends_early() {
    for (value, what) in [
        ("", "a value"),
        ("cc", "a number"),
        ("d300000000000000", "a number"),
        ("cb3ff80000", "a number"),
        ("a3ff", "a string"),
        ("d9", "a string"),
        ("d9ff61", "a string"),
        ("dbffffffff", "a string"),
        ("c403ff", "binary"),
        ("c6ffffffff00", "binary"),
        ("dc00", "an array"),
        ("de", "a map"),
        ("c7", "an extension type"),
        ("d4", "an extension type"),
    ] {
        let error = read(&with(value)).unwrap_err();
        assert_eq!(error, CodecError::Truncated { what, at: 10 }, "{value}");
    }
    for (value, what, at) in [
        ("92c0", "a value", 12),
        ("81", "a key", 11),
        ("81a161", "a value", 13),
        ("ddffffffff", "a value", 15),
        ("dfffffffffa161c0", "a key", 18),
    ] {
        assert_eq!(read(&with(value)), Err(CodecError::Truncated { what, at }), "{value}");
    }
}

#[test]
fn refuses_every_proper_prefix_of_a_message() {
    let whole = with("93cb3ff8000000000000c40200ff82a16101a162d90161");
    assert!(read(&whole).is_ok());
    for len in 0..whole.len() {
        assert!(matches!(read(&whole[..len]), Err(CodecError::Truncated { .. })), "{len}");
    }
}

#[test]
fn names_the_value_that_json_cannot_represent() {
    let extension = |kind| CodecError::Extension { kind, at: 10 };
    for (value, error) in [
        ("c1", CodecError::Reserved(10)),
        ("d6ff00000000", extension(-1)),
        ("d405ff", extension(5)),
        ("c7020700ff", extension(7)),
        ("c8000207ffff", extension(7)),
        ("c9ffffffff08", extension(8)),
        ("8101c0", CodecError::Key { found: "an integer", at: 11 }),
        ("81c0c0", CodecError::Key { found: "nil", at: 11 }),
        ("81c40161c0", CodecError::Key { found: "binary", at: 11 }),
        ("81cb3ff8000000000000c0", CodecError::Key { found: "a float", at: 11 }),
        ("8190c0", CodecError::Key { found: "an array", at: 11 }),
        ("a2c328", CodecError::NotUtf8(10)),
        ("81a1ffc0", CodecError::NotUtf8(11)),
        // A lone surrogate, which Python can be made to write.
        ("a3eda080", CodecError::NotUtf8(10)),
        ("c0c0", CodecError::Trailing(1)),
    ] {
        assert_eq!(read(&with(value)), Err(error), "{value}");
    }
    let error = read(&with("81cc2ac0")).unwrap_err().to_string();
    assert_eq!(error, "message has an integer for a key at byte 11; keys must be strings");
}

#[test]
fn refuses_a_message_that_is_not_a_map() {
    for (message, found) in [
        ("c0", "nil"),
        ("2a", "an integer"),
        ("90", "an array"),
        ("a161", "a string"),
        ("c40100", "binary"),
        ("c2", "a boolean"),
        ("c1", "byte 0xc1"),
        ("d40000", "an extension type"),
    ] {
        assert_eq!(read(&hex(message)), Err(CodecError::NotMap(found)));
    }
    assert_eq!(read(&[]), Err(CodecError::Truncated { what: "a message", at: 0 }));
}

#[test]
fn refuses_a_message_that_is_not_a_valid_event() {
    use crate::event::EventError;

    for (message, error) in [
        ("80", EventError::NoType),
        ("81a47479706501", EventError::BadType("1".to_owned())),
        ("82a474797065a161a474797065a162", EventError::DuplicateKey("type".to_owned())),
        ("82a474797065a161a17882a16101a16102", EventError::DuplicateKey("a".to_owned())),
    ] {
        assert_eq!(read(&hex(message)), Err(CodecError::Event(error)));
    }
}

#[test]
fn refuses_illegal_or_repeated_channels() {
    let key = "b05f5f617367695f6368616e6e656c5f5f";
    let read = |rest: &str| read(&hex(&format!("83a474797065a161{key}{rest}")));
    for (value, found) in [("01", "an integer"), ("c0", "nil"), ("92a16101", "an integer")] {
        let error = read(value).unwrap_err();
        assert_eq!(error, CodecError::Channels(format!("with {found}")));
    }
    assert_eq!(read(&format!("a161{key}a162")), Err(CodecError::ChannelsTwice));
    let truncated = read("ddffffffffa161");
    assert!(matches!(truncated, Err(CodecError::Truncated { what: "a value", .. })));
    let taken_out = read("dc0002a161d90162a178c0").unwrap();
    assert_eq!(taken_out, received(r#"{"type":"a","x":null}"#, &["a", "b"]));
}

#[test]
fn limits_nesting_as_in_events() {
    let nested = |open: &str, depth: usize| with(&(open.repeat(depth - 1) + "90"));
    let array = read(&nested("91", Event::MAX_DEPTH - 1)).unwrap();
    assert_eq!(array.event.json().iter().filter(|byte| **byte == b'[').count(), 31);
    assert_eq!(read(&nested("91", Event::MAX_DEPTH)), Err(CodecError::TooDeep));
    assert!(read(&nested("81a178", Event::MAX_DEPTH - 1)).is_ok());
    assert_eq!(read(&nested("81a178", Event::MAX_DEPTH)), Err(CodecError::TooDeep));
    assert_eq!(read(&nested("91", 1_000_000)), Err(CodecError::TooDeep));
    let json = format!(r#"{{"type":"a","x":{}"#, "[".repeat(1_000_000));
    assert!(codec(Serializer::Json, &[]).read(json.as_bytes(), THEN).is_err());
}

#[test]
fn decodes_numbers_of_every_width_exactly() {
    for (value, text) in [
        ("cd0001", "1"),
        ("cf0000000000000001", "1"),
        ("d3ffffffffffffffff", "-1"),
        ("d1ff7f", "-129"),
        ("d27fffffff", "2147483647"),
        ("d080", "-128"),
        ("ca3dcccccd", "0.10000000149011612"),
        ("cb3fb999999999999a", "0.1"),
        ("cb8000000000000000", "-0.0"),
        ("cb7fefffffffffffff", "1.7976931348623157e+308"),
        ("cb7ff8000000000000", "null"),
        ("cbfff0000000000000", "null"),
        ("ca7f800000", "null"),
    ] {
        let json = read(&with(value)).unwrap().event.json().clone();
        assert_eq!(json, format!(r#"{{"type":"a","x":{text}}}"#), "{value}");
    }
}

/// Decodes `message` with every codec. Returns the peak of memory.
fn memory_of_reading(message: &[u8]) -> u64 {
    let codecs = [Serializer::MsgPack, Serializer::Json]
        .into_iter()
        .flat_map(|serializer| [codec(serializer, &[]), codec(serializer, &["clave"])]);
    let used = codecs.map(|codec| {
        let info = allocation_counter::measure(|| drop(codec.read(message, THEN)));
        info.bytes_max
    });
    used.max().unwrap()
}

/// Reading holds at most this much for a message of `len` bytes: the JSON, whose control characters
/// take six bytes each, while it grows by doubling, and the keys of [`Event::parse`].
fn allowance(len: usize) -> u64 {
    u64::try_from(4096 + 64 * len).unwrap()
}

#[test]
fn allocates_nothing_for_lengths_in_headers() {
    for message in [
        hex("dfffffffff"),
        hex("dfffffffffa161c0"),
        with("ddffffffff"),
        with("dbffffffff"),
        with("c6ffffffff"),
        with("c9ffffffff00"),
        hex("81b05f5f617367695f6368616e6e656c5f5fddffffffff"),
    ] {
        assert!(memory_of_reading(&message) <= allowance(message.len()), "{message:02x?}");
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(message in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(memory_of_reading(&message) <= allowance(message.len()));
    }

    #[test]
    fn random_values_never_panic(value in prop::collection::vec(any::<u8>(), 0..60)) {
        let message = [with(""), value].concat();
        prop_assert!(memory_of_reading(&message) <= allowance(message.len()));
        if let Ok(first) = read(&message) {
            let codec = codec(Serializer::MsgPack, &[]);
            let channels = MessageChannels::Many(&first.channels);
            let again = codec.write(&first.event, channels, &[], [0; 16], 0);
            prop_assert_eq!(codec.read(&again, 0).unwrap(), first);
        }
    }

    #[test]
    fn changed_json_never_panics(
        at in 0usize..60, to in prop::sample::select(b"{}[],:\"\\ 1NaI\x80".to_vec()),
    ) {
        let mut text = *br#"{"type": "a", "__asgi_channel__": ["b"], "n": [1, {"o": NaN}]}"#;
        text[at] = to;
        prop_assert!(memory_of_reading(&text) <= allowance(text.len()));
    }
}
