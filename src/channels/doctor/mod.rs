//! Looks at Redis as the gateway will find it, and at what Django's channel layer keeps there.
//!
//! Everything is tried and nothing is changed: what is written on trial is removed by the same script.

mod against;
mod cluster;
mod finding;
mod judge;
mod rights;
mod sample;
mod scan;
mod server;
mod survey;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use finding::{Finding, Level};
pub use sample::Writing;
pub use survey::{Group, Mailbox, Survey};

use super::ChannelSettings;
use crate::layer::{LayerError, RedisSettings, ScriptError, Session};

/// What a look at Redis came to.
#[derive(Debug, Default)]
pub struct Examination {
    /// In the order in which one would mend them.
    pub findings: Vec<Finding>,
    /// What Django's channel layer keeps there, if that was looked at.
    pub survey: Option<Survey>,
}

/// Tries all that a gateway with these settings will need of Redis. `drain` is how long a gateway may
/// take to stop. Must be called within a runtime.
pub async fn examine(
    redis: &RedisSettings,
    channels: &ChannelSettings,
    ingress: bool,
    drain: Duration,
) -> Examination {
    let mut examination = Examination::default();
    let Some(session) = examination.connect(redis).await else { return examination };
    let findings = &mut examination.findings;
    server::look(&session, findings).await;
    rights::look(redis, channels, ingress, &session, findings).await;
    cluster::look(channels, &session, findings).await;
    if channels.core || channels.pubsub {
        match Survey::make(&session, &channels.prefix).await {
            Ok(survey) => {
                judge::judge(&survey, drain, channels.capacity, &mut examination.findings);
                against::compare(&survey, channels, &mut examination.findings);
                examination.survey = Some(survey);
            }
            // A gateway does without what only a look at everything needs.
            Err(error) => {
                findings.push(
                    Finding::ok("channel layer", format!("not looked at: {error}")).hint(
                        "groupcast doctor --channels with the address that Django has looks at it",
                    ),
                );
            }
        }
    }
    examination
}

/// Looks at the channel layer under `prefix` at `url` without knowing anything else of it.
///
/// # Errors
/// [`LayerError::Url`].
pub async fn survey(url: &str, prefix: &str, drain: Duration) -> Result<Examination, LayerError> {
    let redis = RedisSettings::new(url)?;
    let mut examination = Examination::default();
    let Some(session) = examination.connect(&redis).await else { return Ok(examination) };
    server::look(&session, &mut examination.findings).await;
    match Survey::make(&session, prefix).await {
        Ok(survey) => {
            let capacity = ChannelSettings::default().capacity;
            judge::judge(&survey, drain, capacity, &mut examination.findings);
            examination.survey = Some(survey);
        }
        Err(error) => examination.findings.push(Finding::fail(
            "channel layer",
            format!("cannot be looked at: {error}"),
            "give an address whose user may +scan +zcard +zrange +pttl +time +pubsub +client|list",
        )),
    }
    Ok(examination)
}

impl Examination {
    async fn connect(&mut self, redis: &RedisSettings) -> Option<Session> {
        let error = match Session::open(redis).await {
            Ok(session) => return Some(session),
            Err(error) => error,
        };
        let advice = match &error {
            ScriptError::Away(_) => {
                "is it running, and is layer.url its address as seen from here?"
            }
            ScriptError::Refused(_) => {
                "are user and password in the address right, and is it Redis 6.2 or newer?"
            }
        };
        self.findings.push(Finding::fail("redis", error.to_string(), advice));
        None
    }
}
