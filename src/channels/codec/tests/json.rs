//! JSON as Python writes it.

use super::*;

fn read(text: &str) -> Result<Received, CodecError> {
    codec(Serializer::Json, &[]).read(text.as_bytes(), THEN)
}

#[test]
fn replaces_nan_and_infinity_by_null_outside_of_strings() {
    let text = r#"{"type": "NaN", "a": NaN, "b": [Infinity, -Infinity], "c": "\"NaN, Infinity"}"#;
    let expected = r#"{"type":"NaN","a":null,"b":[null,null],"c":"\"NaN, Infinity"}"#;
    assert_eq!(read(text).unwrap(), received(expected, &[]));
    for text in [r#"{"type":"a","n":-NaN}"#, r#"{"type":"a","n":nan}"#, r#"{"type":"a",NaN:1}"#] {
        assert!(matches!(read(text), Err(CodecError::Event(_))), "{text}");
    }
}

#[test]
fn removes_the_channel_member_wherever_it_is() {
    for (text, expected, channels) in [
        (r#"{"__asgi_channel__": "a!b", "type": "t"}"#, r#"{"type":"t"}"#, vec!["a!b"]),
        (r#"{"type": "t", "__asgi_channel__": "a!b"}"#, r#"{"type":"t"}"#, vec!["a!b"]),
        (
            r#"{"type": "t", "__asgi_channel__": ["a!b", "a!c"], "n": 1}"#,
            r#"{"type":"t","n":1}"#,
            vec!["a!b", "a!c"],
        ),
        (
            r#"{"type": "t", "x": {"__asgi_channel__": 1}, "y": "__asgi_channel__"}"#,
            r#"{"type":"t","x":{"__asgi_channel__":1},"y":"__asgi_channel__"}"#,
            vec![],
        ),
        (r#"{"type": "t", "__asgi_channel__": []}"#, r#"{"type":"t"}"#, vec![]),
        (r#"{"type": "t", "__asgi\u005fchannel__": "\u0061!b"}"#, r#"{"type":"t"}"#, vec!["a!b"]),
    ] {
        assert_eq!(read(text).unwrap(), received(expected, &channels), "{text}");
    }
}

#[test]
fn refuses_channels_that_are_not_names() {
    for value in ["1", "null", r#"{"a":"b"}"#, r#"["a",1]"#, "NaN"] {
        let error = read(&format!(r#"{{"type":"t","__asgi_channel__":{value}}}"#)).unwrap_err();
        assert!(matches!(error, CodecError::Channels(_)), "{error}");
    }
    let twice = r#"{"type":"t","__asgi_channel__":"a","__asgi_channel__":"a"}"#;
    assert_eq!(read(twice), Err(CodecError::ChannelsTwice));
}

#[test]
fn removing_the_channel_member_does_not_repair_malformed_json() {
    for text in [
        "",
        "{",
        r#"{"type":"t","__asgi_channel__":"a!b""#,
        r#"{"type":"t","__asgi_channel__":"a!b",}"#,
        r#"{"type":"t",,"__asgi_channel__":"a!b"}"#,
        r#"{"type":"t","__asgi_channel__":"a!b"]"#,
        r#"{"type":"t","__asgi_channel__":"a!b"]}"#,
        r#"{"type":"t","__asgi_channel__" "a!b"}"#,
        r#"{"type":"t","__asgi_channel__"::"a!b"}"#,
        r#"{"type":"t","__asgi_channel__":"a!b" "c"}"#,
        r#"{"type":"t","__asgi_channel__":["a!b"}"#,
        r#"{"type":"t","__asgi_channel__":[}]}"#,
        r#"{"type":"t","__asgi_channel__"}"#,
        r#"{"type":"t" "__asgi_channel__":"a!b"}"#,
        r#"{"__asgi_channel__":"a!b",,"type":"t"}"#,
        r#"{,"__asgi_channel__":"a!b","type":"t"}"#,
        r#"{"__asgi_channel__":"a!b" "type":"t"}"#,
        r#"{"type":"t"}{"__asgi_channel__":"a!b"}"#,
        r#"["type","t","__asgi_channel__","a!b"]"#,
    ] {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn removes_white_space_but_still_treats_it_as_a_separator() {
    let text = " {\r\n\t\"type\" : \"a  b\" ,\"l\": [ 1 , 2 , true ] , \"o\" : { } } \n";
    let expected = r#"{"type":"a  b","l":[1,2,true],"o":{}}"#;
    assert_eq!(read(text).unwrap(), received(expected, &[]));
    for text in [r#"{"type":"a","n":1 2}"#, r#"{"type":"a","n":tr ue}"#, r#"{"type":"a","n":- 1}"#]
    {
        assert!(matches!(read(text), Err(CodecError::Event(_))), "{text}");
    }
}

#[test]
fn keeps_numbers_as_written() {
    let text = r#"{"type":"a","n":[1e+16,1.50,123456789012345678901234567890,-0.0,5e-324]}"#;
    assert_eq!(read(text).unwrap(), received(text, &[]));
}

#[test]
fn refuses_an_unterminated_string() {
    let error = read(r#"{"type": "a\""#).unwrap_err();
    assert_eq!(error, CodecError::Truncated { what: "a string", at: 9 });
    assert_eq!(error.to_string(), "message ends within a string that begins at byte 9");
    assert!(matches!(read("{\"type\":\"a\\"), Err(CodecError::Truncated { .. })));
}

#[test]
fn names_the_other_serializer_as_the_likely_cause() {
    let event = event(r#"{"type":"a"}"#);
    let [msgpack, json] = [Serializer::MsgPack, Serializer::Json].map(|one| codec(one, &[]));
    let error = json.read(&msgpack.write_bare(&event, [0; 16], 0), 0).unwrap_err();
    assert_eq!(error, CodecError::Serializer { found: "msgpack", set: "json" });
    let error = msgpack.read(&json.write_bare(&event, [0; 16], 0), 0).unwrap_err();
    assert_eq!(error, CodecError::Serializer { found: "json", set: "msgpack" });
}

#[test]
fn escapes_text_as_python_does() {
    let event = event(r#"{"type":"a","s":"\"\\\/\b\f\n\r\t\u0000\u001f\u007f ñ ✓ 😀","\u00e9":1}"#);
    let written = codec(Serializer::Json, &[]).write_bare(&event, [0; 16], THEN);
    let expected = concat!(
        r#"{"type": "a", "s": "\"\\/\b\f\n\r\t\u0000\u001f\u007f \u00f1 \u2713 \ud83d\ude00", "#,
        r#""\u00e9": 1}"#,
    );
    assert_eq!(String::from_utf8(written).unwrap(), expected);
}
