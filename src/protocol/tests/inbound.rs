use std::borrow::Cow;

use proptest::prelude::*;

use crate::protocol::*;

/// The message and the id of a frame that cannot be used.
fn complaint(text: &str) -> (Option<u64>, String) {
    match parse(text) {
        Err(FrameError::Unusable { id, message }) => (id, message),
        other => panic!("{text} gave {other:?}"),
    }
}

fn bare(group: &str) -> JoinEntry<'_> {
    JoinEntry { group: group.into(), since: None, fault: None }
}

fn since<'a>(group: &'a str, epoch: &'a str, offset: u64) -> JoinEntry<'a> {
    JoinEntry { group: group.into(), since: Some((epoch.into(), offset)), fault: None }
}

#[test]
fn parses_every_frame() {
    let hello = concat!(
        r#"{"type":"hello","token":"t","client":"groupcast-js/1.0.0","previous":"k3f5a2bq-17","#,
        r#""since":{"usuario_7":{"epoch":"1.1","offset":118}}}"#
    );
    let Ok(ClientFrame::Hello { token, client, previous, since: positions }) = parse(hello) else {
        panic!()
    };
    assert_eq!(previous.as_deref(), Some("k3f5a2bq-17"));
    assert_eq!((token.as_deref(), client.as_deref()), (Some("t"), Some("groupcast-js/1.0.0")));
    assert_eq!(positions, [since("usuario_7", "1.1", 118)]);

    let join = concat!(
        r#"{"type":"join","id":1,"groups":["a",{"group":"b"},{"group":"c","since":null},"#,
        r#"{"group":"d","since":{"offset":0,"epoch":"2.1"}}]}"#
    );
    let Ok(ClientFrame::Join { id: 1, groups }) = parse(join) else { panic!() };
    assert_eq!(groups, [bare("a"), bare("b"), bare("c"), since("d", "2.1", 0)]);

    let leave = r#" {"groups":["a"],"id":2,"type":"leave"} "#;
    let Ok(ClientFrame::Leave { id: 2, groups }) = parse(leave) else { panic!() };
    assert_eq!(groups, [bare("a")]);

    let send = concat!(
        r#"{"type":"send","id":3,"group":"sala_1","data":{"type":"a", "n":1.0},"#,
        r#""echo":false,"key":"k"}"#
    );
    let Ok(ClientFrame::Send { id: 3, group, data, echo: false, key }) = parse(send) else {
        panic!()
    };
    assert_eq!((&*group, data.get()), ("sala_1", r#"{"type":"a", "n":1.0}"#));
    assert_eq!(key.as_deref(), Some("k"));

    let call = r#"{"type":"call","id":4,"name":"marcar_leida","data":[1, 2]}"#;
    let Ok(ClientFrame::Call { id: 4, name, data, key: None }) = parse(call) else { panic!() };
    assert_eq!((&*name, data.unwrap().get()), ("marcar_leida", "[1, 2]"));

    let auth = parse(r#"{"type":"auth","id":5,"token":"t"}"#);
    assert!(matches!(auth, Ok(ClientFrame::Auth { id: 5, token }) if token == "t"));
    assert!(matches!(parse(r#"{"type":"pong"}"#), Ok(ClientFrame::Pong)));
}

#[test]
fn missing_and_null_members_have_their_defaults() {
    for hello in [
        r#"{"type":"hello"}"#,
        r#"{"type":"hello","token":null,"client":null,"previous":null,"since":null}"#,
        r#"{"type":"hello","since":{}}"#,
    ] {
        let Ok(ClientFrame::Hello { token: None, client: None, previous: None, since }) =
            parse(hello)
        else {
            panic!("{hello}")
        };
        assert_eq!(since, []);
    }
    let send = parse(r#"{"type":"send","id":0,"group":"a","data":1,"echo":null,"key":null}"#);
    assert!(matches!(send, Ok(ClientFrame::Send { echo: true, key: None, .. })));
    let call = parse(r#"{"type":"call","id":0,"name":"a","data":null}"#);
    assert!(matches!(call, Ok(ClientFrame::Call { data: None, .. })));
}

#[test]
fn ignores_unknown_members_and_those_of_other_frames() {
    let text = concat!(
        r#"{"type":"join","id":1,"v":{"x":[1]},"echo":5,"token":{},"#,
        r#""groups":[{"group":"a","x":1}]}"#
    );
    assert!(matches!(parse(text), Ok(ClientFrame::Join { id: 1, groups }) if groups.len() == 1));
}

#[test]
fn borrows_texts_without_escapes() {
    let text = concat!(
        r#"{"type":"join","id":1,"groups":["a",{"group":"b","since":{"epoch":"1.1","offset":1}},"#,
        r#""\u0061",{"group":"\u0062"}]}"#
    );
    let Ok(ClientFrame::Join { groups, .. }) = parse(text) else { panic!() };
    let borrowed = |text: &Cow<'_, str>| matches!(text, Cow::Borrowed(_));
    assert_eq!(groups.iter().map(|e| &*e.group).collect::<Vec<_>>(), ["a", "b", "a", "b"]);
    let are_borrowed = groups.iter().map(|e| borrowed(&e.group)).collect::<Vec<_>>();
    assert_eq!(are_borrowed, [true, true, false, false]);
    assert!(borrowed(&groups[1].since.as_ref().unwrap().0));

    let text = r#"{"type":"hello","token":"t","client":"c\n"}"#;
    let Ok(ClientFrame::Hello { token, client, .. }) = parse(text) else { panic!() };
    assert!(borrowed(&token.unwrap()) && !borrowed(&client.unwrap()));
}

#[test]
fn refuses_a_frame_that_is_not_an_object_with_a_type() {
    for text in [
        "",
        "null",
        "5",
        r#""hello""#,
        "[]",
        r#"["pong"]"#,
        "{}",
        r#"{"id":1}"#,
        r#"{"type":5}"#,
        r#"{"type":null}"#,
        r#"{"type":"pong""#,
        r#"{"type":"pong"}}"#,
        r#"{"type":"pong"} {}"#,
        r#"{"type":"pong","type":"hello"}"#,
        r#"{"type":"pong","\u0074ype":"hello"}"#,
        "\u{c}{\"type\":\"pong\"}",
        "hola",
    ] {
        assert_eq!(parse(text).unwrap_err(), FrameError::NotAFrame, "{text}");
    }
}

#[test]
fn answers_an_unknown_type_with_the_known_ones() {
    let (id, message) = complaint(r#"{"type":"subscribe","id":9}"#);
    assert_eq!(id, Some(9));
    assert_eq!(
        message,
        r#"type "subscribe" is not known; hello, join, leave, send, call, auth, ping and pong are"#
    );
    let (_, message) = complaint(&format!(r#"{{"type":"{}"}}"#, "ñ".repeat(5000)));
    assert!(message.len() < 200, "{message}");
}

#[test]
fn accepts_integer_ids_that_javascript_represents_exactly() {
    let join = |id: &str| format!(r#"{{"type":"join","id":{id},"groups":["a"]}}"#);
    for id in [0, 1, MAX_ID] {
        let text = join(&id.to_string());
        assert!(matches!(parse(&text), Ok(ClientFrame::Join { id: read, .. }) if read == id));
    }
    for id in ["-1", "1.0", "1e3", r#""1""#, "true", "[]", "9007199254740992", "1e999"] {
        let (read, message) = complaint(&join(id));
        let expected = format!(r#""id" is {id}; an integer from 0 to 9007199254740991 is allowed"#);
        assert_eq!((read, message), (None, expected));
    }
    let expected = r#"join needs "id": an integer from 0 to 9007199254740991"#.to_owned();
    assert_eq!(complaint(r#"{"type":"join","groups":["a"]}"#), (None, expected.clone()));
    assert_eq!(complaint(&join("null")), (None, expected));
}

#[test]
fn every_error_names_the_member_the_value_and_what_is_allowed() {
    for (frame, expected) in [
        (r#""type":"join""#, r#"join needs "groups": a list of 1 to 1024 groups"#),
        (
            r#""type":"join","groups":"a""#,
            r#""groups" is "a"; a list of 1 to 1024 groups is allowed"#,
        ),
        (
            r#""type":"leave","groups":[]"#,
            r#""groups" has 0 entries; a list of 1 to 1024 groups is allowed"#,
        ),
        (
            r#""type":"hello","since":["a"]"#,
            r#""since" is ["a"]; an object of group names is allowed"#,
        ),
        (r#""type":"hello","client":1"#, r#""client" is 1; a string is allowed"#),
        (r#""type":"hello","token":{"a":"secret"}"#, r#""token" is not a string"#),
        (r#""type":"auth","token":["secret"]"#, r#""token" is not a string"#),
        (r#""type":"auth""#, r#"auth needs "token": a string"#),
        (r#""type":"send","data":{}"#, r#"send needs "group": a group name"#),
        (r#""type":"send","group":5,"data":{}"#, r#""group" is 5; a group name is allowed"#),
        (r#""type":"send","group":"a""#, r#"send needs "data": an event, such as {"type":"a"}"#),
        (
            r#""type":"send","group":"a","data":{},"echo":"no""#,
            r#""echo" is "no"; true or false is allowed"#,
        ),
        (r#""type":"send","group":"a","data":{},"key":7"#, r#""key" is 7; a string is allowed"#),
        (r#""type":"call""#, r#"call needs "name": a string"#),
        ("\"type\":\"call\",\"name\":[1,\r\n2]", r#""name" is [1,  2]; a string is allowed"#),
    ] {
        let (id, message) = complaint(&format!(r#"{{"id":6,{frame}}}"#));
        assert_eq!((id, &*message), (Some(6), expected));
    }
}

#[test]
fn an_invalid_entry_does_not_affect_the_others_of_its_frame() {
    let entry = r#"a name or {"group":"a","since":{"epoch":"1.1","offset":0}} is allowed"#;
    let position = r#"{"epoch":"1.1","offset":0} is allowed"#;
    for (written, group, fault) in [
        ("5", "", format!("an entry of \"groups\" is 5; {entry}")),
        ("null", "", format!("an entry of \"groups\" is null; {entry}")),
        ("[\"a\",null]", "", format!("an entry of \"groups\" is [\"a\",null]; {entry}")),
        (r#"{"group":7}"#, "", format!(r#"an entry of "groups" is {{"group":7}}; {entry}"#)),
        (
            r#"{"group":"b","since":["1.1",0]}"#,
            "b",
            format!(r#""since" of group "b" is ["1.1",0]; {position}"#),
        ),
        (
            r#"{"group":"b","since":{"epoch":"1.1","offset":-1}}"#,
            "b",
            format!(r#""since" of group "b" is {{"epoch":"1.1","offset":-1}}; {position}"#),
        ),
    ] {
        let text = format!(r#"{{"type":"join","id":1,"groups":["a",{written},"c"]}}"#);
        let Ok(ClientFrame::Join { groups, .. }) = parse(&text) else { panic!("{text}") };
        let bad = JoinEntry { group: group.into(), since: None, fault: Some(fault) };
        assert_eq!(groups, [bare("a"), bad, bare("c")]);
    }
    let text = r#"{"type":"hello","since":{"a":5,"b":{"epoch":"1.1","offset":3}}}"#;
    let Ok(ClientFrame::Hello { since: entries, .. }) = parse(text) else { panic!() };
    assert_eq!((entries[0].since.as_ref(), &entries[1]), (None, &since("b", "1.1", 3)));
}

#[test]
fn a_frame_names_at_most_1024_groups() {
    let join = |count: usize| {
        let groups = (0..count).map(|n| format!("\"g{n}\"")).collect::<Vec<_>>().join(",");
        format!(r#"{{"type":"join","id":1,"groups":[{groups}]}}"#)
    };
    let text = join(MAX_GROUPS);
    assert!(matches!(parse(&text), Ok(ClientFrame::Join { groups, .. }) if groups.len() == 1024));
    let (_, message) = complaint(&join(1025));
    assert_eq!(message, r#""groups" has 1025 entries; a list of 1 to 1024 groups is allowed"#);

    let hello = |count: usize| {
        let position = r#"{"epoch":"1.1","offset":1}"#;
        let since = (0..count).map(|n| format!("\"g{n}\":{position}")).collect::<Vec<_>>();
        format!(r#"{{"type":"hello","since":{{{}}}}}"#, since.join(","))
    };
    let text = hello(MAX_GROUPS);
    assert!(matches!(parse(&text), Ok(ClientFrame::Hello { since, .. }) if since.len() == 1024));
    let (_, message) = complaint(&hello(1025));
    assert_eq!(message, r#""since" names 1025 groups; at most 1024 are allowed"#);
}

#[test]
fn skips_deep_nesting_without_recursion() {
    let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    let call = format!(r#"{{"type":"call","id":1,"name":"a","v":{deep},"data":{deep}}}"#);
    let Ok(ClientFrame::Call { data, .. }) = parse(&call) else { panic!() };
    assert_eq!(data.unwrap().get().len(), deep.len());
    assert_eq!(parse(&deep).unwrap_err(), FrameError::NotAFrame);
    for member in ["groups", "id"] {
        let text = format!(r#"{{"type":"join","{member}":{deep}}}"#);
        assert!(complaint(&text).1.len() < 200);
    }
    let call = format!(r#"{{"action":"a","v":{deep}}}"#);
    assert_eq!(parse_plain_call(&call).unwrap().data.get().len(), call.len());
}

#[test]
fn a_plain_call_is_named_by_its_action_else_its_type() {
    for (text, name) in [
        (r#"{"action":"marcar","type":"otro","id":3}"#, "marcar"),
        (r#"{"type":"otro","action":null}"#, "otro"),
        (r#"{"type":"otro","action":5}"#, "otro"),
        (r#"{"type":"otro","action":""}"#, "otro"),
        (r#"{"\u0061ction":"a\u00f1o"}"#, "año"),
    ] {
        let frame = format!(" {text}\n");
        let call = parse_plain_call(&frame).unwrap();
        assert_eq!((&*call.name, call.data.get()), (name, text));
    }
    for text in [
        "",
        "hola",
        "5",
        r#"["marcar"]"#,
        "{}",
        r#"{"action":""}"#,
        r#"{"action":"a","action":"b"}"#,
        r#"{"action":"a","\u0061ction":"b"}"#,
        r#"{"action":"a"}x"#,
    ] {
        assert!(parse_plain_call(text).is_none(), "{text}");
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC*") {
        let _ = parse(&text);
        let _ = parse_plain_call(&text);
    }

    #[test]
    fn arbitrary_members_never_panic_and_errors_stay_short(
        kind in prop_oneof![
            Just("hello"), Just("join"), Just("leave"), Just("send"), Just("call"), Just("auth"),
        ],
        members in proptest::collection::btree_map(
            "id|token|client|since|groups|group|data|echo|key|name|x",
            prop_oneof![
                "[0-9]{1,20}", "\"[a-zñ\\\\nu0]{0,80}\"", "\\[(\"[añ]{1,99}\",)*[1-5]\\]",
                "\\{\"[a-zñ]{0,90}\":(1|null|\\{\"epoch\":\"1\",\"offset\":[0-9]{1,3}\\})\\}",
                "true|null|-1|\\[\\]|\\{\\}",
            ],
            0..8,
        ),
    ) {
        let members = members.iter().map(|(name, value)| format!(",\"{name}\":{value}"));
        let text = format!("{{\"type\":\"{kind}\"{}}}", members.collect::<String>());
        if let Err(FrameError::Unusable { message, .. }) = parse(&text) {
            prop_assert!(message.len() < 300, "{}", message);
        }
    }
}
