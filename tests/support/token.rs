//! The keys of the tests and the tokens made with them.

use std::time::{SystemTime, UNIX_EPOCH};

use groupcast::identity::{self, KeySettings};
use serde_json::{Value, json};

/// An hour, in seconds.
pub(crate) const HOUR: i64 = 3600;

/// The back end's API key.
pub(crate) const API_SECRET: &str = "a-secret-of-the-back-end";

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The configuration that all gateways of the tests share: keys, free ports, and two shards, so
/// that groups span them. Every client with a token may join `pedido.*` and `sala_*`, and send to
/// `sala_*`.
pub(crate) const COMMON_CONFIG: &str = r#"
[listen]
public = "127.0.0.1:0"
api = "127.0.0.1:0"
[hub]
shards = 2
[[auth.key]]
algorithm = "HS256"
secret = "0123456789abcdef0123456789abcdef"
[[api.key]]
name = "django"
secret = "a-secret-of-the-back-end"
groups = ["*"]
allow = ["send", "send_user", "send_all", "members", "close", "read", "console", "tasks"]
[[grant]]
allow = ["join"]
groups = ["pedido.*", "sala_*"]
[[grant]]
allow = ["send"]
groups = ["sala_*"]
[[grant]]
calls = ["marcar_leida"]
"#;

/// The route of gateways whose configuration has no other.
const ROUTE: &str = r#"
[[route]]
path = "/ws"
join = ["usuario_{sub}"]
"#;

/// A complete configuration: the common part, `configuration`, and a route if that has none.
pub(crate) fn complete_config(configuration: &str) -> String {
    let route = if configuration.contains("[[route]]") { "" } else { ROUTE };
    format!("{COMMON_CONFIG}{configuration}{route}")
}

/// A token for `sub` that expires in an hour.
pub(crate) fn token(sub: &str) -> String {
    sign(&claims(sub, HOUR))
}

/// A token for `sub` that expired a minute ago.
pub(crate) fn expired(sub: &str) -> String {
    sign(&claims(sub, -60))
}

/// The claims of a token that expires `seconds` from now.
pub(crate) fn claims(sub: &str, seconds: i64) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    json!({ "sub": sub, "exp": now + seconds })
}

/// A token with these claims.
pub(crate) fn sign(claims: &Value) -> String {
    let key = KeySettings {
        id: String::new(),
        algorithm: "HS256".to_owned(),
        material: SECRET.as_bytes().to_vec(),
    };
    identity::sign(&key, claims).unwrap()
}
