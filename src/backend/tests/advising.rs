use bytes::Bytes;
use hyper::StatusCode;

use super::super::{BackendResponse, advice};

fn advice_on(status: u16, location: Option<&str>, json: bool, body: &'static str) -> String {
    advice::explain(&BackendResponse {
        status: StatusCode::from_u16(status).unwrap(),
        location: location.map(ToOwned::to_owned),
        json,
        body: Bytes::from_static(body.as_bytes()),
    })
}

#[test]
fn names_the_likely_setting_for_each_failure() {
    let to_https = Some("https://tienda.example/groupcast/connect");
    for (status, location, body, named) in [
        (400, None, "<h1>Bad Request (400)</h1>", "ALLOWED_HOSTS"),
        (301, to_https, "", "SECURE_PROXY_SSL_HEADER"),
        (301, Some("/groupcast/connect/"), "", "APPEND_SLASH"),
        (302, Some("/accounts/login/?next=/groupcast/connect"), "", "login_required"),
        (401, None, "", "bare_refusals"),
        (403, None, "<h1>Forbidden</h1>", "bare_refusals"),
        (403, None, "<p>CSRF verification failed.</p>", "csrf_exempt"),
        (404, None, "<h1>Not Found</h1>", "urls.py"),
        (405, None, "", "POST"),
        (200, None, "<html>", "application/json"),
        (502, None, "", "proxy"),
    ] {
        let words = advice_on(status, location, false, body);
        assert!(words.contains(named) && words.contains(&status.to_string()), "{words}");
        if let Some(location) = location {
            assert!(words.contains(location), "{words}");
        }
    }
}

#[test]
fn never_repeats_the_body_of_an_unexplained_failure() {
    assert_eq!(advice_on(500, None, false, "geheim"), "the back end answered 500");
    assert!(!advice_on(403, None, false, "geheim").contains("geheim"));
}
