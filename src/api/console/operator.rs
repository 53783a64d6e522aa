//! Who may use the console: keys with the right, from addresses that do not guess.

use std::time::Instant;

use axum::http::{Extensions, HeaderMap};

use crate::api::Api;
use crate::api::auth::Caller;
use crate::http::{Place, Problem, ProblemKind};
use crate::identity::Right;

impl Api {
    /// The caller, if its key may use the console.
    pub(super) fn operator(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Caller<'_>, Problem> {
        let (address, now) = (extensions.get::<Place>().map(Place::peer), Instant::now());
        if address.is_some_and(|address| !self.guesses.allows(address, now)) {
            let detail = "too many wrong keys came from this address; one a second is looked at";
            return Err(ProblemKind::TooManyGuesses.because(detail));
        }
        let caller = self.caller(headers).inspect_err(|problem| {
            if let (Some(address), ProblemKind::KeyUnknown) = (address, problem.kind()) {
                self.guesses.count(address, now);
            }
        })?;
        caller.needs_at_all(Right::Console)?;
        if let Some(address) = address {
            self.guesses.forgive(address);
        }
        Ok(caller)
    }
}
