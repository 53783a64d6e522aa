mod environment;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::raw::Raw;
use super::*;
use crate::socket::Overflow;
use crate::telemetry::LogFormat;

const SHIPPED: &str = include_str!("../../gateway.toml");

/// A secret that is long enough.
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load_with(text: &str, pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::parse(Path::new("gateway.toml"), text, variables(pairs))
}

fn load(text: &str) -> Result<Config, ConfigError> {
    load_with(text, &[])
}

/// The error's whole sentence, causes included.
fn refusal(text: &str, pairs: &[(&str, &str)]) -> String {
    let error = load_with(text, pairs).expect_err("the configuration is wrong");
    let mut sentence = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        sentence = format!("{sentence}: {error}");
        cause = error.source();
    }
    sentence
}

#[track_caller]
fn assert_refused(text: &str, expected: &[&str]) {
    let sentence = refusal(text, &[]);
    for part in expected {
        assert!(sentence.contains(part), "{part:?} is missing in {sentence:?}");
    }
}

// ===== the shipped file =====

#[test]
fn the_shipped_file_has_every_key_at_its_default() {
    let written: toml::Table = toml::from_str(SHIPPED).unwrap();
    let mut defaults = toml::Table::try_from(Raw::default()).unwrap();
    // Lists of tables that are empty by default cannot be written in TOML; they are examples.
    for section in ["auth", "api", "backend", "channels", "cluster"] {
        defaults[section].as_table_mut().unwrap().remove("key");
    }
    defaults["layer"].as_table_mut().unwrap().remove("history");
    defaults.remove("grant");
    defaults.remove("task");
    assert_eq!(keys(&written), keys(&defaults));
    assert_eq!(toml::from_str::<Raw>(SHIPPED).unwrap(), Raw::default());
}

/// Every key with its path, the keys of a list's first table too.
fn keys(table: &toml::Table) -> BTreeSet<String> {
    let below = |(key, value): (&String, &toml::Value)| {
        let table = value.as_table().or_else(|| value.as_array()?.first()?.as_table());
        match table {
            Some(table) => keys(table).into_iter().map(|rest| format!("{key}.{rest}")).collect(),
            None => vec![key.clone()],
        }
    };
    table.iter().flat_map(below).collect()
}

