//! Authenticates browsers: by token, else by the connect hook.

use super::metrics::RefusalReason;
use super::rejection::Rejection;
use super::settings::{Allow, Route};
use super::state::Handshakes;
use super::upgrade::UpgradeRequest;
use crate::backend::{Hook, HookVerdict};
use crate::clock;
use crate::event::{ConnectionId, Stamp};
use crate::hub::{Credential, HookIdentity};
use crate::identity::{AuthFailure, Identity, claimed_sub};
use crate::protocol::Disconnect;

/// An authenticated browser.
pub(super) struct Authenticated {
    pub(super) identity: Identity,
    pub(super) credential: Credential,
    /// As of the moment at which its identity was checked.
    pub(super) stamp: Stamp,
}

impl Handshakes {
    /// Authenticates by the token of the hello, that of the handshake, or the hook; on a route for
    /// the hook only by the hook, since it must confirm the path parameters.
    pub(super) async fn authenticate(
        &self,
        request: &UpgradeRequest,
        route: &Route,
        id: ConnectionId,
        hello_token: Option<&str>,
    ) -> Result<Authenticated, Rejection> {
        let token = match (route.allow, hello_token, &request.token) {
            (Allow::Hook, _, _) | (_, None, None) => None,
            (_, Some(token), _) => Some(token),
            (_, None, Some(presented)) => {
                if presented.ambient {
                    self.check_origin(request)?;
                }
                Some(presented.token.as_str())
            }
        };
        if let Some(token) = token {
            return self.verify(token).await;
        }
        let Some(hook) = &self.server.hook else {
            let cause = "no token in hello, header, cookie".to_owned();
            return Err(self.reject_identity(
                AuthFailure::Missing,
                Disconnect::UNAUTHORIZED,
                cause,
            ));
        };
        // The hook relies on cookies, which a browser sends for any page.
        self.check_origin(request)?;
        self.ask(hook, request, id).await
    }

    fn check_origin(&self, request: &UpgradeRequest) -> Result<(), Rejection> {
        let Err(wrong) = &request.origin else { return Ok(()) };
        let cause = format!(
            "origin {:?} is not of host {:?}; if they are one site, the proxy must pass \
             Host on (nginx: proxy_set_header Host $host), else add it to \
             auth.allowed_origins",
            wrong.origin, wrong.host
        );
        let forbidden = Disconnect::FORBIDDEN.because("origin not allowed");
        Err(self.reject_identity(AuthFailure::Origin, forbidden, cause))
    }

    async fn verify(&self, token: &str) -> Result<Authenticated, Rejection> {
        let stamp = self.server.layer.stamp().await;
        let identity =
            self.server.verifier.verify(token, clock::unix_seconds()).map_err(|refusal| {
                let cause = format!("{}: {refusal}", refusal.cause());
                let rejection =
                    self.reject_identity(refusal.failure(), Disconnect::UNAUTHORIZED, cause);
                rejection.of(claimed_sub(token))
            })?;
        Ok(Authenticated { identity, credential: Credential::Token, stamp })
    }

    async fn ask(
        &self,
        hook: &Hook,
        request: &UpgradeRequest,
        id: ConnectionId,
    ) -> Result<Authenticated, Rejection> {
        let hook_request = request.hook_request.as_ref().expect("kept where the hook may be asked");
        let channel = self.server.mailboxes.as_ref().map(|mailboxes| mailboxes.channel(id));
        let (disconnect, cause) = match hook.ask(hook_request, id, channel).await {
            HookVerdict::Accepted(accepted) => {
                let hook = HookIdentity {
                    request: hook_request.pack(),
                    ask_at: accepted.ask_at(id),
                    welcome: accepted.welcome.clone(),
                };
                let (identity, credential) = (accepted.identity.clone(), Credential::Hook(hook));
                return Ok(Authenticated { identity, credential, stamp: accepted.stamp() });
            }
            HookVerdict::Unauthorized => {
                (Disconnect::UNAUTHORIZED.because("not logged in"), "the connect hook answered 401")
            }
            HookVerdict::Forbidden => (Disconnect::FORBIDDEN, "the connect hook answered 403"),
            HookVerdict::Unknown(cause) => {
                let unavailable = Disconnect::UNAVAILABLE;
                return Err(Rejection::new(unavailable, RefusalReason::Backend, &*cause));
            }
        };
        Err(self.reject_identity(AuthFailure::Hook, disconnect, cause.to_owned()))
    }

    fn reject_identity(
        &self,
        failure: AuthFailure,
        disconnect: Disconnect,
        cause: String,
    ) -> Rejection {
        self.server.by_label.auth_failures.of(failure).increment(1);
        Rejection::new(disconnect, RefusalReason::Unauthorized, cause)
    }
}
