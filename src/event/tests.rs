use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

fn parse(text: &str) -> Result<Event, EventError> {
    Event::parse(Bytes::copy_from_slice(text.as_bytes()))
}

/// An event of arrays and objects `depth` deep, its own object included.
fn nested(depth: usize) -> String {
    let inside = depth - 1;
    format!(r#"{{"type":"a","x":{}{}}}"#, "[".repeat(inside), "]".repeat(inside))
}

#[test]
fn keeps_an_event_byte_for_byte_without_surrounding_space() {
    for (text, kept, kind) in [
        (r#"{"type":"aviso"}"#, r#"{"type":"aviso"}"#, "aviso"),
        ("\r\n\t {\"type\":\"a\"} \n", "{\"type\":\"a\"}", "a"),
        (r#"{ "n": 1.50e2, "type" : "a" }"#, r#"{ "n": 1.50e2, "type" : "a" }"#, "a"),
        (r#"{"type":"a\u00f1o.nuevo"}"#, r#"{"type":"a\u00f1o.nuevo"}"#, "año.nuevo"),
        (r#"{"\u0074ype":"a"}"#, r#"{"\u0074ype":"a"}"#, "a"),
        (r#"{"type":"a","x":{"type":5}}"#, r#"{"type":"a","x":{"type":5}}"#, "a"),
    ] {
        let event = parse(text).unwrap();
        assert_eq!((event.json().as_ref(), event.kind()), (kept.as_bytes(), kind));
    }
}

#[test]
fn refuses_json_that_is_not_an_object_and_quotes_its_beginning() {
    for (text, found) in
        [("", ""), ("  ", ""), ("[{}]", "[{}]"), ("7", "7"), ("\u{feff}{}", "\u{feff}{}")]
    {
        assert_eq!(parse(text), Err(EventError::NotObject(found.to_owned())));
    }
    assert_eq!(Event::parse(Bytes::from_static(b"{\"a\xff")), Err(EventError::NotUtf8(3)));
}

#[test]
fn refuses_invalid_json_with_its_position() {
    for text in [
        "{",
        r#"{"type":"a""#,
        r#"{"type":"a"}}"#,
        r#"{"type":"a"} {"type":"b"}"#,
        r#"{"type":"a",}"#,
        r#"{"type":"a","n":01}"#,
        r#"{"type":"a","n":NaN}"#,
        r#"{"type":"a","n":1e999}"#,
        r#"{"type":"a","s":"\ud800"}"#,
        r#"{"type":"a","s":"\x"}"#,
        "{\"type\":\"a\",\"s\":\"\n\"}",
        "{'type':'a'}",
    ] {
        let error = parse(text).unwrap_err();
        assert!(matches!(&error, EventError::Json(_)), "{text}: {error}");
        assert!(error.to_string().contains(" at line "), "{text}: {error}");
    }
}

#[test]
fn requires_a_type_of_1_to_128_bytes() {
    assert_eq!(parse("{}"), Err(EventError::NoType));
    assert_eq!(parse(r#"{"Type":"a"}"#), Err(EventError::NoType));
    for value in ["5", "null", r#""""#, r#"["a"]"#, "{}", "true", r#""\ud800""#] {
        let error = parse(&format!(r#"{{"type":{value}}}"#)).unwrap_err();
        assert_eq!(error, EventError::BadType(value.to_owned()));
    }
    let of_length = |len| parse(&format!(r#"{{"type":"{}"}}"#, "t".repeat(len)));
    assert_eq!(of_length(128).unwrap().kind().len(), 128);
    let message = of_length(129).unwrap_err().to_string();
    assert!(message.ends_with("; a string of 1 to 128 bytes is required"), "{message}");
    assert!(message.len() < 120, "the value is cut: {message}");
}

#[test]
fn refuses_the_types_of_the_client_library_however_they_are_escaped() {
    for (value, kind) in [("$gap", "$gap"), ("*", "*"), (r"\u0024left", "$left"), ("$", "$")] {
        let error = parse(&format!(r#"{{"type":"{value}"}}"#)).unwrap_err();
        assert_eq!(error, EventError::ReservedType(kind.to_owned()));
    }
    for value in ["gap$", "**", "a*"] {
        assert_eq!(parse(&format!(r#"{{"type":"{value}"}}"#)).unwrap().kind(), value);
    }
}

#[test]
fn refuses_a_repeated_key_however_it_is_escaped() {
    let many = (0..2000).map(|n| format!("\"k{n}\":{n},")).collect::<String>();
    for (members, twice) in [
        (r#""type":"b""#.to_owned(), "type"),
        (r#""\u0074ype":"b""#.to_owned(), "type"),
        (r#""a":1,"b":2,"a":3"#.to_owned(), "a"),
        (r#""x":[{"ñ":1,"\u00f1":2}]"#.to_owned(), "ñ"),
        (format!(r#""x":{{{many}"k77":0}}"#), "k77"),
        (format!(r#"{many}"k1999":0"#), "k1999"),
    ] {
        let error = parse(&format!(r#"{{"type":"a",{members}}}"#)).unwrap_err();
        assert_eq!(error, EventError::DuplicateKey(twice.to_owned()));
    }
    for members in [
        r#""x":{"type":1},"y":{"type":2}"#.to_owned(),
        r#""x":{"x":{"x":[{"x":1},{"x":2}]}}"#.to_owned(),
        format!(r#"{many}"x":{{{many}"z":0}}"#),
    ] {
        assert!(parse(&format!(r#"{{"type":"a",{members}}}"#)).is_ok());
    }
}

#[test]
fn limits_nesting() {
    assert!(parse(&nested(Event::MAX_DEPTH)).is_ok());
    assert_eq!(parse(&nested(Event::MAX_DEPTH + 1)), Err(EventError::TooDeep));
    assert_eq!(parse(&nested(30_000)), Err(EventError::TooDeep));
    let objects = format!("{{\"type\":\"a\",\"x\":{}", r#"{"x":"#.repeat(10_000));
    assert_eq!(parse(&objects), Err(EventError::TooDeep));
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(40, 60, 3, |inside| {
        prop_oneof![
            proptest::collection::vec(inside.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[ab\"\\\\ñ]{0,2}", inside, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn accepts_what_a_parsed_tree_would_accept(
        kind in "[a-z_.]{0,4}",
        members in proptest::collection::btree_map("[a-z\"\\\\]{1,3}", json_value(), 0..12),
        pretty in any::<bool>(),
        damage in proptest::option::of((any::<prop::sample::Index>(), "[\\[\\]{}\",: 0a]")),
    ) {
        let mut object = Map::from_iter(members);
        object.insert("type".to_owned(), kind.into());
        let value = Value::Object(object);
        let mut text = if pretty { format!("{value:#}") } else { value.to_string() };
        if let Some((place, damage)) = damage {
            let places = text.char_indices().map(|(i, c)| i..i + c.len_utf8()).collect::<Vec<_>>();
            text.replace_range(place.get(&places).clone(), &damage);
        }
        let ours = parse(&text);
        prop_assume!(!matches!(ours, Err(EventError::DuplicateKey(_))));
        let tree = serde_json::from_str::<Value>(&text).ok().filter(|tree| {
            let kind = tree.get("type").and_then(Value::as_str).unwrap_or("");
            tree.is_object() && !kind.is_empty() && depth(tree) <= Event::MAX_DEPTH
        });
        let kind = tree.as_ref().map(|tree| tree["type"].as_str().unwrap());
        prop_assert_eq!(ours.as_ref().ok().map(Event::kind), kind);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Event::parse(bytes.into());
    }

    #[test]
    fn parses_the_ids_that_it_writes(
        random in any::<[u8; 5]>(),
        serial in 1..=u64::MAX,
        id in any::<u128>(),
    ) {
        let connection = ConnectionId { instance: InstanceId::from_random(random), serial };
        prop_assert_eq!(connection.to_string().parse(), Ok(connection));
        prop_assert_eq!(PublicationId(id).to_string().parse(), Ok(PublicationId(id)));
    }
}

#[test]
fn refuses_malformed_ids() {
    for text in
        ["", "k3f5a2bq", "k3f5a2bq-", "k3f5a2bq-0", "k3f5a2bq-01", "K3f5a2bq-1", "k3f5a2bq-+1"]
    {
        assert_eq!(text.parse::<ConnectionId>(), Err(IdError::Connection(text.to_owned())));
    }
    for text in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAAAB"] {
        assert_eq!(text.parse::<PublicationId>(), Err(IdError::Publication(text.to_owned())));
    }
}

#[test]
fn excludes_connections_and_users_by_name() {
    let id = |serial| ConnectionId { instance: InstanceId::from_random([7; 5]), serial };
    let except = Except { connections: vec![id(1)], users: vec!["7".into()], owner: None };
    assert!(except.holds(id(1), "8") && except.holds(id(2), "7"));
    assert!(!except.holds(id(2), "8") && !except.is_empty());
    assert!(Except::default().is_empty());
}

#[test]
fn excludes_a_previous_connection_of_its_owner_alone() {
    let id = |serial| ConnectionId { instance: InstanceId::from_random([7; 5]), serial };
    let owned = |owner: Option<&str>| Except {
        connections: vec![id(1)],
        owner: owner.map(Into::into),
        ..Except::default()
    };
    assert!(owned(Some("7")).holds_previous(id(1), "7"));
    assert!(!owned(Some("7")).holds_previous(id(1), "8"), "somebody else's connection");
    assert!(!owned(Some("7")).holds_previous(id(2), "7"));
    assert!(owned(None).holds_previous(id(1), "8"), "it is unknown whose it was");
}
