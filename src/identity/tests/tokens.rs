use proptest::prelude::*;
use serde_json::{Map, json};

use super::super::*;
use super::support::*;

#[test]
fn a_token_with_only_a_sub_makes_a_small_identity() {
    let identity = verifier().verify(&token(&claims(json!({}))), NOW).unwrap();
    assert_eq!((&*identity.sub, identity.expires_at), ("7", NOW + 3600));
    assert!(identity.details.is_none());
    assert!(size_of::<Identity>() <= 32);
}

#[test]
fn every_algorithm_verifies_what_it_signed_and_nothing_else() {
    for name in ALGORITHMS {
        let pair = match name {
            "ES256" => Some(&*P256),
            "ES384" => Some(&*P384),
            "EdDSA" => Some(&*ED25519),
            name if name.starts_with("HS") => None,
            _ => Some(&*RSA),
        };
        let (private, public) = pair.map_or((SECRET, SECRET), |pair| (&pair.private, &pair.public));
        let keys = vec![key("k", name, public)];
        let verifier = Verifier::new(&Settings { keys, ..settings() }).unwrap();
        let good = sign(&key("k", name, private), &claims(json!({}))).unwrap();
        assert_eq!(&*verifier.verify(&good, NOW).unwrap().sub, "7", "{name}");

        let (message, signature) = good.rsplit_once('.').unwrap();
        let other = sign(&key("k", name, private), &claims(json!({ "sub": "8" }))).unwrap();
        let forged = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
        assert_eq!(cause(&verifier, &forged), "bad_signature", "{name}");
        assert_eq!(cause(&verifier, &format!("{message}.")), "bad_signature", "{name}");
    }
}

