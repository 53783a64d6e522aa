use std::time::Duration;

use serde_json::json;

use super::super::*;
use super::support::*;

fn with_leeway(seconds: u64) -> Verifier {
    let leeway = Duration::from_secs(seconds);
    Verifier::new(&Settings { leeway, ..settings() }).unwrap()
}

#[test]
fn a_token_is_valid_until_exp_and_leeway_have_passed() {
    let token = token(&json!({ "sub": "7", "exp": NOW }));
    let strict = with_leeway(0);
    assert!(strict.verify(&token, NOW - 1).is_ok());
    assert_eq!(strict.verify(&token, NOW).unwrap_err(), TokenError::Expired { exp: NOW, ago: 0 });

    let lenient = with_leeway(10);
    assert_eq!(lenient.verify(&token, NOW + 9).unwrap().expires_at, NOW + 10);
    let late = lenient.verify(&token, NOW + 10).unwrap_err();
    assert_eq!(late, TokenError::Expired { exp: NOW, ago: 10 });
}

#[test]
fn a_token_is_valid_from_nbf_less_the_leeway() {
    let token = token(&claims(json!({ "nbf": NOW })));
    assert!(with_leeway(0).verify(&token, NOW).is_ok());
    let early = with_leeway(0).verify(&token, NOW - 1).unwrap_err();
    assert_eq!(early, TokenError::NotYet { nbf: NOW, ahead: 1 });
    assert!(with_leeway(10).verify(&token, NOW - 10).is_ok());
    assert_eq!(with_leeway(10).verify(&token, NOW - 11).unwrap_err().cause(), "not_yet");
}

#[test]
fn cuts_fractions_of_a_second() {
    let token = token(&json!({ "sub": "7", "exp": NOW as f64 + 0.9 }));
    assert!(with_leeway(0).verify(&token, NOW - 1).is_ok());
    assert_eq!(with_leeway(0).verify(&token, NOW).unwrap_err().cause(), "expired");
}

#[test]
fn refuses_more_than_ten_seconds_of_leeway() {
    let leeway = MAX_LEEWAY + Duration::from_millis(1);
    let refused = Verifier::new(&Settings { leeway, ..settings() }).unwrap_err();
    assert_eq!(refused.to_string(), "leeway is 10.001s; at most 10s is allowed");
}
