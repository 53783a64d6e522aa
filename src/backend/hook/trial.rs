//! One question to the hook by hand, and what happened in words: for `doctor`.

use hyper::header::{COOKIE, HOST, HeaderMap, HeaderValue};

use super::now;
use super::request::HookRequest;
use super::verdict::{self, HookVerdict};
use crate::backend::{BackendError, Client, Settings};
use crate::event::ConnectionId;
use crate::identity::Verifier;

/// What came of a question.
#[derive(Debug)]
pub struct Trial {
    /// Whether the hook answered as one: who it is, or that it knows nobody of the kind.
    pub works: bool,
    /// What happened, and which setting to look at.
    pub words: String,
}

/// Asks the hook once who somebody with `cookie` is who connects to `path` of the site `host`.
///
/// Nothing is kept and nothing is asked twice. A cookie or host that no header can carry is left
/// out.
pub async fn try_hook(
    settings: &Settings,
    verifier: &Verifier,
    cookie: Option<&str>,
    host: &str,
    path: &str,
) -> Result<Trial, BackendError> {
    let client = Client::new(settings)?;
    let mut headers = HeaderMap::new();
    for (name, value) in [(HOST, Some(host)), (COOKIE, cookie)] {
        let value = value.and_then(|value| HeaderValue::from_str(value).ok());
        headers.extend(value.map(|value| (name, value)));
    }
    let request = HookRequest::new(path, &[], &headers, None);
    let connection: ConnectionId = "aaaaaaaa-1".parse().expect("an id of a connection");
    let answer = super::ask(&client, &settings.connect, &request, connection, None).await;
    let verdict = match &answer {
        Ok(answer) => verdict::of(answer, now(), verifier, settings.recheck),
        Err(error) => HookVerdict::Unknown(error.to_string().into()),
    };
    let (works, words) = match verdict {
        HookVerdict::Accepted(accepted) => {
            (true, format!("the hook knows the request: {:?}", accepted.identity))
        }
        HookVerdict::Unauthorized => {
            (true, "the hook knows nobody with these cookies (401)".to_owned())
        }
        HookVerdict::Forbidden => (true, "the hook does not let the request in (403)".to_owned()),
        HookVerdict::Unknown(cause) => (false, cause.to_string()),
    };
    Ok(Trial { works, words })
}
