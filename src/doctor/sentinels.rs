//! The sentinels of the primary: who answers, whom they name, and what a failover would cost.

use std::collections::HashMap;

use super::Finding;
use crate::layer::{RedisSession, RedisSettings, ScriptError};

/// What one sentinel says of the primary.
struct SentinelAnswer {
    place: String,
    /// The fields of `SENTINEL MASTER`.
    fields: HashMap<String, String>,
}

impl SentinelAnswer {
    async fn of(sentinel: &RedisSettings, service: &str) -> Result<Self, ScriptError> {
        let session = RedisSession::open(sentinel).await?;
        let fields: Vec<String> = session.ask(&["SENTINEL", "MASTER", service]).await?;
        let pairs = fields.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
        Ok(Self { place: sentinel.place(), fields: pairs.collect() })
    }

    fn text(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }

    fn primary(&self) -> String {
        format!("{}:{}", self.text("ip"), self.text("port"))
    }
}

/// Asks each sentinel of this address, if it has any.
pub(super) async fn examine(redis: &RedisSettings, findings: &mut Vec<Finding>) {
    let Some(service) = redis.sentinel_service() else { return };
    let sentinels = redis.sentinels();
    let mut answers = Vec::new();
    for sentinel in &sentinels {
        match SentinelAnswer::of(sentinel, service).await {
            Ok(answer) => answers.push(answer),
            Err(error) => findings.push(Finding::warn(
                "sentinel",
                format!("{} does not answer: {error}", sentinel.place()),
                "is it running, are sentinel_username and sentinel_password in layer.url right, \
                 and may the user +sentinel|master and +sentinel|get-master-addr-by-name?",
            )),
        }
    }
    findings.push(named(&answers, service, sentinels.len()));
    findings.extend(answers.iter().map(one).max_by_key(|finding| finding.level));
}

/// Whom they name.
fn named(answers: &[SentinelAnswer], service: &str, count: usize) -> Finding {
    let Some(newest) = answers.iter().max_by_key(|answer| answer.number("config-epoch")) else {
        let advice = "without a sentinel no instance finds the primary when it starts";
        return Finding::fail("sentinels", format!("none of {count} answers"), advice);
    };
    let primary = newest.primary();
    let found = format!("{} of {count} answer; {service} is {primary}", answers.len());
    let others = answers.iter().filter(|answer| answer.primary() != primary);
    let others: Vec<_> = others.map(|it| format!("{} names {}", it.place, it.primary())).collect();
    if !others.is_empty() {
        let found = format!("{found}, but {}", others.join(", "));
        let advice = "a failover may be under way; else they watch different servers";
        return Finding::warn("sentinels", found, advice);
    }
    Finding::ok("sentinels", found)
}

/// What one knows; the worst of them is shown.
fn one(answer: &SentinelAnswer) -> Finding {
    let (others, quorum) = (answer.number("num-other-sentinels"), answer.number("quorum"));
    let replicas = answer.number("num-slaves");
    let found = format!(
        "{}: {others} other sentinels, quorum {quorum}, replicas: {replicas}",
        answer.place
    );
    let down = answer.text("flags").split(',').any(|flag| flag.ends_with("_down"));
    if down {
        let advice = "the primary does not answer this sentinel: can it reach the address above?";
        return Finding::warn("failover", format!("{found}; the primary is down"), advice);
    }
    if replicas == 0 {
        let advice = "without a replica there is nothing to fail over to";
        return Finding::warn("failover", found, advice);
    }
    if others + 1 < quorum.max(3) {
        let advice = "run three sentinels or more, on machines that fail independently: a failover \
                      needs the quorum and a majority";
        return Finding::warn("failover", found, advice);
    }
    Finding::ok("failover", found)
}

/// Whether the primary stops to take writes once it is cut off from its replicas.
pub(super) async fn examine_primary(session: &RedisSession, findings: &mut Vec<Finding>) {
    let setting = async |name: &str| {
        let answer = session.ask::<Vec<String>>(&["CONFIG", "GET", name]).await.ok()?;
        answer.get(1)?.parse::<u64>().ok()
    };
    let name = "min-replicas";
    findings.push(match setting("min-replicas-to-write").await {
        None => Finding::ok(name, "unknown (CONFIG GET is not allowed)"),
        Some(0) => Finding::ok(name, "min-replicas-to-write is 0").hint(
            "an old primary that is cut off takes writes until it hears of the new one, and throws \
             them away: with two replicas or more set min-replicas-to-write 1 and \
             min-replicas-max-lag 2 on all servers",
        ),
        Some(least) => {
            let lag = setting("min-replicas-max-lag").await.unwrap_or(0);
            Finding::ok(name, format!("{least} within {lag} s, or writes are refused"))
        }
    });
}