#[test]
fn the_example_of_rfc_7515_is_verified() {
    // Appendix A.1. Its claims have no sub, so everything else must have been accepted.
    let secret =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let secret = data_encoding::BASE64URL_NOPAD.decode(secret.as_bytes()).unwrap();
    let token = concat!(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.",
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt",
        "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    );
    let keys = vec![key("", "HS256", &secret)];
    let verifier = Verifier::new(&Settings { keys, ..settings() }).unwrap();
    let refused = verifier.verify(token, 1_300_819_379);
    assert_eq!(refused.unwrap_err(), TokenError::MissingClaim("sub".into()));
    assert_eq!(verifier.verify(token, 1_300_819_380).unwrap_err().cause(), "expired");
}

/// A token with these claims in addition to valid ones.
fn with(extra: serde_json::Value) -> String {
    token(&claims(extra))
}

/// The header of tokens whose claims are at fault.
const HS256: &str = r#"{"alg":"HS256"}"#;

fn good_claims() -> String {
    claims(json!({})).to_string()
}

fn assert_refused<const N: usize>(table: [(&str, String); N]) {
    let verifier = verifier();
    for (expected, token) in table {
        let payload = token.split('.').nth(1).unwrap_or_default();
        let payload = data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap_or_default();
        let shown = excerpt(&String::from_utf8_lossy(&payload), EXCERPT);
        assert_eq!(cause(&verifier, &token), expected, "{shown}");
    }
    assert!(verifier.verify(&raw(HS256, &good_claims()), NOW).is_ok());
}

#[test]
fn refuses_a_malformed_token() {
    let (hs256, good, long) = (HS256, good_claims(), "x".repeat(256));
    assert_refused([
        ("malformed", String::new()),
        ("malformed", "..".to_owned()),
        ("malformed", "a.b".to_owned()),
        ("malformed", format!("{}.x", with(json!({})))),
        ("malformed", format!(" {}", with(json!({})))),
        ("malformed", raw("[]", &good)),
        ("malformed", raw(r#"{"typ":"JWT"}"#, &good)),
        ("malformed", raw(r#"{"alg":"HS256","kid":7}"#, &good)),
        ("malformed", raw(r#"{"alg":"HS256","alg":"none"}"#, &good)),
        ("malformed", raw(r#"{"alg":"HS256","crit":["exp"]}"#, &good)),
        ("malformed", raw(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, &good)),
        ("malformed", raw(hs256, "[]")),
        ("malformed", raw(hs256, "7")),
        ("malformed", raw(hs256, &format!("{good} {good}"))),
        ("malformed", raw(hs256, &good.replace("\"sub\"", r#""sub":"8","sub""#))),
        ("malformed", raw(hs256, &good.replace("\"sub\"", r#""sub":null,"sub""#))),
        ("malformed", raw(hs256, &good.replace("\"exp\"", r#""exp":1,"exp""#))),
        ("malformed", raw(hs256, &good.replace("\"exp\"", r#""\u0065xp":1,"exp""#))),
        ("malformed", raw(hs256, &good.replace("\"exp\"", r#""aud":1,"aud":2,"exp""#))),
        ("malformed", raw(hs256, &good.replace("\"exp\"", r#""grants":{},"grants":{},"exp""#))),
        ("malformed", with(json!({ "exp": (NOW + 3600).to_string() }))),
        ("malformed", with(json!({ "exp": -1 }))),
        ("malformed", with(json!({ "exp": true }))),
        ("malformed", with(json!({ "exp": (NOW + 3600) * 1000 }))),
        ("malformed", with(json!({ "exp": 1e300 }))),
        ("malformed", with(json!({ "exp": u64::MAX }))),
        ("malformed", with(json!({ "nbf": "0" }))),
        ("malformed", with(json!({ "sub": 7 }))),
        ("malformed", with(json!({ "sub": "" }))),
        ("malformed", with(json!({ "sub": long }))),
        ("malformed", with(json!({ "sub": "7\n8" }))),
        ("malformed", with(json!({ "iss": ["a"] }))),
        ("malformed", with(json!({ "groups": "sala_1" }))),
        ("malformed", with(json!({ "groups": ["sala_1", 7] }))),
        ("malformed", with(json!({ "groups": ["sala 1"] }))),
        ("malformed", with(json!({ "groups": ["sala_*"] }))),
        ("malformed", with(json!({ "grants": ["sala_1"] }))),
        ("malformed", with(json!({ "grants": { "jion": ["sala_1"] } }))),
        ("malformed", with(json!({ "grants": { "join": ["sala 1"] } }))),
        ("malformed", with(json!({ "grants": { "join": "" } }))),
        ("malformed", with(json!({ "grants": { "join": true } }))),
        ("malformed", "x".repeat(MAX_TOKEN_LEN)),
    ]);
}

#[test]
fn refuses_an_invalid_token_with_the_cause() {
    let (hs256, good) = (HS256, good_claims());
    assert_refused([
        ("missing_claim", raw(hs256, "{}")),
        ("missing_claim", raw(hs256, r#"{"sub":"7"}"#)),
        ("missing_claim", with(json!({ "exp": null }))),
        ("missing_claim", with(json!({ "sub": null }))),
        ("wrong_algorithm", raw(r#"{"alg":"none"}"#, &good)),
        ("wrong_algorithm", raw(r#"{"alg":"hs256"}"#, &good)),
        ("wrong_algorithm", raw(r#"{"alg":"HS512"}"#, &good)),
        ("wrong_algorithm", raw(r#"{"alg":"RS256"}"#, &good)),
        ("unknown_key", raw(r#"{"alg":"HS256","kid":"other"}"#, &good)),
        ("wrong_audience", with(json!({ "aud": "other" }))),
        ("expired", with(json!({ "exp": NOW }))),
        ("not_yet", with(json!({ "nbf": NOW + 1 }))),
        ("too_large", with(json!({ "padding": "x".repeat(MAX_TOKEN_LEN) }))),
        ("too_large", "x".repeat(MAX_TOKEN_LEN + 1)),
    ]);
}

#[test]
fn refuses_a_public_key_as_hmac_secret() {
    let keys = vec![key("", "RS256", &RSA.public)];
    let verifier = Verifier::new(&Settings { keys, ..settings() }).unwrap();
    let secret = jsonwebtoken::EncodingKey::from_secret(&RSA.public);
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    let forged = jsonwebtoken::encode(&header, &claims(json!({})), &secret).unwrap();
    assert_eq!(cause(&verifier, &forged), "wrong_algorithm");
}

#[test]
fn ignores_a_key_in_the_header() {
    let (mine, other) = (&*P256, b"another secret made up for these tests");
    let keys = vec![key("", "ES256", &mine.public)];
    let verifier = Verifier::new(&Settings { keys, ..settings() }).unwrap();
    let jwk = data_encoding::BASE64URL_NOPAD.encode(other);
    let header =
        format!(r#"{{"alg":"ES256","jwk":{{"kty":"oct","k":"{jwk}"}},"jku":"http://x/"}}"#);
    let forged = raw(&header, &claims(json!({})).to_string());
    assert_eq!(cause(&verifier, &forged), "bad_signature");
}

#[test]
fn the_kid_chooses_the_key() {
    let other = b"another secret made up for these tests";
    let keys = |ids: [&str; 2]| {
        let keys = vec![key(ids[0], "HS256", SECRET), key(ids[1], "HS256", other)];
        Verifier::new(&Settings { keys, ..settings() }).unwrap()
    };
    let sign = |kid: &str| sign(&key(kid, "HS256", SECRET), &claims(json!({}))).unwrap();

    let named = keys(["a", "b"]);
    assert!(named.verify(&sign("a"), NOW).is_ok());
    assert_eq!(cause(&named, &sign("b")), "bad_signature");
    assert_eq!(cause(&named, &sign("c")), "unknown_key");
    assert_eq!(cause(&named, &sign("")), "unknown_key");
    assert!(keys(["", "b"]).verify(&sign(""), NOW).is_ok());
    assert_eq!(cause(&keys(["b", ""]), &sign("")), "bad_signature");

    let only = Settings { keys: vec![key("a", "HS256", SECRET)], ..settings() };
    assert!(Verifier::new(&only).unwrap().verify(&sign(""), NOW).is_ok());
    let none = Settings { keys: Vec::new(), ..settings() };
    assert_eq!(cause(&Verifier::new(&none).unwrap(), &sign("")), "unknown_key");
}

#[test]
fn audience_and_issuer_are_required_once_configured() {
    let audience = vec!["groupcast".to_owned(), "ws".to_owned()];
    let issuer = vec!["tienda".to_owned()];
    let verifier = Verifier::new(&Settings { audience, issuer, ..settings() }).unwrap();
    let table = [
        (json!({ "aud": "groupcast", "iss": "tienda" }), None),
        (json!({ "aud": ["other", "ws"], "iss": "tienda" }), None),
        (json!({ "aud": ["other"], "iss": "tienda" }), Some("wrong_audience")),
        (json!({ "aud": [], "iss": "tienda" }), Some("wrong_audience")),
        (json!({ "aud": "Groupcast", "iss": "tienda" }), Some("wrong_audience")),
        (json!({ "iss": "tienda" }), Some("missing_claim")),
        (json!({ "aud": 7, "iss": "tienda" }), Some("missing_claim")),
        (json!({ "aud": null, "iss": "tienda" }), Some("missing_claim")),
        (json!({ "aud": "ws", "iss": "other" }), Some("wrong_issuer")),
        (json!({ "aud": "ws", "iss": ["tienda"] }), Some("malformed")),
        (json!({ "aud": "ws" }), Some("missing_claim")),
    ];
    for (extra, expected) in table {
        let answer = verifier.verify(&token(&claims(extra.clone())), NOW);
        assert_eq!(answer.err().map(|token_error| token_error.cause()), expected, "{extra}");
    }
}

#[test]
fn keeps_only_claims_that_templates_name() {
    let settings = Settings {
        claims: vec!["empresa".to_owned(), "turno".to_owned(), "roles".to_owned()],
        grants: vec![rule(&[Operation::Join], &["sede_{sede-id}"])],
        ..settings()
    };
    let extra = json!({ "empresa": "acme", "sede-id": 12, "turno": 1.5, "roles": ["a"], "x": "y" });
    let identity = identity(&settings, extra);
    assert_eq!(identity.value("empresa"), Some("acme"));
    assert_eq!(identity.value("sede-id"), Some("12"));
    assert_eq!(identity.value("sub"), Some("7"));
    for absent in ["turno", "roles", "x", "exp"] {
        assert_eq!(identity.value(absent), None, "{absent}");
    }
    assert!(!format!("{identity:?}").contains("acme"));
}

#[test]
fn applies_the_rules_of_a_token_to_a_hook_answer() {
    let settings = Settings { claims: vec!["empresa".to_owned()], ..settings() };
    let verifier = Verifier::new(&settings).unwrap();
    let extra = json!({ "empresa": "acme", "grants": { "send": "sala_1" }, "sub": "admin" });
    let groups = ["usuario_7".to_owned()];
    let good = HookClaims {
        sub: "7",
        expires_at: Some(NOW + 600),
        groups: &groups,
        claims: extra.as_object().unwrap(),
        session: Some("s-1"),
    };
    let identity = verifier.hook_identity(good).unwrap();
    assert_eq!((&*identity.sub, identity.expires_at), ("7", NOW + 600));
    assert_eq!(identity.value("empresa"), Some("acme"));
    assert!(Policy::default().may(&identity, Operation::Send, "sala_1"));
    assert!(Policy::default().may(&identity, Operation::Join, "usuario_7"));

    assert_eq!(identity.session(), Some("s-1"));
    assert_eq!(serde_json::to_value(identity.claims()).unwrap(), extra, "returned unchanged");
    let bare = HookClaims { expires_at: None, claims: &Map::new(), session: None, ..good };
    let bare = verifier.hook_identity(bare).unwrap();
    assert_eq!((bare.expires_at, bare.session()), (NEVER, None));
    assert_eq!(serde_json::to_value(bare.claims()).unwrap(), json!({}));

    let long = "x".repeat(MAX_HOOK_CLAIMS_LEN);
    let claims = json!({ "nota": long });
    let illegal = ["usuario 7".to_owned()];
    let grants = json!({ "grants": { "send": 7 } });
    for bad in [
        HookClaims { sub: "", ..good },
        HookClaims { sub: "7\0", ..good },
        HookClaims { expires_at: Some(u64::MAX), ..good },
        HookClaims { session: Some(&long[..=MAX_SESSION_LEN]), ..good },
        HookClaims { claims: claims.as_object().unwrap(), ..good },
        HookClaims { groups: &illegal, ..good },
        HookClaims { claims: grants.as_object().unwrap(), ..good },
    ] {
        assert_eq!(verifier.hook_identity(bad).unwrap_err().cause(), "malformed", "{bad:?}");
    }
}

#[test]
fn refuses_every_change_of_one_character() {
    let (verifier, good) = (verifier(), token(&claims(json!({}))));
    for place in 0..good.len() {
        let mut changed = good.clone().into_bytes();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(verifier.verify(&changed, NOW).is_err(), "{changed}");
    }
}

#[test]
fn an_error_does_not_repeat_the_token() {
    let secret = "a-value-that-must-not-be-logged";
    for extra in [json!({ "sub": [secret] }), json!({ "exp": secret }), json!({ "nbf": secret })] {
        let token = token(&claims(extra));
        let token_error = verifier().verify(&token, NOW).unwrap_err();
        let message = format!("{token_error} {token_error:?}");
        assert!(!message.contains(secret) && !message.contains(&token), "{message}");
    }
}

proptest! {
    #[test]
    fn random_text_is_never_accepted_and_never_panics(
        text in "[A-Za-z0-9._=-]{0,200}",
        any in ".{0,100}",
    ) {
        prop_assert!(verifier().verify(&text, NOW).is_err());
        prop_assert!(verifier().verify(&any, NOW).is_err());
    }

    #[test]
    fn signed_json_never_panics(
        header in r#"\{("[a-z]{3}":("[A-Z0-9]{0,5}"|7|null),?){0,3}\}"#,
        claims in r#"\{("(sub|exp|nbf|aud|grants)":("7"|9|\[\]|\{\}|null|-1|1e9),?){0,4}\}"#,
    ) {
        let _ = verifier().verify(&raw(&header, &claims), NOW);
        let _ = verifier().verify(&raw(r#"{"alg":"HS256"}"#, &claims), NOW);
    }
}
