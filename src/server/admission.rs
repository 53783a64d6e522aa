//! Decides who may open a WebSocket, and with which groups.

use super::authentication::Authenticated;
use super::handshake::Offer;
use super::metrics::RefusalReason;
use super::paths::Parameters;
use super::pre_session::{HelloError, ParsedHello, PreSession};
use super::rejection::Rejection;
use super::settings::Route;
use super::state::Handshakes;
use super::upgrade::UpgradeRequest;
use crate::event::{ConnectionId, Position};
use crate::group::GroupName;
use crate::http::Place;
use crate::identity::{AuthFailure, Identity};
use crate::protocol::{Disconnect, Encoding};
use crate::shutdown::Phase;

/// An admitted browser, with what its connection needs.
pub(super) struct Admission {
    pub(super) id: ConnectionId,
    /// The client's last connection, as it says.
    pub(super) previous: Option<ConnectionId>,
    pub(super) authenticated: Authenticated,
    pub(super) encoding: Encoding,
    /// Index among the routes.
    pub(super) route: u16,
    pub(super) parameters: Parameters,
    /// Joined on arrival, each with the position that the client has seen.
    pub(super) groups: Vec<(GroupName, Option<Position>)>,
}

/// Why a WebSocket is not admitted.
pub(super) enum AdmissionError {
    /// It gets a close frame.
    Rejected(Rejection),
    /// The peer has closed or disconnected.
    Disconnected,
}

impl From<Rejection> for AdmissionError {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl Handshakes {
    /// Makes the cheap checks first, so that the back end is not asked about connections that are
    /// refused anyway.
    pub(super) async fn admit(
        &self,
        session: &mut PreSession,
        request: &UpgradeRequest,
        place: &Place,
    ) -> Result<Admission, AdmissionError> {
        self.check_running()?;
        check_offer(&request.offer)?;
        self.check_capacity()?;
        let (index, parameters) = request.route.as_ref().ok_or_else(no_route)?;
        let route = &self.server.settings.routes[*index];
        let (encoding, hello) = match request.offer {
            Offer::V1 => (Encoding::V1, self.hello(session).await?),
            _ => (Encoding::Plain(route.shape), ParsedHello::default()),
        };
        // From here on the client does not have to send anything.
        let _busy = place.busy();
        // Again, since others may have been admitted while the hello was awaited.
        self.check_capacity()?;
        let id = self.server.hub.next_id();
        let authenticated = self.authenticate(request, route, id, hello.token.as_deref()).await?;
        let groups = self.groups(&authenticated.identity, route, parameters, &hello)?;
        Ok(Admission {
            id,
            previous: hello.previous,
            authenticated,
            encoding,
            route: *index as u16,
            parameters: parameters.clone(),
            groups,
        })
    }

    fn check_running(&self) -> Result<(), Rejection> {
        match self.server.shutdown.phase() {
            Phase::Running => Ok(()),
            Phase::Draining | Phase::Closed => {
                let reason = RefusalReason::Draining;
                Err(Rejection::new(Disconnect::DRAINING, reason, "draining"))
            }
        }
    }

    fn check_capacity(&self) -> Result<(), Rejection> {
        if self.server.hub.connections() < self.server.max_connections {
            return Ok(());
        }
        let full = Disconnect::TOO_MANY.because("the gateway is full");
        Err(Rejection::new(full, RefusalReason::Full, "connections.max is reached"))
    }

    async fn hello(&self, session: &mut PreSession) -> Result<ParsedHello, AdmissionError> {
        let within = self.server.settings.hello_timeout;
        match tokio::time::timeout(within, session.hello()).await {
            Ok(Ok(hello)) => Ok(hello),
            Ok(Err(HelloError::Invalid(disconnect))) => {
                let reason = RefusalReason::BadHandshake;
                Err(Rejection::new(disconnect, reason, disconnect.reason).into())
            }
            Ok(Err(HelloError::Disconnected)) => Err(AdmissionError::Disconnected),
            Err(_) => {
                let cause = format!("no hello within {within:?}");
                let reason = RefusalReason::Timeout;
                Err(Rejection::new(Disconnect::NO_HELLO, reason, cause).into())
            }
        }
    }

    fn groups(
        &self,
        identity: &Identity,
        route: &Route,
        parameters: &Parameters,
        hello: &ParsedHello,
    ) -> Result<Vec<(GroupName, Option<Position>)>, Rejection> {
        let groups = identity.groups_on_connect(&route.join, parameters).map_err(|error| {
            self.server.by_label.auth_failures.of(AuthFailure::IllegalName).increment(1);
            let forbidden = Disconnect::FORBIDDEN.because("a group name is not legal");
            Rejection::new(forbidden, RefusalReason::Unauthorized, error.to_string())
        })?;
        let most = self.server.connection.groups_per_connection;
        if groups.len() > most {
            let forbidden = Disconnect::FORBIDDEN.because("too many groups");
            let cause = format!("{} groups on arrival; at most {most} are allowed", groups.len());
            return Err(Rejection::new(forbidden, RefusalReason::Unauthorized, cause));
        }
        let seen = |name: &GroupName| {
            let entry = hello.since.iter().find(|(group, _)| *group == name.as_str());
            entry.map(|(_, position)| position.clone())
        };
        let with_position = |name| {
            let position = seen(&name);
            (name, position)
        };
        Ok(groups.into_iter().map(with_position).collect())
    }
}

fn check_offer(offer: &Offer) -> Result<(), Rejection> {
    let Offer::Unknown(first) = offer else { return Ok(()) };
    let unknown = Disconnect::BAD_FRAME.because("offer groupcast.v1.json or no subprotocol");
    let cause = format!("none of the subprotocols offered is known; the first is {first:?}");
    Err(Rejection::new(unknown, RefusalReason::BadHandshake, cause))
}

fn no_route() -> Rejection {
    let forbidden = Disconnect::FORBIDDEN.because("no such path");
    Rejection::new(forbidden, RefusalReason::NoRoute, "no route has this path")
}
