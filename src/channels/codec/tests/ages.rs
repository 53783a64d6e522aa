//! How old an encrypted message may be, and what keys do and do not open.

use super::*;

const KEYS: [&str; 2] = ["clave-nueva", "clave-vieja"];

fn written(keys: &[&str]) -> Vec<u8> {
    let event = event(r#"{"type":"aviso"}"#);
    codec(Serializer::MsgPack, keys).write(&event, MessageChannels::None, &[], [7; 16], THEN)
}

#[test]
fn accepts_an_encrypted_message_until_ten_seconds_after_its_expiry() {
    let codec = codec(Serializer::MsgPack, &KEYS);
    let entry = written(&KEYS);
    for now in [THEN, THEN + 70, THEN - 60] {
        assert!(codec.read(&entry, now).is_ok(), "at {now}");
    }
    let stale = codec.read(&entry, THEN + 71).unwrap_err();
    assert_eq!(stale, CodecError::Stale { age: 71, max: 70 });
    assert_eq!(stale.to_string(), "message is 71 s old; at most 70 s are allowed");
    let early = codec.read(&entry, THEN - 61).unwrap_err();
    assert_eq!(early, CodecError::Early { ahead: 61, max: 60 });
    assert!(codec.read(&entry, 0).is_err() && codec.read(&entry, u64::MAX).is_err());
}

#[test]
fn the_pubsub_layer_accepts_any_age() {
    assert!(codec(Serializer::MsgPack, &KEYS).read_bare(&written(&KEYS)).is_ok());
}

#[test]
fn decrypts_with_a_key_that_was_replaced() {
    let entry = written(&KEYS[1..]);
    assert!(codec(Serializer::MsgPack, &KEYS).read(&entry, THEN).is_ok());
    let error = codec(Serializer::MsgPack, &KEYS[..1]).read(&entry, THEN).unwrap_err();
    assert_eq!(error, CodecError::NoKeyFits(1));
}

#[test]
fn distinguishes_clear_and_encrypted_messages() {
    for serializer in [Serializer::MsgPack, Serializer::Json] {
        let clear = codec(serializer, &[]);
        let entry = clear.write_bare(&event(r#"{"type":"a"}"#), [0; 16], THEN);
        let error = codec(serializer, &KEYS).read(&entry, THEN).unwrap_err();
        assert_eq!(error, CodecError::NotEncrypted);
        assert_eq!(clear.read(&written(&KEYS), THEN), Err(CodecError::Encrypted));
    }
}

#[test]
fn refuses_a_token_with_any_byte_changed() {
    let codec = codec(Serializer::MsgPack, &KEYS);
    let entry = written(&KEYS);
    for at in 0..entry.len() {
        let mut changed = entry.clone();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert!(codec.read(&changed, THEN).is_err(), "byte {at}");
        let error = codec.read(&entry[..at], THEN).unwrap_err();
        assert!(matches!(error, CodecError::NotEncrypted | CodecError::Token(_)), "{error}");
    }
    let long = [&entry[..], b"AAAA"].concat();
    assert_eq!(codec.read(&long, THEN), Err(CodecError::NoKeyFits(2)));
}

#[test]
fn refuses_an_entry_shorter_than_its_prefix() {
    let codec = Codec::new(&CodecSettings::default());
    assert_eq!(codec.read(&[0; 11], THEN), Err(CodecError::Short { len: 11, prefix: 12 }));
    let error = codec.read(&[0; 12], THEN).unwrap_err();
    assert_eq!(error, CodecError::Truncated { what: "a message", at: 0 });
}
