//! Answers WebSocket handshakes, then hands the socket to a shard or closes it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::UPGRADE;
use axum::response::{IntoResponse, Response};
use hyper::upgrade::Upgraded;
use tokio::net::TcpStream;

use super::admission::{Admission, AdmissionError};
use super::handshake::{Handshake, HandshakeError};
use super::metrics::RefusalReason;
use super::pre_session::PreSession;
use super::rejection::Rejection;
use super::state::Handshakes;
use super::upgrade::{UpgradeRequest, path_excerpt};
use crate::http::{Place, ProblemKind, into_tcp};
use crate::hub::NewConnection;
use crate::telemetry::Label;

/// Answers a handshake with 101 before any other decision: a browser cannot read the status or body
/// of a failed handshake, but it can read a close code.
pub(super) async fn websocket(
    State(handshakes): State<Arc<Handshakes>>,
    mut request: Request,
) -> Response {
    let handshake = match Handshake::check(&request) {
        Ok(handshake) => handshake,
        Err(error) => return handshakes.refuse_http(&request, error),
    };
    let place = request.extensions().get::<Place>().cloned().expect("the listener puts it there");
    let peer = Some(place.peer());
    let upgrade_request = UpgradeRequest::new(&handshakes, &request, handshake.offer.clone(), peer);
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        tokio::select! {
            () = handshakes.receive(upgraded, upgrade_request, &place) => {}
            // It has not sent its hello, and others need the place.
            () = place.evicted() => {}
        }
    });
    handshake.response()
}

impl Handshakes {
    /// The HTTP error for a request that is not a handshake.
    fn refuse_http(&self, request: &Request, error: HandshakeError) -> Response {
        let path = request.uri().path();
        if error == HandshakeError::NotAnUpgrade && self.route(path).is_none() {
            let path = path_excerpt(path);
            let problem = ProblemKind::NotFound.because(format!("nothing is served at {path:?}"));
            return problem.into_response();
        }
        if error == HandshakeError::NotAnUpgrade {
            let problem = ProblemKind::UpgradeRequired.because(error.to_string());
            let mut response = problem.into_response();
            response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
            return response;
        }
        self.server.by_label.refusals.of(RefusalReason::BadHandshake).increment(1);
        ProblemKind::BadHandshake.because(error.to_string()).into_response()
    }

    /// From the upgraded connection to a shard, or to a close frame.
    async fn receive(&self, upgraded: Upgraded, request: UpgradeRequest, place: &Place) {
        let Some((stream, leftover)) = into_tcp(upgraded) else {
            tracing::error!("upgraded connection is not a TCP stream");
            return;
        };
        let max_message = self.server.connection.max_frame_bytes;
        let mut session = PreSession::new(stream, leftover, max_message);
        match self.admit(&mut session, &request, place).await {
            Ok(admission) => self.hand_over(session, &request, admission).await,
            Err(AdmissionError::Rejected(rejection)) => {
                self.reject(session, &request, rejection).await;
            }
            Err(AdmissionError::Disconnected) => {}
        }
    }

    /// Gives the socket to a shard.
    async fn hand_over(&self, session: PreSession, request: &UpgradeRequest, admission: Admission) {
        let (stream, leftover) = session.into_parts();
        let Ok(stream) = stream.into_std() else { return };
        let Admission { id, previous, authenticated, encoding, route, parameters, groups } =
            admission;
        let connection = NewConnection {
            id,
            previous,
            stream,
            leftover,
            identity: authenticated.identity,
            encoding,
            route,
            parameters,
            groups,
            credential: authenticated.credential,
            stamp: authenticated.stamp,
        };
        let Err(refused) = self.server.hub.admit(Box::new(connection)) else { return };
        let Ok(stream) = TcpStream::from_std(refused.connection.stream) else { return };
        let session = PreSession::new(stream, Vec::new(), 0);
        let disconnect = refused.disconnect;
        let cause = format!("sub {:?}: {}", refused.connection.identity.sub, disconnect.reason);
        let claimed = refused.connection.identity.sub.to_string();
        let rejection = Rejection::new(disconnect, RefusalReason::User, cause).of(Some(claimed));
        self.reject(session, request, rejection).await;
    }

    async fn reject(&self, session: PreSession, request: &UpgradeRequest, rejection: Rejection) {
        let Rejection { disconnect, reason, cause, claimed } = rejection;
        self.server.journal.refused(disconnect.code, reason.text(), &cause, claimed);
        self.server.by_label.refusals.of(reason).increment(1);
        self.server.metrics.closes(disconnect.code).increment(1);
        tracing::info!(path = %request.path, code = disconnect.code, cause, "WebSocket refused");
        let disconnect = match disconnect.may_return() {
            true => disconnect.within(self.server.settings.retry_window),
            false => disconnect,
        };
        session.close(disconnect.frame()).await;
    }
}
