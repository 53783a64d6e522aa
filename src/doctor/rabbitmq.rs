//! Looks at the queue of RabbitMQ from which events come, and at its dead letters.

use super::Finding;
use crate::amqp::{self, AmqpError, AmqpInspection, ManagedQueue};
use crate::finding::Condition;
use crate::sources::AmqpSettings;

/// The default of RabbitMQ 4, which restarts may reach.
const FEW_DELIVERIES: u64 = 20;

/// Empty = no broker is configured.
pub(super) async fn examine(settings: Option<&AmqpSettings>) -> Vec<Finding> {
    let Some(settings) = settings else { return Vec::new() };
    let inspection = match amqp::inspect(&settings.address, &settings.topology).await {
        Ok(inspection) => inspection,
        Err(error) => {
            let is_refusal = matches!(error, AmqpError::Refused(_));
            let error = error.to_string();
            return vec![Condition::BrokerFails { error, is_refusal }.finding()];
        }
    };
    let mut findings = vec![Condition::BrokerAnswers.finding()];
    findings.push(exchange(settings, &inspection));
    findings.push(queue(settings, &inspection));
    if let Err(error) = &inspection.arguments {
        let advice = "it is used as it is; to have it otherwise, delete it while no gateway runs \
                      and nothing waits in it, or set a policy";
        findings.push(Finding::warn("queue arguments", error.to_string(), advice));
    }
    findings.push(dead_letters(settings, &inspection));
    findings.extend(management(settings).await);
    findings
}

fn exchange(settings: &AmqpSettings, inspection: &AmqpInspection) -> Finding {
    let name = &settings.topology.exchange;
    match &inspection.exchange {
        Ok(()) => Finding::ok("exchange", format!("{name:?} is there")),
        Err(error) => missing(settings, "exchange", error),
    }
}

fn queue(settings: &AmqpSettings, inspection: &AmqpInspection) -> Finding {
    let name = &settings.topology.queue;
    let state = match &inspection.queue {
        Ok(state) => state,
        Err(error) => return missing(settings, "queue", error),
    };
    let (name, ready, consumers) = (name.clone(), state.ready, state.consumers);
    Condition::Queue { name, ready, consumers }.finding()
}

/// What `serve` declares at its start may be absent until then.
fn missing(settings: &AmqpSettings, what: &'static str, error: &AmqpError) -> Finding {
    let found = error.to_string();
    match settings.topology.declare {
        true => Finding::ok(what, found).hint("serve declares it when it starts"),
        false => Finding::fail(what, found, "declare it, or set amqp.declare = true"),
    }
}

fn dead_letters(settings: &AmqpSettings, inspection: &AmqpInspection) -> Finding {
    let topology = &settings.topology;
    if let Err(error) = &inspection.dead_letter {
        return missing(settings, "dead letters", error);
    }
    let count = inspection.dead_letters.map_or(0, |state| state.ready);
    Condition::DeadLetters { count, queue: topology.dead_letter_queue() }.finding()
}

/// What only the management API tells.
async fn management(settings: &AmqpSettings) -> Option<Finding> {
    let management = settings.management.as_ref()?;
    let vhost = settings.address.vhost();
    Some(match management.queue(&vhost, &settings.topology.queue).await {
        Ok(queue) => policy(&queue),
        Err(error) => {
            let advice = "is it amqp.management, and does its user have the tag monitoring?";
            Finding::warn("queue policy", error.to_string(), advice)
        }
    })
}

fn policy(queue: &ManagedQueue) -> Finding {
    let name = queue.policy.as_deref().unwrap_or("none");
    let limit = queue.delivery_limit.map_or("the broker's".to_owned(), |limit| limit.to_string());
    let found = format!(
        "policy {name}; delivery limit {limit}; dead letters to {}; {} unacknowledged",
        queue.dead_letter.as_deref().unwrap_or("nowhere"),
        queue.unacknowledged
    );
    match (queue.delivery_limit, &queue.dead_letter) {
        (Some(..=FEW_DELIVERIES), _) | (None, _) => {
            let advice = "each lost connection counts as a delivery: a policy with delivery-limit \
                          1000 keeps restarts from making dead letters";
            Finding::warn("queue policy", found, advice)
        }
        (_, None) => {
            let advice = "what cannot be used is gone: set x-dead-letter-exchange, or a policy \
                          with dead-letter-exchange";
            Finding::warn("queue policy", found, advice)
        }
        _ => Finding::ok("queue policy", found),
    }
}
