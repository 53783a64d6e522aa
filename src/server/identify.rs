//! Who is connecting: by the token that they show, else by the back end's word.

use std::time::{SystemTime, UNIX_EPOCH};

use super::settings::{Allow, Route};
use super::websocket::{Front, Refused, Visit};
use crate::backend::{Hook, HookVerdict};
use crate::event::ConnectionId;
use crate::hub::{Credential, HookIdentity};
use crate::identity::Identity;
use crate::protocol::Disconnect;
use crate::telemetry::{AuthFailure, RefusalReason};

/// Somebody who may come in.
pub(super) struct Known {
    pub(super) identity: Identity,
    pub(super) credential: Credential,
}

impl Front {
    /// By the hello's token, the handshake's, or the hook; on a route of the hook's by the hook alone,
    /// since its parameters are for it to confirm.
    pub(super) async fn identify(
        &self,
        visit: &Visit,
        route: &Route,
        id: ConnectionId,
        hello: Option<&str>,
    ) -> Result<Known, Refused> {
        let by_hook = route.allow == Allow::Hook;
        let token = match (hello, &visit.credential) {
            _ if by_hook => None,
            (Some(token), _) => Some(token),
            (None, Some(credential)) => {
                if credential.ambient {
                    self.check_origin(visit)?;
                }
                Some(credential.token.as_str())
            }
            (None, None) => None,
        };
        match (token, &self.hook) {
            (Some(token), _) => self.verify(token),
            (None, Some(hook)) => {
                // Cookies are what the hook goes by, and a browser sends them for any page.
                self.check_origin(visit)?;
                self.ask(hook, visit, id).await
            }
            (None, None) => {
                let cause = "no token in hello, header, cookie".to_owned();
                Err(self.unknown(AuthFailure::Missing, Disconnect::UNAUTHORIZED, cause))
            }
        }
    }

    fn check_origin(&self, visit: &Visit) -> Result<(), Refused> {
        let Err(wrong) = &visit.origin else { return Ok(()) };
        let cause = format!(
            "origin {:?} is not of host {:?}; if they are one site, the proxy must pass \
             Host on (nginx: proxy_set_header Host $host), else add it to \
             auth.allowed_origins",
            wrong.origin, wrong.host
        );
        let forbidden = Disconnect::FORBIDDEN.because("origin not allowed");
        Err(self.unknown(AuthFailure::Origin, forbidden, cause))
    }

    fn verify(&self, token: &str) -> Result<Known, Refused> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let identity = self.verifier.verify(token, now).map_err(|refusal| {
            let failure =
                AuthFailure::from_cause(refusal.cause()).unwrap_or(AuthFailure::Malformed);
            let cause = format!("{}: {refusal}", refusal.cause());
            self.unknown(failure, Disconnect::UNAUTHORIZED, cause)
        })?;
        Ok(Known { identity, credential: Credential::Token })
    }

    async fn ask(&self, hook: &Hook, visit: &Visit, id: ConnectionId) -> Result<Known, Refused> {
        let visitor = visit.visitor.as_ref().expect("kept where the hook may be asked");
        let channel =
            self.channel_layer.as_ref().and_then(|channel_layer| channel_layer.channel_of(id));
        let (disconnect, cause) = match hook.ask(visitor, id, channel).await {
            HookVerdict::Accepted(word) => {
                let hook = HookIdentity {
                    request: visitor.pack(),
                    ask_at: word.ask_at(id),
                    welcome: word.welcome.clone(),
                };
                let (identity, credential) = (word.identity.clone(), Credential::Hook(hook));
                return Ok(Known { identity, credential });
            }
            HookVerdict::Unauthorized => {
                (Disconnect::UNAUTHORIZED.because("not logged in"), "the connect hook says 401")
            }
            HookVerdict::Forbidden => (Disconnect::FORBIDDEN, "the connect hook says 403"),
            HookVerdict::Unknown(cause) => {
                let unavailable = Disconnect::UNAVAILABLE;
                return Err(Refused::new(unavailable, RefusalReason::Backend, &*cause));
            }
        };
        Err(self.unknown(AuthFailure::Hook, disconnect, cause.to_owned()))
    }

    fn unknown(&self, failure: AuthFailure, disconnect: Disconnect, cause: String) -> Refused {
        self.metrics.auth_failures.of(failure).increment(1);
        Refused::new(disconnect, RefusalReason::Unauthorized, cause)
    }
}
