//! Keys made while the tests run, and tokens of any form.

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Value, json};

use super::super::*;

/// The time of every test: 14 November 2023.
pub(super) const NOW: u64 = 1_700_000_000;

pub(super) const SECRET: &[u8] = b"a secret made up for these tests alone";

/// A private and a public key in PEM.
pub(super) struct Pair {
    pub(super) private: Vec<u8>,
    pub(super) public: Vec<u8>,
}

pub(super) static RSA: LazyLock<Pair> = LazyLock::new(|| {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).unwrap();
    pair(private.as_ref(), key.public_key().as_der().unwrap().as_ref())
});

pub(super) static P256: LazyLock<Pair> = LazyLock::new(|| ec(&ECDSA_P256_SHA256_FIXED_SIGNING));

pub(super) static P384: LazyLock<Pair> = LazyLock::new(|| ec(&ECDSA_P384_SHA384_FIXED_SIGNING));

pub(super) static ED25519: LazyLock<Pair> = LazyLock::new(|| {
    let private = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let key = Ed25519KeyPair::from_pkcs8(private.as_ref()).unwrap();
    pair(private.as_ref(), key.public_key().as_der().unwrap().as_ref())
});

fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> Pair {
    let private = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref()).unwrap();
    pair(private.as_ref(), key.public_key().as_der().unwrap().as_ref())
}

fn pair(private: &[u8], public: &[u8]) -> Pair {
    let pem = |kind: &str, der: &[u8]| {
        let lines: Vec<_> =
            BASE64.encode(der).into_bytes().chunks(64).map(<[u8]>::to_vec).collect();
        let body = String::from_utf8(lines.join(&b'\n')).unwrap();
        format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n").into_bytes()
    };
    Pair { private: pem("PRIVATE KEY", private), public: pem("PUBLIC KEY", public) }
}

pub(super) fn key(id: &str, algorithm: &str, material: &[u8]) -> KeySettings {
    let (id, algorithm) = (id.to_owned(), algorithm.to_owned());
    KeySettings { id, algorithm, material: material.to_vec() }
}

/// One HS256 key without an id, no leeway.
pub(super) fn settings() -> Settings {
    let keys = vec![key("", "HS256", SECRET)];
    Settings { keys, leeway: std::time::Duration::ZERO, ..Settings::default() }
}

pub(super) fn verifier() -> Verifier {
    Verifier::new(&settings()).unwrap()
}

/// A token that is good until an hour after [`NOW`], with `extra` claims in it.
pub(super) fn claims(extra: Value) -> Value {
    let mut claims = json!({ "sub": "7", "exp": NOW + 3600 });
    for (name, value) in extra.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

/// A token with exactly this header and these claims, signed as HS256.
pub(super) fn raw(header: &str, claims: &str) -> String {
    let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message.as_bytes());
    format!("{message}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
}

/// A well-signed token of these claims.
pub(super) fn token(claims: &Value) -> String {
    raw(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string())
}

/// The cause for which the token is refused.
pub(super) fn cause(verifier: &Verifier, token: &str) -> &'static str {
    verifier.verify(token, NOW).expect_err("the token was accepted").cause()
}

/// An identity that carries these claims and grants.
pub(super) fn identity(settings: &Settings, extra: Value) -> Identity {
    let verifier = Verifier::new(settings).unwrap();
    verifier.verify(&token(&claims(extra)), NOW).unwrap()
}

pub(super) fn rule(operations: &[Operation], names: &[&str]) -> GrantRule {
    let names = names.iter().map(|name| PatternTemplate::parse(name).unwrap()).collect();
    GrantRule { origin: "grant[0]".to_owned(), operations: operations.to_vec(), names }
}
