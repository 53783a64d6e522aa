//! Asks the connect hook once, as for a described browser.

use super::{DoctorError, Finding};
use crate::backend::{self, HookRequest, HookVerdict};
use crate::config::Config;
use crate::identity::Verifier;

/// The browser for which the hook is asked.
#[derive(Debug, Clone, Default)]
pub struct Browser {
    /// Its `Cookie` header.
    pub cookie: Option<String>,
    /// The path it connects to; `None` = that of the first route without parameters.
    pub path: Option<String>,
    /// The site it is on; `None` = `backend.host`, or the host of `backend.url`.
    pub host: Option<String>,
}

/// `None` = no hook is configured, and none was to be asked.
pub(super) async fn examine(
    config: &Config,
    browser: Option<&Browser>,
) -> Result<Option<Finding>, DoctorError> {
    let settings = &config.backend;
    let Some(browser) = browser else {
        let advice = "groupcast doctor --backend --host <site> --cookie 'sessionid=…' asks it";
        return Ok(settings
            .has_hook()
            .then(|| Finding::ok("connect hook", "not asked").hint(advice)));
    };
    if !settings.has_hook() {
        let advice = "set backend.url, and [[backend.key]] with the secret that the site has";
        return Ok(Some(Finding::fail("connect hook", "none is configured", advice)));
    }
    let authority = settings.url.split_once("://").map_or("", |(_, authority)| authority);
    let own = if settings.host.is_empty() { authority } else { &settings.host };
    let host = browser.host.as_deref().unwrap_or(own);
    // Values of parameters are unknown.
    let mut whole = config.server.routes.iter().map(|route| route.path.as_str());
    let first = whole.find(|path| !path.contains('{')).unwrap_or("/");
    let path = browser.path.as_deref().unwrap_or(first);

    let request = HookRequest::described(path, host, browser.cookie.as_deref());
    let verifier = Verifier::new(&config.identity)?;
    let verdict = backend::ask_hook_once(settings, &verifier, &request).await?;
    let (works, text) = describe(&verdict);
    let found = format!("{text} (as {host}, {path})");
    Ok(Some(match works {
        true => Finding::ok("connect hook", found),
        false => Finding::fail("connect hook", found, "docs/backend.md explains every answer"),
    }))
}

/// Whether the hook answered as one, and its answer in words.
fn describe(verdict: &HookVerdict) -> (bool, String) {
    match verdict {
        HookVerdict::Accepted(accepted) => {
            (true, format!("the hook accepts the request: {:?}", accepted.identity))
        }
        HookVerdict::Unauthorized => {
            (true, "the hook recognises nobody by these cookies (401)".to_owned())
        }
        HookVerdict::Forbidden => (true, "the hook does not admit this request (403)".to_owned()),
        HookVerdict::Unknown(cause) => (false, cause.to_string()),
    }
}
