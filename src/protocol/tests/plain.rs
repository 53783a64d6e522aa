use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::text;
use crate::event::Event;
use crate::protocol::{EventShape, Shape, ShapeError};

fn event(json: &str) -> Event {
    Event::parse(Bytes::copy_from_slice(json.as_bytes())).unwrap()
}

fn shape<const N: usize>(events: [(&str, EventShape); N]) -> Result<Shape, ShapeError> {
    Shape::new(events.into_iter().map(|(name, event)| (name.to_owned(), event)).collect())
}

fn keep(members: &[&str]) -> Option<Vec<String>> {
    Some(members.iter().map(|member| (*member).to_owned()).collect())
}

/// What a browser sees of `json` on a route that lists its event alone.
fn shown(listed: EventShape, json: &str) -> Option<String> {
    let shape = shape([("aviso", listed)]).unwrap();
    shape.encode(&event(json)).map(|frame| text(&frame).to_owned())
}

const AVISO: &str = r#"{"a": 1.50, "type": "aviso", "b":{"x":[ ]},"c":"\u00f1"}"#;

#[test]
fn without_a_list_sends_every_event_unchanged() {
    for shape in [Shape::verbatim(), Shape::default()] {
        assert_eq!(text(&shape.encode(&event(AVISO)).unwrap()), AVISO);
    }
    assert_eq!(shown(EventShape::default(), AVISO).as_deref(), Some(AVISO));
}

#[test]
fn sends_only_listed_events() {
    let shape = shape([("pedido.nuevo", EventShape::default())]).unwrap();
    for (name, listed) in [
        ("pedido.nuevo", true),
        ("pedido_nuevo", true),
        ("pedido.nuevo.x", false),
        ("pedido", false),
        ("Pedido.nuevo", false),
    ] {
        let event = event(&json!({ "type": name }).to_string());
        assert_eq!(shape.encode(&event).is_some(), listed, "{name}");
    }
    assert_eq!(Shape::new(BTreeMap::new()).unwrap().encode(&event(AVISO)), None);
}

#[test]
fn renaming_and_keeping_members_preserves_values_and_order() {
    let rename = Some("nueva \"venta\"".to_owned());
    for (listed, expected) in [
        (
            EventShape { rename: rename.clone(), ..EventShape::default() },
            r#"{"a":1.50,"type":"nueva \"venta\"","b":{"x":[ ]},"c":"\u00f1"}"#,
        ),
        (
            EventShape { keep: keep(&["c", "a", "missing"]), ..EventShape::default() },
            r#"{"a":1.50,"type":"aviso","c":"\u00f1"}"#,
        ),
        (EventShape { keep: keep(&[]), ..EventShape::default() }, r#"{"type":"aviso"}"#),
        (
            EventShape { rename, keep: keep(&["type", "b"]), body: None },
            r#"{"type":"nueva \"venta\"","b":{"x":[ ]}}"#,
        ),
    ] {
        assert_eq!(shown(listed, AVISO).as_deref(), Some(expected));
    }
}

#[test]
fn a_body_sends_one_member_and_a_string_as_bare_text() {
    for (member, expected) in [
        ("c", Some("ñ")),
        ("a", Some("1.50")),
        ("b", Some(r#"{"x":[ ]}"#)),
        ("type", Some("aviso")),
        ("missing", None),
    ] {
        let listed = EventShape { body: Some(member.to_owned()), ..EventShape::default() };
        assert_eq!(shown(listed, AVISO).as_deref(), expected);
    }
    let listed = EventShape { body: Some("m".to_owned()), ..EventShape::default() };
    assert_eq!(shown(listed, r#"{"type":"aviso","m":null}"#).as_deref(), Some("null"));
}

#[test]
fn refuses_ambiguous_event_lists() {
    assert_eq!(
        shape([("a.b", EventShape::default()), ("a_b", EventShape::default())]),
        Err(ShapeError::SameName("a.b".to_owned(), "a_b".to_owned()))
    );
    let body = EventShape { body: Some("m".to_owned()), ..EventShape::default() };
    for listed in [
        EventShape { rename: Some("x".to_owned()), ..body.clone() },
        EventShape { keep: keep(&[]), ..body },
    ] {
        let expected = Err(ShapeError::BodyNotAlone("aviso".to_owned()));
        assert_eq!(shape([("aviso", listed)]), expected);
    }
}

proptest! {
    #[test]
    fn shapes_events_as_an_edited_tree_would(
        members in proptest::collection::btree_map("[a-d\"\\\\ñ]{1,2}", any::<i64>(), 0..6),
        kept in proptest::option::of(proptest::collection::vec("[a-d\"\\\\ñ]{1,2}", 0..6)),
        rename in proptest::option::of("\\PC{0,5}"),
    ) {
        let mut tree = members.into_iter().map(|(k, v)| (k, v.into())).collect::<Map<_, _>>();
        tree.insert("type".to_owned(), "aviso".into());
        let json = Value::Object(tree.clone()).to_string();
        let listed = EventShape { rename: rename.clone(), keep: kept.clone(), body: None };
        if let Some(kept) = kept {
            tree.retain(|name, _| name == "type" || kept.contains(name));
        }
        if let Some(new) = rename {
            tree.insert("type".to_owned(), new.into());
        }
        let shown: Value = serde_json::from_str(&shown(listed, &json).unwrap()).unwrap();
        prop_assert_eq!(shown, Value::Object(tree));
    }
}
