//! One question to the hook by hand, and what happened in words: for `doctor`.

use hyper::header::{COOKIE, HOST, HeaderMap, HeaderValue};

use super::now;
use super::visitor::Visitor;
use super::word::{self, Word};
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
    let visitor = Visitor::new(path, &[], &headers, None);
    let connection: ConnectionId = "aaaaaaaa-1".parse().expect("an id of a connection");
    let answer = super::ask(&client, &settings.connect, &visitor, connection, None).await;
    let word = match &answer {
        Ok(answer) => word::of(answer, now(), verifier, settings.recheck),
        Err(error) => Word::Unknown(error.to_string().into()),
    };
    let (works, words) = match word {
        Word::Accepted(accepted) => {
            (true, format!("the hook knows the visitor: {:?}", accepted.identity))
        }
        Word::Unauthorized => (true, "the hook knows nobody with these cookies (401)".to_owned()),
        Word::Forbidden => (true, "the hook does not let the visitor in (403)".to_owned()),
        Word::Unknown(cause) => (false, cause.to_string()),
    };
    Ok(Trial { works, words })
}
