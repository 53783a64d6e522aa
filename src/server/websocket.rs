//! A WebSocket's way in: handshake, route, identity; then the socket goes to a shard.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::UPGRADE;
use axum::response::{IntoResponse, Response};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::credential::{self, Credential};
use super::handshake::{Handshake, HandshakeError, Offer};
use super::identify::Known;
use super::listen::Slot;
use super::origin;
use super::paths::{Parameters, RoutePath};
use super::pre_session::{ParsedHello, PreSession};
use super::problem::Kind;
use super::settings::{Allow, Settings};
use super::site::Site;
use crate::backend::{Hook, HookRequest};
use crate::channels::ChannelLayer;
use crate::event::{ConnectionId, Position};
use crate::group::GroupName;
use crate::hub::{Hub, NewConnection};
use crate::identity::Verifier;
use crate::protocol::{Disconnect, Encoding};
use crate::shutdown::{Phase, Shutdown};
use crate::telemetry::{AuthFailure, Metrics, RefusalReason};

/// What every handshake needs.
pub(super) struct Front {
    /// In `dev`: what answers requests that are no WebSocket.
    pub(super) site: Option<Site>,
    pub(super) settings: Settings,
    pub(super) paths: Vec<RoutePath>,
    /// Most WebSockets.
    pub(super) max_connections: usize,
    /// Largest first frame, and most groups on arrival: the bounds of every connection.
    pub(super) connection: crate::socket::Settings,
    pub(super) verifier: Arc<Verifier>,
    /// Says who somebody without a token is.
    pub(super) hook: Option<Hook>,
    pub(super) channel_layer: Option<ChannelLayer>,
    pub(super) hub: Hub,
    pub(super) metrics: Arc<Metrics>,
    pub(super) shutdown: Shutdown,
}

/// What a handshake said, kept in place of the request: headers must not live as long as a socket.
pub(super) struct Visit {
    route: Option<(usize, Parameters)>,
    pub(super) credential: Option<Credential>,
    pub(super) origin: Result<(), origin::WrongOrigin>,
    /// What the hook would be told; kept only where it may be asked.
    pub(super) visitor: Option<HookRequest>,
    offer: Offer,
    path: String,
}

/// Somebody who may come in, to which groups and with which word.
struct Admission {
    id: ConnectionId,
    known: Known,
    route: usize,
    parameters: Parameters,
    groups: Vec<(GroupName, Option<Position>)>,
}

/// Why a WebSocket is not let in, and what is counted and logged of it.
pub(super) struct Refused {
    disconnect: Disconnect,
    reason: RefusalReason,
    cause: String,
}

/// Answers a handshake with 101 and settles the rest behind it: a browser cannot read the status or
/// body of a handshake that fails, but it can read a close code.
pub(super) async fn websocket(State(front): State<Arc<Front>>, mut request: Request) -> Response {
    let handshake = match Handshake::check(&request) {
        Ok(handshake) => handshake,
        Err(error) => return front.turn_away(&request, error),
    };
    let slot = request.extensions().get::<Slot>().cloned();
    let peer = slot.as_ref().map(Slot::peer);
    let visit = front.visit(&request, handshake.offer.clone(), peer);
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            front.receive(upgraded, visit).await;
        }
        drop(slot);
    });
    handshake.response()
}

impl Front {
    fn turn_away(&self, request: &Request, error: HandshakeError) -> Response {
        let path = request.uri().path();
        if error == HandshakeError::NotAnUpgrade && self.route(path).is_none() {
            let path = path.chars().take(120).collect::<String>();
            return Kind::NotFound
                .because(format!("nothing is served at {path:?}"))
                .into_response();
        }
        if error == HandshakeError::NotAnUpgrade {
            let mut response = Kind::UpgradeRequired.because(error.to_string()).into_response();
            response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
            return response;
        }
        self.metrics.refusals.of(RefusalReason::BadHandshake).increment(1);
        Kind::BadHandshake.because(error.to_string()).into_response()
    }

    fn visit(&self, request: &Request, offer: Offer, peer: Option<IpAddr>) -> Visit {
        let uri = request.uri();
        let query = uri.query().unwrap_or_default();
        let route = self.route(uri.path());
        let credential = credential::find(&self.settings, request.headers(), query);
        let visitor = route.as_ref().and_then(|(index, parameters)| {
            let by_hook = self.settings.routes[*index].allow == Allow::Hook;
            (self.hook.is_some() && (by_hook || credential.is_none()))
                .then(|| HookRequest::new(uri.path(), parameters, request.headers(), peer))
        });
        Visit {
            route,
            credential,
            visitor,
            origin: origin::check(request.headers(), &self.settings.allowed_origins),
            offer,
            path: uri.path().chars().take(120).collect(),
        }
    }

    fn route(&self, path: &str) -> Option<(usize, Parameters)> {
        let mut matches = self.paths.iter().map(|route| route.matches(path)).enumerate();
        matches.find_map(|(index, parameters)| Some((index, parameters?)))
    }

