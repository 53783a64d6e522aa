//! What operators ask: for keys with the right, from addresses that do not guess.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::query::QueryParameters;
use crate::api::Api;
use crate::api::auth::Caller;
use crate::http::{Place, Problem, ProblemKind};
use crate::identity::Right;

/// A question of somebody who may use the console.
pub(crate) struct Asked {
    pub(super) api: Arc<Api>,
    headers: HeaderMap,
    query: Option<String>,
}

impl FromRequestParts<Arc<Api>> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let address = parts.extensions.get::<Place>().map(Place::peer);
        api.check_operator(&parts.headers, address)?;
        Ok(Self {
            api: Arc::clone(api),
            headers: std::mem::take(&mut parts.headers),
            query: parts.uri.query().map(str::to_owned),
        })
    }
}

impl Asked {
    /// Whose key it is.
    pub(super) fn caller(&self) -> Result<Caller<'_>, Problem> {
        self.api.caller(&self.headers)
    }

    /// The parameters of the query, of which only `known` ones are allowed.
    pub(super) fn parameters(&self, known: &[&str]) -> Result<QueryParameters, Problem> {
        QueryParameters::read(self.query.as_deref(), known)
    }
}

impl Api {
    /// Refuses unless the key may use the console, and its address has not guessed too often.
    fn check_operator(&self, headers: &HeaderMap, from: Option<IpAddr>) -> Result<(), Problem> {
        let now = Instant::now();
        if from.is_some_and(|address| !self.guesses.allows(address, now)) {
            let detail = "too many wrong keys came from this address; one a second is looked at";
            return Err(ProblemKind::TooManyGuesses.because(detail));
        }
        let caller = self.caller(headers).inspect_err(|problem| {
            if let (Some(address), ProblemKind::KeyUnknown) = (from, problem.kind()) {
                self.guesses.count(address, now);
            }
        })?;
        caller.needs_at_all(Right::Console)?;
        if let Some(address) = from {
            self.guesses.forgive(address);
        }
        Ok(())
    }
}