#[test]
fn the_examples_of_the_shipped_file_are_valid() {
    let is_code = |line: &str| {
        let line = line.trim_start_matches("# ");
        line.starts_with("[[")
            || line.split_once(" = ").is_some_and(|(key, _)| {
                key.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '.'))
            })
    };
    let uncommented: Vec<_> = SHIPPED
        .lines()
        .map(|line| if is_code(line) { line.trim_start_matches("# ") } else { line })
        .collect();
    let folder = std::env::temp_dir().join(format!("groupcast-examples-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("gateway.toml"), uncommented.join("\n")).unwrap();
    fs::write(folder.join("jwt-2026-01.pem"), ED25519_PUBLIC).unwrap();
    let secrets = [
        ("JWT_SECRET", SECRET),
        ("GROUPCAST_DJANGO_SECRET", "abcdefghijklmnop"),
        ("CHANNELS_KEY", "clave-nueva"),
        ("GROUPCAST_BACKEND_SECRET", SECRET),
        ("GROUPCAST_CELERY_BROKER", "redis://127.0.0.1"),
        ("GROUPCAST_CELERY_RESULTS", "redis://127.0.0.1/1"),
        ("GROUPCAST_CLUSTER_SECRET", SECRET),
    ];
    let config = Config::load(Some(&folder.join("gateway.toml")), variables(&secrets));
    fs::remove_dir_all(&folder).unwrap();
    let config = config.unwrap();
    assert_eq!(config.identity.keys.len(), 2);
    assert_eq!(config.identity.api_keys.len(), 1);
    assert_eq!(config.backend.keys.len(), 1);
    assert_eq!(config.identity.grants.len(), 2, "one for groups, one for calls");
    assert_eq!(config.server.routes.len(), 3);
    assert_eq!(config.shapes.len(), 2);
    assert_eq!(config.celery.tasks_of_browsers().len(), 1);
    let order = crate::group::GroupName::parse("order.42").unwrap();
    assert!(config.layer.history.of(&order).is_some());
    assert_eq!(config.sources.channels.codec.keys, [b"clave-nueva"]);
}

/// The public key of RFC 8410 section 10.1.
const ED25519_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

#[test]
fn an_empty_file_gives_the_defaults_of_the_rooms() {
    let config = load("").unwrap();
    let rooms = Config::default();
    assert_eq!(format!("{:?}", config.connection), format!("{:?}", rooms.connection));
    assert_eq!(format!("{:?}", config.hub), format!("{:?}", rooms.hub));
    assert_eq!(format!("{:?}", config.publish), format!("{:?}", rooms.publish));
    assert_eq!(format!("{:?}", config.coordinator), format!("{:?}", rooms.coordinator));
    assert_eq!(format!("{:?}", config.identity), format!("{:?}", rooms.identity));
    assert_eq!(config.log, rooms.log);
    assert_eq!(config.server.routes[0].path, "/ws");
}

// ===== errors of the file =====

#[test]
fn refuses_an_unknown_key_with_its_line() {
    assert_refused(
        "[limits]\n\nframe_brust = 3",
        &["gateway.toml:3:1: unknown field `frame_brust`", "`frame_burst`"],
    );
}

#[test]
fn refuses_a_value_of_the_wrong_type_with_its_line() {
    assert_refused("[drain]\ngrace = 30", &["gateway.toml:2:9", "such as \"10s\""]);
    assert_refused("[drain]\ngrace = \"30\"", &["gateway.toml:2:9", "such as \"10s\""]);
    assert_refused("[limits]\noutbox_bytes = \"9KB\"", &["\"256KiB\""]);
    assert_refused("[layer]\nkind = \"amqp\"", &["gateway.toml:2:8", "`amqp`", "`redis`"]);
}

#[test]
fn refuses_values_out_of_range_or_in_contradiction() {
    assert_refused(
        "[limits]\noutbox_bytes = \"64KiB\"",
        &["limits.max_event_bytes = 64KiB", "1 to 63KiB", "limits.outbox_bytes"],
    );
    assert_refused("[auth]\nleeway = \"11s\"", &["leeway is 11s", "at most 10s"]);
    assert_refused("[listen]\napi = \"127.0.0.1:8080\"", &["listen.api", "listen.public"]);
    assert_refused("[connections]\nping = \"0s\"", &["connections.ping = 0s", "1s to 24h"]);
    assert_refused("[hub]\ninbox = 0", &["hub.inbox = 0", "at least 1"]);
    assert_refused("[auth]\nallowed_origins = [\"https://a.b/\"]", &["allowed_origins[0]", "/"]);
    assert_refused("[log]\nlevel = \"groupcast=loud\"", &["log.level", "info"]);
}

// ===== layer =====

#[test]
fn uses_redis_where_configured() {
    assert!(matches!(load("").unwrap().layer.kind, crate::layer::Kind::Memory));
    let config = load("[layer]\nkind = \"redis\"\ncluster = \"tienda\"\ntimeout = \"1s\"").unwrap();
    let crate::layer::Kind::Redis(redis) = config.layer.kind else { panic!("Redis was asked for") };
    assert_eq!((redis.cluster.as_str(), redis.timeout), ("tienda", Duration::from_secs(1)));
    for (key, refusal) in [
        ("url = \"http://h\"", "\"redis+unix\""),
        ("url = \"redis-cluster://h:1\"", "\"redis+unix\""),
        ("cluster = \"a:b\"", "layer.cluster = \"a:b\""),
        ("commands = 0", "at least 1"),
    ] {
        assert_refused(&format!("[layer]\nkind = \"redis\"\n{key}"), &[refusal]);
    }
}

#[test]
fn keeps_a_history_of_matching_groups() {
    let text = "[[layer.history]]\npattern = \"pedido.*\"\nsize = 5";
    let history = load(text).unwrap().layer.history;
    let kept = |name| history.of(&crate::group::GroupName::parse(name).unwrap());
    let expected = crate::layer::Retention { size: 5, ttl: Duration::from_secs(300) };
    assert_eq!((kept("pedido.42"), kept("sala_1")), (Some(expected), None));
    assert_refused(&text.replace("= 5", "= 0"), &["layer.history[0].size = 0", "1 to 10000"]);
    assert_refused(&text.replace("pedido.*", "a b"), &["layer.history[0].pattern"]);
}

#[test]
fn never_shows_the_address_of_redis() {
    let text = "[layer]\nkind = \"redis\"\nurl = \"redis://:geheim@h:1\"";
    assert!(!format!("{:?}", load(text).unwrap()).contains("geheim"));
    assert!(!refusal(&text.replace("redis://", "https://"), &[]).contains("geheim"));
    assert!(!refusal(&text.replace("h:1", "h:port"), &[]).contains("geheim"));
}

// ===== group limits =====

#[test]
fn every_group_has_limits_where_the_file_has_some() {
    let config =
        load("[[limits.group]]\npattern = \"pedido.*\"\ncapacity = 5\noverflow = \"close\"")
            .unwrap();
    let [(first, limits), (last, rest)] = config.connection.group_limits.as_slice() else {
        panic!("two entries: {:?}", config.connection.group_limits);
    };
    assert_eq!((first.as_str(), limits.capacity), ("pedido.*", 5));
    assert_eq!(limits.expiry, Duration::from_secs(60), "the default's");
    assert_eq!(limits.overflow, Overflow::Close);
    assert_eq!((last.as_str(), rest.capacity), ("*", 1000));
}

#[test]
fn refuses_a_pattern_after_one_that_matches_all() {
    assert_refused(
        "[[limits.group]]\npattern = \"*\"\n[[limits.group]]\npattern = \"a\"",
        &["limits.group[1].pattern = \"a\""],
    );
}

// ===== secrets =====

#[test]
fn never_shows_a_secret() {
    let wrong = "[[auth.key]]\nalgorithm = \"HS256\"\nsecret = 987654321";
    assert!(!refusal(wrong, &[]).contains("987654321"));
    let broken = "[[auth.key]]\nalgorithm = \"HS256\"\nsecret = \"geheim\" x";
    assert!(!refusal(broken, &[]).contains("geheim"));
    let short = "[[auth.key]]\nalgorithm = \"HS256\"\nsecret = \"geheim\"";
    assert!(!refusal(short, &[]).contains("geheim"));
    let good = format!("[[auth.key]]\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"");
    let config = load(&good).unwrap();
    assert!(!format!("{config:?}").contains(SECRET));
    let raw: Raw = toml::from_str(&good).unwrap();
    assert!(!format!("{raw:?}").contains(SECRET));
}

#[test]
fn requires_exactly_one_way_to_give_a_secret() {
    let key = "[[auth.key]]\nalgorithm = \"HS256\"\n";
    assert_refused(key, &["auth.key[0] has no secret", "secret_env"]);
    assert_refused(
        &format!("{key}secret = \"{SECRET}\"\nsecret_env = \"A\""),
        &["secret and secret_env"],
    );
    assert_refused(&format!("{key}secret_env = \"A\""), &["secret_env = \"A\"", "that is set"]);
    assert_refused(&format!("{key}secret_file = \"/no/such\""), &["auth.key[0].secret_file"]);
    assert_refused(&format!("{key}public_key_file = \"a.pem\""), &["public_key_file alone"]);
}

#[test]
fn reads_a_secret_from_a_variable_of_any_name() {
    let text = "[[auth.key]]\nalgorithm = \"HS256\"\nsecret_env = \"GROUPCAST_MINE\"";
    let config = load_with(text, &[("GROUPCAST_MINE", SECRET)]).unwrap();
    assert_eq!(config.identity.keys[0].material, SECRET.as_bytes());
}

#[test]
fn serving_requires_a_key_and_checking_does_not() {
    assert!(load("").unwrap().check_serves().is_err());
    let text = format!("[[auth.key]]\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"");
    assert!(load(&text).unwrap().check_serves().is_ok());
}

// ===== grants =====

#[test]
fn a_grant_needs_both_operations_and_groups() {
    assert_refused("[[grant]]\nallow = [\"join\"]", &["grant[0] has allow without groups"]);
    assert_refused("[[grant]]\ngroups = [\"a\"]", &["grant[0] has groups without allow"]);
    assert_refused("[[grant]]\n", &["grant[0] is empty"]);
    assert_refused(
        "[[grant]]\nallow = [\"read\"]\ngroups = [\"a\"]",
        &["gateway.toml:2", "presence"],
    );
    assert_refused("[[grant]]\nallow = [\"call\"]\ngroups = [\"a\"]", &["calls = [\"name\"]"]);
    assert_refused(
        "[[grant]]\nallow = [\"join\"]\ngroups = [\"a b\"]",
        &["grant[0].groups[0]", "' '"],
    );
}

// ===== routes =====

#[test]
fn a_path_parameter_fills_a_group_only_where_allowed() {
    let route = "[[route]]\npath = \"/ws/chat/{sala}/\"\njoin = [\"chat_{sala}\"]\n";
    assert_refused(route, &["route[0].join = \"chat_{sala}\"", "allow = \"anyone\""]);
    assert_refused(&format!("{route}allow = \"hook\""), &["no connect hook to ask"]);
    let config = load(&format!("{route}allow = \"anyone\"")).unwrap();
    assert_eq!(config.server.routes[0].allow, crate::server::Allow::Anyone);
    assert!(config.identity.claims.is_empty(), "a parameter is no claim");
    let config = load("[[route]]\npath = \"/ws\"\njoin = [\"tienda_{tenant}\"]").unwrap();
    assert_eq!(config.identity.claims, ["tenant"], "kept of each token");
}

#[test]
fn refuses_a_route_that_an_earlier_one_hides() {
    let routes = |first: &str, second: &str| {
        format!("[[route]]\npath = \"{first}\"\n[[route]]\npath = \"{second}\"")
    };
    assert_refused(&routes("/ws", "/ws"), &["route[1].path"]);
    assert_refused(&routes("/ws/{a}/", "/ws/{b}/"), &["route[1].path"]);
    assert_refused(&routes("/ws/{a}/", "/ws/b/"), &["route[1].path"]);
    assert!(load(&routes("/ws/b/", "/ws/{a}/")).is_ok());
    assert!(load(&routes("/ws", "/ws/")).is_ok());
}

#[test]
fn refuses_a_path_that_is_not_of_whole_segments() {
    for path in ["ws", "/ws/{}", "/ws/{a}b", "/ws/{a}/{a}", "/ws/{sub}", "/ws?a", "/ñ"] {
        assert_refused(&format!("[[route]]\npath = \"{path}\""), &["route[0].path"]);
    }
}

#[test]
fn a_welcome_keeps_the_order_of_its_members() {
    let config = load(
        "[[route]]\npath = \"/ws\"\n\
         welcome = { type = \"hola\", b = 1, a = [true, { z = 1.5, c = \"ñ\" }] }",
    )
    .unwrap();
    let expected = r#"{"type":"hola","b":1,"a":[true,{"z":1.5,"c":"ñ"}]}"#;
    assert_eq!(config.server.routes[0].welcome.as_deref(), Some(expected));
    let config = load("[[route]]\npath = \"/ws\"\nwelcome = { a = 2026-01-01 }").unwrap();
    let expected = r#"{"a":"2026-01-01"}"#;
    assert_eq!(config.server.routes[0].welcome.as_deref(), Some(expected));
    assert_refused(
        "[[route]]\npath = \"/ws\"\nwelcome = { a = [{ b = nan }] }",
        &["route[0].welcome.a.b"],
    );
    assert_refused("[[route]]\npath = \"/ws\"\nwelcome = \"hola\"", &["gateway.toml:3:11"]);
}

#[test]
fn equal_event_lists_share_a_shape() {
    let config = load(
        "[[route]]\npath = \"/a\"\nevents.x = {}\n\
         [[route]]\npath = \"/b\"\n\
         [[route]]\npath = \"/c\"\nevents.x = {}",
    )
    .unwrap();
    let shapes: Vec<_> = config.server.routes.iter().map(|route| route.shape).collect();
    assert_eq!(shapes, [1, 0, 1]);
    assert_eq!(config.shapes.len(), 2);
    assert_refused(
        "[[route]]\npath = \"/a\"\nevents.\"a.b\" = {}\nevents.a_b = {}",
        &["route[0].events", "a_b"],
    );
}

// ===== units =====

#[test]
fn periods_and_sizes_are_written_as_read() {
    use super::units::{Period, Size};
    for text in ["0s", "1ms", "1500ms", "10s", "2m", "36h"] {
        assert_eq!(Period::parse(text).unwrap().to_string(), text);
    }
    for text in ["0", "1000", "256KiB", "3MiB", "1GiB"] {
        assert_eq!(Size::parse(text).unwrap().to_string(), text);
    }
    for text in ["", "s", "1.5s", "-1s", "10", "1d", "99999999999999999999s", "10  s"] {
        assert_eq!(Period::parse(text), None, "{text}");
    }
    for text in ["", "KiB", "1KB", "1.5MiB", "-1", "99999999999999999999GiB"] {
        assert_eq!(Size::parse(text), None, "{text}");
    }
}

#[test]
fn warns_of_the_default_cluster_on_redis() {
    for (layer, warned) in [
        ("kind = \"redis\"", true),
        ("kind = \"redis\"\ncluster = \"shop\"", false),
        ("kind = \"memory\"", false),
    ] {
        let warnings = load(&format!("[layer]\n{layer}")).unwrap().warnings().join("\n");
        assert_eq!(warnings.contains("layer.cluster = \"groupcast\""), warned, "{layer}");
    }
}

#[test]
fn warns_of_settings_that_may_be_mistakes() {
    let text = format!(
        "[auth]\nurl_parameter = \"token\"\n\
         [[auth.key]]\nalgorithm = \"HS512\"\nsecret = \"{SECRET}\"\n\
         [listen]\napi = \"0.0.0.0:8081\""
    );
    let warnings = load(&text).unwrap().warnings().join("\n");
    for part in ["clear text", "url_parameter", "64 are advised", "audience", "[[api.key]]"] {
        assert!(warnings.contains(part), "{part} is missing in\n{warnings}");
    }
}
