//! Whether a page's origin may use a browser's cookies here.

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};

use crate::excerpt::excerpt;

/// A refusal, with what an operator needs to see the cause.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WrongOrigin {
    pub(crate) origin: String,
    pub(crate) host: String,
}

/// Compares Origin with Host, then with the allow-list, exactly.
///
/// A request without an Origin header passes: browsers always send one with a WebSocket (RFC 6455,
/// section 10.2), and other programs have no cookies of their users. `null` is an origin like any
/// other.
pub(crate) fn check(headers: &HeaderMap, allowed: &[String]) -> Result<(), WrongOrigin> {
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(()) };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let text = origin.to_str().unwrap_or_default();
    let single = origins.next().is_none();
    if single && (is_of_host(text, host) || allowed.iter().any(|other| other == text)) {
        return Ok(());
    }
    Err(WrongOrigin { origin: excerpt(text, 200), host: excerpt(host, 200) })
}

/// Whether `origin` is `http(s)://` and this Host. The scheme is not compared: behind a proxy that
/// terminates TLS it is unknown here.
fn is_of_host(origin: &str, host: &str) -> bool {
    let named = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    named.is_some_and(|named| !named.is_empty() && named.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_allowed(origin: &'static str, host: &'static str, allowed: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, origin.parse().unwrap());
        headers.insert(HOST, host.parse().unwrap());
        let allowed = allowed.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        check(&headers, &allowed).is_ok()
    }

    #[test]
    fn accepts_pages_of_the_same_host() {
        assert!(is_allowed("https://tienda.example", "tienda.example", &[]));
        assert!(is_allowed("http://127.0.0.1:8080", "127.0.0.1:8080", &[]));
        assert!(is_allowed("https://Tienda.example", "tienda.example", &[]));
    }

    #[test]
    fn accepts_other_origins_only_if_listed_exactly() {
        let list = ["https://panel.example"];
        assert!(is_allowed("https://panel.example", "ws.example", &list));
        for wrong in [
            "https://panel.example.evil.example",
            "https://panel.example:444",
            "http://panel.example",
            "https://evil.example",
            "null",
            "https://",
        ] {
            assert!(!is_allowed(wrong, "ws.example", &list), "{wrong}");
        }
        assert!(!is_allowed("http://127.0.0.1:8081", "127.0.0.1:8080", &[]));
    }

    #[test]
    fn refuses_two_origins_and_accepts_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(check(&headers, &[]), Ok(()));
        headers.insert(HOST, "a.example".parse().unwrap());
        headers.append(ORIGIN, "https://a.example".parse().unwrap());
        headers.append(ORIGIN, "https://a.example".parse().unwrap());
        assert!(check(&headers, &[]).is_err());
    }
}
