//! Messages as the libraries of publishers write them, and what is refused of them.

use std::time::{Duration, Instant};

use super::decode::AmqpDecoder;
use super::refusal::AmqpReason;
use crate::amqp::AmqpDelivery;
use crate::event::{PublicationId, Target};
use crate::layer::KeyedPublication;

const EVENT: &[u8] = br#"{"type":"venta"}"#;

fn decode(
    key: &str,
    body: &[u8],
    properties: &[(&str, &str)],
) -> Result<KeyedPublication, AmqpReason> {
    let decoder = AmqpDecoder::new("groupcast.shop", 64);
    let message = AmqpDelivery::example(key, body, properties);
    decoder.decode(&message).map_err(|refusal| refusal.reason())
}

#[test]
fn takes_messages_as_the_libraries_write_them() {
    let libraries: [(&str, &[(&str, &str)]); 5] = [
        ("pika", &[]),
        ("aio-pika", &[("type", "None")]),
        ("kombu", &[("content_type", "application/json"), ("content_encoding", "utf-8")]),
        ("amqplib", &[("content_type", "application/json; charset=utf-8")]),
        ("others", &[("content_type", "application/vnd.shop+json"), ("content_encoding", "")]),
    ];
    for (library, properties) in libraries {
        let KeyedPublication { publication, key } = decode("ventas_7", EVENT, properties).unwrap();
        assert_eq!(publication.event.kind(), "venta", "{library}");
        assert!(key.is_none(), "{library} gives no id by itself");
    }
}

#[test]
fn the_routing_key_names_the_target() {
    let target = |key: &str| decode(key, EVENT, &[]).map(|keyed| keyed.publication.target);
    assert!(matches!(target("order.42"), Ok(Target::Group(name)) if name.as_str() == "order.42"));
    assert_eq!(target("user:ana:7"), Ok(Target::User("ana:7".into())));
    assert!(matches!(target("connection:k3f5a2bq-17"), Ok(Target::Connection(_))));
    assert_eq!(target("all:"), Ok(Target::All));
    let wrong = ["", "..", "a b", "user:", "connection:7", "all:x", "group:a", "all", "*", "#"];
    for key in wrong {
        let is_group = key == "all";
        assert_eq!(target(key).is_ok(), is_group, "{key:?}");
    }
}

#[test]
fn names_why_a_body_cannot_be_used() {
    let large = format!(r#"{{"type":"{}"}}"#, "a".repeat(60));
    type Wrong<'a> = (&'a [u8], &'a [(&'a str, &'a str)], AmqpReason);
    let wrong: [Wrong<'_>; 9] = [
        (b"", &[], AmqpReason::Event),
        (b"[1]", &[], AmqpReason::Event),
        (b"{\"a\":1}", &[], AmqpReason::Event),
        (b"\x80\x04\x95", &[], AmqpReason::Event),
        (EVENT, &[("content_type", "application/x-python-serialize")], AmqpReason::ContentType),
        (EVENT, &[("content_encoding", "gzip")], AmqpReason::ContentEncoding),
        (EVENT, &[("compression", "application/x-gzip")], AmqpReason::Compressed),
        (EVENT, &[("expiration", "soon")], AmqpReason::Expiration),
        (large.as_bytes(), &[], AmqpReason::TooLarge),
    ];
    for (body, properties, reason) in wrong {
        assert_eq!(decode("ventas_7", body, properties).err(), Some(reason), "{properties:?}");
    }
}

#[test]
fn expires_as_its_publisher_says() {
    let of = |text| decode("ventas_7", EVENT, &[("expiration", text)]).unwrap().publication;
    let deadline = of("60000").deadline.unwrap();
    let left = deadline.saturating_duration_since(Instant::now());
    assert!(left > Duration::from_secs(50) && left <= Duration::from_secs(60), "{left:?}");
    // The longest that RabbitMQ takes.
    assert!(of("4294967295").deadline.unwrap() > deadline);
}

#[test]
fn the_same_message_has_the_same_key_and_id_and_no_other_has() {
    let of = |key, body, id| {
        let keyed = decode(key, body, &[("message_id", id)]).unwrap();
        (keyed.publication.id, keyed.key.unwrap())
    };
    let first = of("ventas_7", EVENT, "a");
    assert_eq!(of("ventas_7", EVENT, "a"), first);
    let (id, other_content) = of("ventas_7", br#"{"type":"otra"}"#, "a");
    assert_eq!((id, other_content.key), (first.0, first.1.key));
    assert_ne!(other_content.content, first.1.content);
    assert_ne!(of("ventas_7", EVENT, "b").1.key, first.1.key);
    assert_ne!(of("ventas_8", EVENT, "a").0, first.0);
    let ids: Vec<PublicationId> =
        (0..2).map(|_| decode("a", EVENT, &[]).unwrap().publication.id).collect();
    assert_ne!(ids[0], ids[1], "without an id each is another");
}
