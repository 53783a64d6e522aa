//! Variables in place of keys of the file.

use super::super::environment;
use super::*;

#[test]
fn every_key_has_its_variable() {
    let names = environment::names();
    for key in keys(&toml::from_str(SHIPPED).unwrap()) {
        let path: Vec<_> = key.split('.').collect();
        let name = match path.as_slice() {
            ["route", ..] => "GROUPCAST_ROUTE".to_owned(),
            [section, key, ..] => format!("GROUPCAST_{section}_{key}").to_uppercase(),
            _ => panic!("{key} is in no section"),
        };
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    for name in
        ["GROUPCAST_GRANT", "GROUPCAST_AUTH_KEY", "GROUPCAST_API_KEY", "GROUPCAST_LAYER_HISTORY"]
    {
        assert!(names.iter().any(|known| known == name), "{name} is not among {names:?}");
    }
}

#[test]
fn a_variable_overrides_the_file() {
    let config = load_with(
        "[limits]\noutbox_bytes = \"1MiB\"\nframe_burst = 7",
        &[
            ("GROUPCAST_LIMITS_OUTBOX_BYTES", "524288"),
            ("GROUPCAST_LISTEN_PUBLIC", "0.0.0.0:0"),
            ("GROUPCAST_AUTH_AUDIENCE", "[\"web\", \"app\"]"),
            ("GROUPCAST_LOG_FORMAT", "json"),
            ("GROUPCAST_ROUTE", "[{ path = \"/otra\", join = [\"usuario_{sub}\"] }]"),
            ("HOME", "/nowhere"),
        ],
    )
    .unwrap();
    assert_eq!(config.connection.outbox_bytes, 512 * 1024);
    assert_eq!(config.connection.frame_burst, 7);
    assert_eq!(config.server.public.to_string(), "0.0.0.0:0");
    assert_eq!(config.identity.audience, ["web", "app"]);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.server.routes[0].path, "/otra");
}

#[test]
fn an_invalid_variable_is_named_with_what_is_expected() {
    let sentence = refusal("", &[("GROUPCAST_CONNECTIONS_PING", "soon")]);
    assert!(sentence.contains("GROUPCAST_CONNECTIONS_PING"), "{sentence}");
    assert!(sentence.contains("such as \"10s\""), "{sentence}");
    let sentence = refusal("", &[("GROUPCAST_HUB_SHARDS", "many")]);
    assert!(sentence.contains("a whole number"), "{sentence}");
}

#[test]
fn refuses_a_variable_that_is_almost_a_key() {
    for (name, meant) in [
        ("GROUPCAST_LIMIT_OUTBOX_BYTE", "GROUPCAST_LIMITS_OUTBOX_BYTES"),
        ("GROUPCAST_LISTEN_PUBILC", "GROUPCAST_LISTEN_PUBLIC"),
        ("GROUPCAST_ROUTES", "GROUPCAST_ROUTE"),
        ("GROUPCAST_LAYER_URI", "GROUPCAST_LAYER_URL"),
        ("GROUPCAST_CONNECTION_MAX", "GROUPCAST_CONNECTIONS_MAX"),
    ] {
        let sentence = refusal("", &[(name, "1")]);
        let expected = format!("variable {name} names no key: did you mean {meant}?");
        assert!(sentence.contains(&expected), "{sentence}");
    }
}

/// What Kubernetes sets for Services called groupcast and groupcast-api, and tools of ours.
const OTHERS: [&str; 16] = [
    "GROUPCAST_PORT",
    "GROUPCAST_PORT_8080_TCP",
    "GROUPCAST_PORT_8080_TCP_ADDR",
    "GROUPCAST_PORT_8080_TCP_PORT",
    "GROUPCAST_PORT_8080_TCP_PROTO",
    "GROUPCAST_SERVICE_HOST",
    "GROUPCAST_SERVICE_PORT",
    "GROUPCAST_SERVICE_PORT_PUBLIC",
    "GROUPCAST_API_PORT",
    "GROUPCAST_API_PORT_8081_TCP",
    "GROUPCAST_API_SERVICE_HOST",
    "GROUPCAST_API_SERVICE_PORT",
    "GROUPCAST_API_SECRET",
    "GROUPCAST_BIN",
    "GROUPCAST_API",
    "GROUPCAST_",
];

#[test]
fn ignores_variables_of_others() {
    let pairs = OTHERS.map(|name| (name, "tcp://10.0.0.7:8080"));
    let config = load_with("", &pairs).unwrap();
    assert_eq!(config.ignored_variables.len(), OTHERS.len());
    let warnings = config.warnings().join("\n");
    for name in ["GROUPCAST_API_SECRET", "GROUPCAST_BIN", "GROUPCAST_API"] {
        assert!(warnings.contains(&format!("variable {name} names no key")), "{warnings}");
    }
    assert!(!warnings.contains("SERVICE") && !warnings.contains("PORT"), "{warnings}");
}

#[test]
fn a_secret_variable_may_have_any_name_in_every_table() {
    let channels = "[layer]\nkind = \"redis\"\n[channels]\nreceive = [\"core\"]\n";
    for table in [
        "[[auth.key]]\nalgorithm = \"HS256\"",
        "[[api.key]]\nname = \"a\"\ngroups = [\"*\"]\nallow = [\"send\"]",
        "[[backend.key]]",
        "[[channels.key]]",
    ] {
        // Almost a key: only that it is named makes it one's own.
        let name = "GROUPCAST_AUTH_KEYS";
        let text = format!("{channels}{table}\nsecret_env = \"{name}\"");
        let config = load_with(&text, &[(name, SECRET)]);
        assert!(config.is_ok_and(|config| config.ignored_variables.is_empty()), "{table}");
    }
}
