use serde_json::json;

use super::super::*;
use super::support::*;

fn refused(keys: Vec<KeySettings>) -> IdentityError {
    Verifier::new(&Settings { keys, ..settings() }).unwrap_err()
}

#[test]
fn refuses_an_invalid_key_at_startup() {
    let unknown = refused(vec![key("k", "ES512", SECRET)]);
    assert!(matches!(unknown, IdentityError::UnknownAlgorithm { .. }), "{unknown}");
    let none = refused(vec![key("k", "none", SECRET)]);
    assert!(matches!(none, IdentityError::UnknownAlgorithm { .. }), "{none}");
    let short = refused(vec![key("k", "HS512", &SECRET[..31])]);
    assert_eq!(short, IdentityError::ShortSecret { key: "k".to_owned(), len: 31 });
    let twice = refused(vec![key("k", "HS256", SECRET), key("k", "HS512", SECRET)]);
    assert_eq!(twice, IdentityError::DuplicateKey("k".to_owned()));
    let public = refused(vec![key("k", "HS256", &RSA.public)]);
    assert!(matches!(public, IdentityError::PemAsSecret { .. }), "{public}");
    for pair in [&*RSA, &*P256, &*ED25519] {
        let private = refused(vec![key("k", "RS256", &pair.private)]);
        assert_eq!(private, IdentityError::PrivateKey("k".to_owned()));
    }
}

#[test]
fn refuses_a_key_of_another_kind_or_curve_at_startup() {
    let table: [(&str, &[u8]); 9] = [
        ("RS256", &P256.public),
        ("RS256", &ED25519.public),
        ("PS512", b"no PEM at all"),
        ("ES256", &RSA.public),
        ("ES256", &P384.public),
        ("ES384", &P256.public),
        ("EdDSA", &P256.public),
        ("EdDSA", &RSA.public),
        ("EdDSA", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
    ];
    for (algorithm, material) in table {
        let error = refused(vec![key("k", algorithm, material)]);
        assert!(matches!(error, IdentityError::BadKey { .. }), "{algorithm}: {error}");
        assert!(error.to_string().contains(algorithm), "{error}");
    }
}

#[test]
fn refuses_an_rsa_key_below_2048_bits_at_startup() {
    // A modulus of 1024 bits, all ones: what matters is that its size is looked at.
    let mut der = vec![0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00];
    der.extend([0xff; 128]);
    der.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
    let body = data_encoding::BASE64.encode(&der);
    let pem = format!("-----BEGIN RSA PUBLIC KEY-----\n{body}\n-----END RSA PUBLIC KEY-----\n");
    let error = refused(vec![key("k", "RS256", pem.as_bytes())]);
    assert!(error.to_string().contains("at least 2048 bits"), "{error}");
}

#[test]
fn the_self_check_succeeds_with_audience_and_issuer() {
    let keys = vec![key("a", "HS256", SECRET), key("", "ES256", &P256.public)];
    let (audience, issuer) = (vec!["ws".to_owned()], vec!["tienda".to_owned()]);
    Verifier::new(&Settings { keys, audience, issuer, ..settings() }).unwrap();
}

#[test]
fn groups_and_grants_need_separate_claims() {
    for (groups, grants) in [("sub", "grants"), ("groups", "aud"), ("rights", "rights")] {
        let (groups_claim, grants_claim) = (groups.to_owned(), grants.to_owned());
        let refused = Verifier::new(&Settings { groups_claim, grants_claim, ..settings() });
        assert!(matches!(refused, Err(IdentityError::ReservedClaim(_))), "{groups} {grants}");
    }
}

#[test]
fn the_name_of_a_claim_is_configurable_and_may_be_empty() {
    let extra = json!({ "salas": ["sala_1"], "groups": ["sala_2"], "": ["sala_3"] });
    let changed = Settings { groups_claim: "salas".to_owned(), ..settings() };
    let groups = identity(&changed, extra.clone()).groups_on_connect(&[], &[]).unwrap();
    assert_eq!(groups, [GroupName::parse("sala_1").unwrap()]);

    let (groups_claim, grants_claim) = (String::new(), String::new());
    let none = Settings { groups_claim, grants_claim, ..settings() };
    assert!(identity(&none, extra).groups_on_connect(&[], &[]).unwrap().is_empty());
}

#[test]
fn signing_requires_the_private_key() {
    for (algorithm, pair) in [("RS256", &*RSA), ("ES256", &*P256), ("EdDSA", &*ED25519)] {
        let refused = sign(&key("k", algorithm, &pair.public), &json!({})).unwrap_err();
        let message = refused.to_string();
        assert!(message.starts_with("key \"k\" "), "{message}");
    }
    assert!(matches!(
        sign(&key("k", "HS256", b"short"), &json!({})),
        Err(IdentityError::ShortSecret { .. })
    ));
}

#[test]
fn never_shows_a_secret_in_debug_output() {
    let settings = settings();
    let verifier = Verifier::new(&settings).unwrap();
    let secret = std::str::from_utf8(SECRET).unwrap();
    for shown in [format!("{settings:?}"), format!("{verifier:?}")] {
        assert!(!shown.contains(secret), "{shown}");
        assert!(!shown.contains(&format!("{SECRET:?}")), "{shown}");
    }
}