    /// From the upgraded connection to a seat in a shard, or to a close frame.
    async fn receive(&self, upgraded: Upgraded, visit: Visit) {
        let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
            tracing::error!("an upgraded connection is no TCP stream");
            return;
        };
        // A copy: the buffer itself is a view that keeps 8 KiB alive (measured).
        let leftover = parts.read_buf.to_vec();
        drop(parts.read_buf);
        let mut session =
            PreSession::new(parts.io.into_inner(), leftover, self.connection.max_frame_bytes);
        match self.admit(&mut session, &visit).await {
            Ok(admission) => self.seat(session, visit, admission).await,
            Err(Some(refused)) => self.refuse(session, &visit, refused).await,
            // The peer closed, or was gone: there is nobody to tell.
            Err(None) => {}
        }
    }

    async fn admit(
        &self,
        session: &mut PreSession,
        visit: &Visit,
    ) -> Result<Admission, Option<Refused>> {
        if self.shutdown.phase() != Phase::Running {
            return Err(Some(Refused::new(
                Disconnect::DRAINING,
                RefusalReason::Draining,
                "draining",
            )));
        }
        if let Offer::Unknown(first) = &visit.offer {
            let unknown =
                Disconnect::BAD_FRAME.because("offer groupcast.v1.json or no subprotocol");
            let cause = format!("subprotocol {first:?} and those behind it are not known");
            return Err(Some(Refused::new(unknown, RefusalReason::BadHandshake, cause)));
        }
        self.check_room()?;
        let Some((route, parameters)) = &visit.route else {
            let nowhere = Disconnect::FORBIDDEN.because("no such path");
            return Err(Some(Refused::new(
                nowhere,
                RefusalReason::NoRoute,
                "no route has this path",
            )));
        };
        let hello = match visit.offer {
            Offer::V1 => self.hello(session).await?,
            _ => ParsedHello::default(),
        };
        // Again: whoever was let in as long as nobody had said hello may do so all at once.
        self.check_room()?;
        let (id, to) = (self.hub.next_id(), &self.settings.routes[*route]);
        let known = self.identify(visit, to, id, hello.token.as_deref()).await?;
        let groups = known.identity.groups_on_connect(&to.join, parameters).map_err(|error| {
            self.metrics.auth_failures.of(AuthFailure::IllegalName).increment(1);
            let forbidden = Disconnect::FORBIDDEN.because("a group name is not legal");
            Refused::new(forbidden, RefusalReason::Unauthorized, error.to_string())
        })?;
        if groups.len() > self.connection.groups_per_connection {
            let forbidden = Disconnect::FORBIDDEN.because("too many groups");
            let cause = format!("{} groups on arrival", groups.len());
            return Err(Some(Refused::new(forbidden, RefusalReason::Unauthorized, cause)));
        }
        let groups = groups.into_iter().map(|name| {
            let since = hello.since.iter().find(|(group, _)| *group == name.as_str());
            let since = since.map(|(_, position)| position.clone());
            (name, since)
        });
        let (route, parameters) = (*route, parameters.clone());
        Ok(Admission { id, known, route, parameters, groups: groups.collect() })
    }

    fn check_room(&self) -> Result<(), Option<Refused>> {
        if self.hub.connections() < self.max_connections {
            return Ok(());
        }
        let full = Disconnect::TOO_MANY.because("the gateway is full");
        Err(Some(Refused::new(full, RefusalReason::Full, "connections.max is reached")))
    }

    async fn hello(&self, session: &mut PreSession) -> Result<ParsedHello, Option<Refused>> {
        let within = self.settings.hello_timeout;
        match tokio::time::timeout(within, session.hello()).await {
            Ok(Ok(hello)) => Ok(hello),
            Ok(Err(Some(disconnect))) => {
                Err(Some(Refused::new(disconnect, RefusalReason::BadHandshake, disconnect.reason)))
            }
            Ok(Err(None)) => Err(None),
            Err(_) => {
                let cause = format!("no hello within {within:?}");
                Err(Some(Refused::new(Disconnect::NO_HELLO, RefusalReason::Timeout, cause)))
            }
        }
    }

    async fn seat(&self, session: PreSession, visit: Visit, admission: Admission) {
        let Admission { id, known: Known { identity, credential }, route, parameters, groups } =
            admission;
        let (stream, leftover) = session.into_parts();
        let Ok(stream) = stream.into_std() else { return };
        let encoding = match visit.offer {
            Offer::V1 => Encoding::V1,
            _ => Encoding::Plain(self.settings.routes[route].shape),
        };
        let route = route as u16;
        let arrival = NewConnection {
            id,
            stream,
            leftover,
            identity,
            encoding,
            route,
            parameters,
            groups,
            credential,
        };
        let Err(refused) = self.hub.admit(Box::new(arrival)) else { return };
        let Ok(stream) = TcpStream::from_std(refused.connection.stream) else { return };
        let session = PreSession::new(stream, Vec::new(), 0);
        let cause =
            format!("sub {:?}: {}", refused.connection.identity.sub, refused.disconnect.reason);
        let refused = Refused::new(refused.disconnect, RefusalReason::User, cause);
        self.refuse(session, &visit, refused).await;
    }

    async fn refuse(&self, session: PreSession, visit: &Visit, refused: Refused) {
        let Refused { disconnect, reason, cause } = refused;
        self.metrics.refusals.of(reason).increment(1);
        self.metrics.closes(disconnect.code).increment(1);
        tracing::info!(path = %visit.path, code = disconnect.code, cause, "WebSocket refused");
        let disconnect = match disconnect.may_return() {
            true => disconnect.within(self.settings.retry_window),
            false => disconnect,
        };
        session.close(disconnect.frame()).await;
    }
}

impl Refused {
    pub(super) fn new(
        disconnect: Disconnect,
        reason: RefusalReason,
        cause: impl Into<String>,
    ) -> Self {
        Self { disconnect, reason, cause: cause.into() }
    }
}
