//! Every diagnosis of `groupcast doctor`: machine, Redis, rights, channel layer, RabbitMQ, hook.
//!
//! Checks change nothing: what a trial writes is removed by the same script.

mod celery;
mod cluster;
mod compare;
mod error;
mod hook;
mod machine;
mod problems;
mod rabbitmq;
mod redis_server;
mod rights;
mod sample;
mod scan;
mod sentinels;
mod suggestion;
mod survey;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use crate::finding::{Finding, Level};
pub use error::DoctorError;
pub use hook::Browser;
pub use sample::MessageFormat;
pub use suggestion::Suggestion;
pub use survey::{Survey, SurveyedGroup, SurveyedMailbox};

use crate::channels::ChannelSettings;
use crate::config::Config;
use crate::layer::{Kind, RedisSession, RedisSettings, ScriptError};
use crate::server;

/// The result of one run.
#[derive(Debug, Default)]
pub struct Examination {
    /// In the order in which to fix them.
    pub findings: Vec<Finding>,
    /// What Django's channel layer keeps in Redis, if that was read.
    pub survey: Option<Survey>,
}

/// Checks everything that a gateway with this configuration needs; must be called within a runtime.
/// The hook is asked only for a given `browser`.
pub async fn examine(
    config: &Config,
    browser: Option<&Browser>,
) -> Result<Examination, DoctorError> {
    let mut findings = machine::examine(config);
    let mut examination = match &config.layer.kind {
        Kind::Redis(redis) => {
            let sources = &config.sources;
            let drain = config.server.drain_grace;
            examine_redis(redis, &sources.channels, sources.ingress, drain).await
        }
        Kind::Memory => Examination {
            findings: vec![Finding::ok("layer", "memory: one instance, needs no server")],
            survey: None,
        },
    };
    findings.append(&mut examination.findings);
    findings.extend(rabbitmq::examine(config.amqp.as_ref()).await);
    findings.extend(celery::examine(&config.celery).await);
    findings.extend(celery::examine_broker(&config.celery).await);
    findings.extend(hook::examine(config, browser).await?);
    Ok(Examination { findings, ..examination })
}

/// Reads the channel layer under `prefix` at `url`, without any configuration, within a runtime.
pub async fn survey(url: &str, prefix: &str) -> Result<Examination, DoctorError> {
    let redis = RedisSettings::new(url)?;
    let mut examination = Examination::default();
    let Some(session) = examination.connect(&redis).await else { return Ok(examination) };
    redis_server::examine(&session, &mut examination.findings).await;
    match Survey::read(&session, prefix).await {
        Ok(survey) => {
            let drain = server::Settings::default().drain_grace;
            let capacity = ChannelSettings::default().capacity;
            problems::find(&survey, drain, capacity, &mut examination.findings);
            examination.survey = Some(survey);
        }
        Err(error) => examination.findings.push(Finding::fail(
            "channel layer",
            format!("cannot be read: {error}"),
            "give an address whose user may +scan +zcard +zrange +pttl +time +pubsub +client|list",
        )),
    }
    Ok(examination)
}

/// `drain` is how long a gateway may take to stop.
async fn examine_redis(
    redis: &RedisSettings,
    channels: &ChannelSettings,
    ingress: bool,
    drain: Duration,
) -> Examination {
    let mut examination = Examination::default();
    sentinels::examine(redis, &mut examination.findings).await;
    let Some(session) = examination.connect(redis).await else { return examination };
    let findings = &mut examination.findings;
    redis_server::examine(&session, findings).await;
    if redis.sentinel_service().is_some() {
        sentinels::examine_primary(&session, findings).await;
    }
    rights::examine(redis, channels, ingress, &session, findings).await;
    cluster::examine(channels, &session, findings).await;
    match &channels.server {
        Some(server) => examination.examine_mailboxes(server, channels, drain).await,
        None if channels.core || channels.pubsub => {
            examination.survey(&session, channels, drain).await;
        }
        None => {}
    }
    examination
}

impl Examination {
    /// The channel layer's own server: what is wrong there says where.
    async fn examine_mailboxes(
        &mut self,
        server: &RedisSettings,
        channels: &ChannelSettings,
        drain: Duration,
    ) {
        let place = server.place();
        let what = "channels redis";
        let session = match RedisSession::open(server).await {
            Ok(session) => session,
            Err(error) => {
                let advice = "is it running, and is channels.url its address as seen from here?";
                return self.findings.push(Finding::fail(
                    what,
                    format!("{place}: {error}"),
                    advice,
                ));
            }
        };
        let mut found = Vec::new();
        redis_server::examine(&session, &mut found).await;
        rights::examine_mailboxes(server, channels, &session, &mut found).await;
        found.retain(|finding| finding.level != Level::Ok);
        if found.is_empty() {
            found.push(Finding::ok(what, format!("{place}: all that draining needs")));
        }
        for mut finding in found {
            finding.what = what;
            self.findings.push(finding);
        }
        self.survey(&session, channels, drain).await;
    }

    async fn survey(
        &mut self,
        session: &RedisSession,
        channels: &ChannelSettings,
        drain: Duration,
    ) {
        let findings = &mut self.findings;
        match Survey::read(session, &channels.prefix).await {
            Ok(survey) => {
                problems::find(&survey, drain, channels.capacity, findings);
                compare::compare(&survey, channels, findings);
                self.survey = Some(survey);
            }
            // Only a survey needs the rights for it; the gateway does not.
            Err(error) => {
                let advice =
                    "groupcast doctor --channels with the address in CHANNEL_LAYERS reads it";
                findings
                    .push(Finding::ok("channel layer", format!("not read: {error}")).hint(advice));
            }
        }
    }

    async fn connect(&mut self, redis: &RedisSettings) -> Option<RedisSession> {
        let error = match RedisSession::open(redis).await {
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
