//! What a useless answer of the back end probably means, in words that name the setting to look at.

use hyper::StatusCode;

use super::Answer;

/// What was answered, and what to look at.
///
/// The words are for logs: they name the status, where it would redirect to, and Django's setting.
/// Nothing of the body is repeated, since it may hold anything.
pub(super) fn on(answer: &Answer) -> String {
    let status = answer.status.as_u16();
    let location = answer.location.as_deref();
    let to = location.map(|to| format!(" to {to:?}")).unwrap_or_default();
    match setting(answer) {
        Some(setting) => format!("the back end answered {status}{to}: {setting}"),
        None => format!("the back end answered {status}{to}"),
    }
}

fn setting(answer: &Answer) -> Option<&'static str> {
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
            "probably login_required, or a middleware that asks for a login: the view must answer \
             by itself",
        ),
        StatusCode::UNAUTHORIZED => Some(
            "probably the signature: the secret or its key id differs, or a clock is more than \
             five minutes off",
        ),
        StatusCode::FORBIDDEN if is_csrf(answer) => {
            Some("the CSRF check refused it: the view must be csrf_exempt")
        }
        StatusCode::NOT_FOUND if !answer.json => {
            Some("the path is not in Django's urls.py: look at backend.connect and backend.calls")
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            Some("the view takes other methods: the hook is a GET, calls are a POST")
        }
        StatusCode::OK if !answer.json => {
            Some("the answer is not application/json; is it the view that the path means?")
        }
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Some("a proxy is between, and does not reach the site")
        }
        _ => None,
    }
}

/// What is wrong with an answer's JSON, without the value that was found: it may be anybody's.
pub(super) fn fault(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None => text,
    }
}

/// Whether a 403 is Django's CSRF check and not the view's word.
pub(super) fn is_csrf(answer: &Answer) -> bool {
    const WORD: &[u8] = b"CSRF";
    !answer.json && answer.body.windows(WORD.len()).any(|window| window == WORD)
}
