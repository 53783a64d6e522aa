//! `[amqp]`: a queue of RabbitMQ as a source of events.

use super::range::within;
use super::raw::Raw;
use super::{ConfigError, ReferenceContext, servers};
use crate::amqp::{AmqpTopology, ManagementAddress};
use crate::sources::AmqpSettings;

/// The most that a quorum queue sends ahead.
const MAX_PREFETCH: u16 = 2000;

/// Longest name: AMQP has 255 bytes, and the queue of dead letters has a longer one.
const MAX_NAME: usize = 200;

/// `None` = there is no broker.
pub(super) fn amqp(
    raw: &Raw,
    context: &ReferenceContext,
) -> Result<Option<AmqpSettings>, ConfigError> {
    let written = &raw.amqp;
    if written.url.0.is_empty() {
        return Ok(None);
    }
    let (url, tls) = (("amqp.url", &written.url), ("amqp.tls", &written.tls));
    let address = servers::broker(url, tls, context)?;
    let queue = match written.queue.as_str() {
        "" => format!("groupcast.{}", raw.layer.cluster),
        queue => queue.to_owned(),
    };
    check_name("amqp.exchange", &written.exchange)?;
    check_name("amqp.queue", &queue)?;
    if !written.dead_letter.is_empty() {
        check_name("amqp.dead_letter", &written.dead_letter)?;
    }
    if written.dead_letter == written.exchange {
        let expected = "another exchange than amqp.exchange: dead letters would come back";
        return Err(ConfigError::value("amqp.dead_letter", &written.dead_letter, expected));
    }
    let management = match written.management.0.as_str() {
        "" => None,
        text => {
            let unusable = |error| ConfigError::text("amqp.management", error);
            Some(ManagementAddress::parse(text).map_err(unusable)?)
        }
    };
    Ok(Some(AmqpSettings {
        address,
        management,
        topology: AmqpTopology {
            exchange: written.exchange.clone(),
            queue,
            dead_letter: written.dead_letter.clone(),
            delivery_limit: written.delivery_limit,
            declare: written.declare,
        },
        prefetch: within("amqp.prefetch", written.prefetch, 1, MAX_PREFETCH)?,
        layer_timeout: AmqpSettings::LAYER_TIMEOUT,
        max_event_bytes: raw.limits.max_event_bytes.0,
    }))
}

/// A name of an exchange or queue. Those that begin with `amq.` are the broker's own.
fn check_name(key: &str, name: &str) -> Result<(), ConfigError> {
    let is_legal = name.chars().all(|c| c.is_ascii_graphic()) && !name.starts_with("amq.");
    if is_legal && (1..=MAX_NAME).contains(&name.len()) {
        return Ok(());
    }
    let expected = format!("1 to {MAX_NAME} visible ASCII characters, not beginning with amq.");
    Err(ConfigError::value(key, format!("{name:?}"), expected))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Config, Variables};
    use crate::sources::AmqpSettings;

    fn load(amqp: &str) -> Result<AmqpSettings, String> {
        let text = format!("[layer]\ncluster = \"shop\"\n[amqp]\n{amqp}");
        let config = Config::parse(Path::new("gateway.toml"), &text, Variables::new());
        config
            .map(|config| config.amqp.expect("it has an address"))
            .map_err(|error| format!("{error}: {:?}", std::error::Error::source(&error)))
    }

    const URL: &str = "url = \"amqp://ana:secret@rabbit/shop\"\n";

    #[test]
    fn drains_a_queue_that_is_named_after_the_cluster() {
        let settings = load(URL).unwrap();
        let topology = &settings.topology;
        let names = (topology.exchange.as_str(), topology.queue.as_str());
        assert_eq!(names, ("groupcast", "groupcast.shop"));
        assert_eq!(topology.dead_letter_queue(), "groupcast.shop.dead");
        let none = Config::parse(Path::new("gateway.toml"), "", Variables::new()).unwrap();
        assert!(none.amqp.is_none(), "without an address there is no source");
    }

    #[test]
    fn names_what_cannot_be_used_without_showing_the_address() {
        for (written, key) in [
            ("queue = \"amq.mine\"", "amqp.queue"),
            ("exchange = \"\"", "amqp.exchange"),
            ("dead_letter = \"groupcast\"", "amqp.dead_letter"),
            ("prefetch = 0", "amqp.prefetch"),
            ("management = \"https://ana:secret@rabbit\"", "amqp.management"),
            ("prefetch = 2001", "amqp.prefetch"),
        ] {
            let error = load(&format!("{URL}{written}")).unwrap_err();
            assert!(error.contains(key) && !error.contains("secret"), "{error}");
        }
        let error = load("url = \"redis://:secret@h\"").unwrap_err();
        assert!(error.contains("amqp.url") && !error.contains("secret"), "{error}");
    }
}
