//! Explains unusable answers of the back end: the likely cause and the setting to check.

use hyper::StatusCode;

use super::BackendResponse;

/// The answer and its likely cause, for logs: status, redirect and Django's setting. The body is
/// left out, since it may hold anything.
pub(super) fn explain(answer: &BackendResponse) -> String {
    let status = answer.status.as_u16();
    let location = answer.location.as_deref();
    let to = location.map(|to| format!(" to {to:?}")).unwrap_or_default();
    match setting(answer) {
        Some(setting) => format!("the back end answered {status}{to}: {setting}"),
        None => format!("the back end answered {status}{to}"),
    }
}

fn setting(answer: &BackendResponse) -> Option<&'static str> {
    let location = answer.location.as_deref().unwrap_or_default();
    match answer.status {
        StatusCode::BAD_REQUEST if !answer.json => Some(
            "probably ALLOWED_HOSTS: the request carries the browser's Host (calls: backend.host), \
             which must be listed (DisallowedHost)",
        ),
        StatusCode::MOVED_PERMANENTLY | StatusCode::PERMANENT_REDIRECT
            if location.starts_with("https://") =>
        {
            Some(
                "probably SECURE_SSL_REDIRECT: set SECURE_PROXY_SSL_HEADER in Django and pass the \
                 proxy's X-Forwarded-Proto on, or set [backend] headers = \
                 { \"X-Forwarded-Proto\" = \"https\" }",
            )
        }
        StatusCode::MOVED_PERMANENTLY | StatusCode::PERMANENT_REDIRECT => Some(
            "probably APPEND_SLASH or PREPEND_WWW: the path must be as in Django's urls.py, slash \
             and all",
        ),
        StatusCode::FOUND | StatusCode::SEE_OTHER | StatusCode::TEMPORARY_REDIRECT => Some(
            "probably login_required, or a middleware that redirects to a login: the view must \
             answer by itself",
        ),
        StatusCode::UNAUTHORIZED if answer.json => Some(
            "probably the signature: the secret or its key id differs, or a clock is more than \
             five minutes off",
        ),
        StatusCode::FORBIDDEN if is_csrf(answer) => {
            Some("the CSRF check refused it: the view must be csrf_exempt")
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(
            "a verdict about a visitor is JSON with a code, such as {\"code\": \"forbidden\"}; \
             this is a proxy or middleware, or set backend.bare_refusals",
        ),
        StatusCode::NOT_FOUND if !answer.json => {
            Some("the path is not in Django's urls.py: check backend.connect and backend.calls")
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            Some("the view takes other methods: the hook is a GET, calls are a POST")
        }
        StatusCode::OK if !answer.json => {
            Some("the answer is not application/json: check that the path is that of the view")
        }
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Some("a proxy in between does not reach the site")
        }
        _ => None,
    }
}

/// What is wrong with an answer's JSON, without the value: it may be confidential.
pub(super) fn parse_problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None => text,
    }
}

/// Whether a 403 comes from Django's CSRF check and not from the view.
pub(super) fn is_csrf(answer: &BackendResponse) -> bool {
    const MARK: &[u8] = b"CSRF";
    !answer.json && answer.body.windows(MARK.len()).any(|window| window == MARK)
}
