//! The stored part of a handshake's request, whose headers must not stay in memory with the socket.

use std::net::IpAddr;

use axum::extract::Request;

use super::handshake::Offer;
use super::origin::{self, WrongOrigin};
use super::paths::Parameters;
use super::presented_token::{self, PresentedToken};
use super::settings::Allow;
use super::state::Handshakes;
use crate::backend::HookRequest;
use crate::excerpt::excerpt;

/// Characters of a path that logs and errors repeat.
const PATH_EXCERPT: usize = 120;

/// A handshake that was answered with 101 and is not admitted yet.
pub(super) struct UpgradeRequest {
    /// Index of the route, and the values of its path parameters.
    pub(super) route: Option<(usize, Parameters)>,
    pub(super) token: Option<PresentedToken>,
    pub(super) origin: Result<(), WrongOrigin>,
    /// The hook request; stored only if the hook may be asked.
    pub(super) hook_request: Option<HookRequest>,
    pub(super) offer: Offer,
    /// An excerpt, for the log.
    pub(super) path: String,
}

impl UpgradeRequest {
    pub(super) fn new(
        handshakes: &Handshakes,
        request: &Request,
        offer: Offer,
        peer: Option<IpAddr>,
    ) -> Self {
        let (uri, headers) = (request.uri(), request.headers());
        let settings = &handshakes.server.settings;
        let route = handshakes.route(uri.path());
        let token = presented_token::find(settings, headers, uri.query().unwrap_or_default());
        let hook_request = route.as_ref().and_then(|(index, parameters)| {
            let by_hook = settings.routes[*index].allow == Allow::Hook;
            (handshakes.server.hook.is_some() && (by_hook || token.is_none()))
                .then(|| HookRequest::new(uri.path(), parameters, headers, peer))
        });
        Self {
            route,
            token,
            hook_request,
            origin: origin::check(headers, &settings.allowed_origins),
            offer,
            path: path_excerpt(uri.path()),
        }
    }
}

/// The excerpt of a path for logs and errors.
pub(super) fn path_excerpt(path: &str) -> String {
    excerpt(path, PATH_EXCERPT)
}
