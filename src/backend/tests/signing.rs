use super::super::sign::{Signed, Signer};
use super::super::{BackendError, Client, Settings, SigningKey};
use super::settings;

const DOCUMENT: &str = include_str!("../../../docs/backend.md");

/// The worked example of the document: a call, byte for byte.
const EXAMPLE: Signed<'_> = Signed {
    time: 1_767_225_600,
    method: "POST",
    target: "/groupcast/call",
    path: b"/ws/notifications/",
    body: concat!(
        r#"{"call":"mark_read","data":{"id":31},"connection":"k3f5a2bq-17","sub":"7","#,
        r#""claims":{},"session":null,"path":"/ws/notifications/"}"#
    )
    .as_bytes(),
};

#[test]
fn signs_the_example_of_the_documentation() {
    let signature = Signer::new(&settings("http://h")).unwrap().sign(&EXAMPLE);
    assert!(DOCUMENT.contains(&signature), "the document lacks {signature}");
    for part in [EXAMPLE.target.as_bytes(), EXAMPLE.path, EXAMPLE.body] {
        assert!(DOCUMENT.contains(std::str::from_utf8(part).unwrap()));
    }
}

#[test]
fn signs_every_part_of_a_request() {
    let signer = Signer::new(&settings("http://h")).unwrap();
    let digest = |signed: &Signed<'_>| signer.sign(signed).split_once("v1=").unwrap().1.to_owned();
    let example = digest(&EXAMPLE);
    for other in [
        Signed { time: EXAMPLE.time + 1, ..EXAMPLE },
        Signed { method: "GET", ..EXAMPLE },
        Signed { target: "/groupcast/call?x", ..EXAMPLE },
        Signed { path: b"", ..EXAMPLE },
        Signed { body: b"{}", ..EXAMPLE },
    ] {
        assert_ne!(digest(&other), example, "{other:?}");
    }
}

#[test]
fn refuses_unusable_settings_with_the_reason() {
    let good = settings("http://127.0.0.1:8000");
    assert_eq!(good.check(), Ok(()));
    assert_eq!(Settings::default().check(), Ok(()), "no back end is fine");
    for url in
        ["https://h", "127.0.0.1:8000", "http://h/path", "http://u:p@h", "http://", "http://h:x"]
    {
        let wrong = Settings { url: url.to_owned(), ..good.clone() };
        assert_eq!(wrong.check(), Err(BackendError::Url(url.to_owned())), "{url}");
    }
    for path in ["groupcast", "/a?b", "/a b", "/ñ", "/a#b"] {
        let wrong = Settings { calls: path.to_owned(), ..good.clone() };
        assert_eq!(wrong.check(), Err(BackendError::Path(path.to_owned())));
    }
    assert_eq!(Settings { keys: Vec::new(), ..good.clone() }.check(), Err(BackendError::NoKey));
    let key = |id: &str, secret: &[u8]| SigningKey { id: id.to_owned(), secret: secret.to_vec() };
    let with = |keys: Vec<SigningKey>| Settings { keys, ..good.clone() }.check().unwrap_err();
    let long = [b'x'; 32];
    let short = BackendError::ShortSecret { id: "1".to_owned(), found: 31 };
    assert_eq!(with(vec![key("1", &long[..31])]), short);
    assert_eq!(with(vec![key("a,b", &long)]), BackendError::KeyId("a,b".to_owned()));
    let twice = BackendError::KeyTwice("1".to_owned());
    assert_eq!(with(vec![key("1", &long), key("1", &long)]), twice);
    for name in ["Host", "Groupcast-Path", "Content-Length", "a b"] {
        let headers = vec![(name.to_owned(), "x".to_owned())];
        let refused = Client::new(&Settings { headers, ..good.clone() }).unwrap_err();
        assert!(matches!(refused, BackendError::Header(..)), "{name}: {refused}");
    }
}

#[test]
fn never_shows_a_signing_secret() {
    assert!(!format!("{:?}", settings("http://h")).contains("secret of"));
}
