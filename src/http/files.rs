//! Files compiled into the binary, with the headers that browsers need.

use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::routing::{MethodRouter, get};

/// No inline scripts, nothing from other origins.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; \
                      frame-ancestors 'none'; form-action 'none'";

/// Serves `bytes`, which are text in UTF-8, as `media_type`; `cache` is the `Cache-Control`.
pub(crate) fn file<S: Clone + Send + Sync + 'static>(
    bytes: &'static [u8],
    media_type: &'static str,
    cache: &'static str,
) -> MethodRouter<S> {
    get(move || async move {
        let media_type = HeaderValue::from_str(&format!("{media_type}; charset=utf-8"));
        let headers = [
            (CONTENT_TYPE, media_type.expect("media types are legal header values")),
            (CACHE_CONTROL, HeaderValue::from_static(cache)),
            (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        ];
        (headers, bytes)
    })
}
