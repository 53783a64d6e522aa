//! Asks the connect hook once, as for a browser that somebody describes.

use clap::Args;
use groupcast::backend::{self, Trial};
use groupcast::channels::doctor::Finding;
use groupcast::config::Config;
use groupcast::identity::Verifier;

use super::Failure;

/// The browser in whose place the hook is asked.
#[derive(Debug, Args)]
pub(super) struct Browser {
    /// Ask the connect hook, as for a browser
    #[arg(long, conflicts_with = "channels")]
    backend: bool,
    /// Its Cookie header, such as 'sessionid=…' as the browser's developer tools show it
    #[arg(long, requires = "backend", value_name = "COOKIE")]
    cookie: Option<String>,
    /// The path it connects to [default: the first route's without parameters]
    #[arg(long, requires = "backend")]
    path: Option<String>,
    /// The site it is on, as in ALLOWED_HOSTS [default: backend.host, or that of backend.url]
    #[arg(long, requires = "backend")]
    host: Option<String>,
}

/// What the hook said; of a hook that is not to be asked, that it was not.
pub(super) async fn look(config: &Config, browser: &Browser) -> Result<Option<Finding>, Failure> {
    let settings = &config.backend;
    if !settings.has_hook() {
        let advice = "set backend.url, and [[backend.key]] with the secret that the site has";
        return Ok(browser
            .backend
            .then(|| Finding::fail("connect hook", "there is none in the configuration", advice)));
    }
    if !browser.backend {
        let advice = "groupcast doctor --backend --host <site> --cookie 'sessionid=…' asks it";
        return Ok(Some(Finding {
            advice: advice.into(),
            ..Finding::ok("connect hook", "not asked")
        }));
    }
    let authority = settings.url.split_once("://").map_or("", |(_, authority)| authority);
    let own = if settings.host.is_empty() { authority } else { &settings.host };
    let host = browser.host.as_deref().unwrap_or(own);
    // What stands for a parameter is the browser's to say.
    let mut whole = config.server.routes.iter().map(|route| route.path.as_str());
    let first = whole.find(|path| !path.contains('{')).unwrap_or("/");
    let path = browser.path.as_deref().unwrap_or(first);
    let verifier = Verifier::new(&config.identity).map_err(Failure::configuration)?;
    let asked = backend::try_hook(settings, &verifier, browser.cookie.as_deref(), host, path).await;
    let Trial { works, words } = asked.map_err(Failure::configuration)?;
    let found = format!("{words} (as {host}, {path})");
    Ok(Some(match works {
        true => Finding::ok("connect hook", found),
        false => Finding::fail("connect hook", found, "docs/backend.md explains every answer"),
    }))
}
