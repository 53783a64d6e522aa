//! Accepts only requests for names of this machine.
//!
//! Listening on loopback is not enough: by DNS rebinding, a page on the web can resolve its own
//! name to 127.0.0.1, and would then read the token and the key of the run from its own origin.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use crate::excerpt::excerpt;

/// `router`, for requests whose Host is loopback, `localhost`, below `localhost`, or in `further`.
pub(super) fn only_local(router: Router, further: Arc<[String]>) -> Router {
    router.layer(from_fn_with_state(further, check))
}

async fn check(State(further): State<Arc<[String]>>, request: Request, next: Next) -> Response {
    let named = host(request.headers());
    if named.as_deref().is_some_and(|host| is_local(host, &further)) {
        return next.run(request).await;
    }
    let host = excerpt(named.as_deref().unwrap_or_default(), 120);
    tracing::warn!(host, "request for another host refused");
    let text = format!(
        "groupcast dev answers as localhost and 127.0.0.1, not as {host:?}.\n\
         If that name is this machine's own, start it with --host {host}.\n"
    );
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

/// The host of the one Host line, without its port.
fn host(headers: &HeaderMap) -> Option<String> {
    let mut lines = headers.get_all(HOST).iter();
    let authority: Authority = lines.next()?.to_str().ok()?.parse().ok()?;
    lines.next().is_none().then(|| authority.host().to_ascii_lowercase())
}

fn is_local(host: &str, further: &[String]) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.is_ok_and(|address| address.is_loopback())
        || host == "localhost"
        || host.ends_with(".localhost")
        || further.iter().any(|name| name.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, value.parse().unwrap());
        host(&headers).is_some_and(|host| is_local(&host, &["tienda.test".to_owned()]))
    }

    #[test]
    fn accepts_names_of_this_machine_with_any_port() {
        let local = ["127.0.0.1:8080", "127.9.0.1", "localhost:8080", "LOCALHOST", "[::1]:8080"];
        for host in local.iter().chain(&["tienda.localhost", "Tienda.Test:8080"]) {
            assert!(passes(host), "{host}");
        }
    }

    #[test]
    fn rejects_names_of_other_hosts() {
        for host in [
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evillocalhost",
            "10.0.0.7",
            "user@127.0.0.1.evil.example",
            "a b",
        ] {
            assert!(!passes(host), "{host}");
        }
        assert_eq!(host(&HeaderMap::new()), None);
    }
}
