//! The conditions that the doctor and the console find alike, with their words in both languages.

use super::language::SentenceLanguage;
use super::pages::page;
use super::result::{Finding, Level};

/// A condition of something beside the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Entries were set aside in the stream `key`; the last, of `source`, for this reason.
    Poison { count: u64, source: String, why: String, key: String },
    /// Publications wait for listeners of groups.
    Parked { groups: u64 },
    /// RabbitMQ answers.
    BrokerAnswers,
    /// RabbitMQ lets nobody in, or does not answer.
    BrokerFails { error: String, is_refusal: bool },
    /// The queue from which events are drained.
    Queue { name: String, ready: u32, consumers: u32 },
    /// That queue is missing, or may not be looked at.
    QueueFails { error: String },
    /// The queue of messages that could not be used.
    DeadLetters { count: u32, queue: String },
    /// Redis does not answer, or refuses.
    RedisFails { error: String },
}

/// Level, what was found, and what to do about it.
type Words = (Level, String, String);

impl Condition {
    /// What was examined, as the doctor writes it.
    fn what(&self) -> &'static str {
        match self {
            Self::Poison { .. } => "poison",
            Self::Parked { .. } => "parked",
            Self::BrokerAnswers | Self::BrokerFails { .. } => "rabbitmq",
            Self::Queue { .. } | Self::QueueFails { .. } => "queue",
            Self::DeadLetters { .. } => "dead letters",
            Self::RedisFails { .. } => "redis",
        }
    }

    /// The finding in English.
    pub(crate) fn finding(&self) -> Finding {
        self.finding_in(SentenceLanguage::English)
    }

    /// The finding in a language, with the page in that language.
    pub(crate) fn finding_in(&self, language: SentenceLanguage) -> Finding {
        let (level, found, advice) = match language {
            SentenceLanguage::English => self.english(),
            SentenceLanguage::Spanish => self.spanish(),
        };
        Finding { level, what: self.what(), found, advice, page: page(self.what(), language) }
    }

    fn english(&self) -> Words {
        match self {
            Self::Poison { count, source, why, key } => (
                Level::Warn,
                format!("{count} entries set aside; the last, of {source}: {why}"),
                format!("read them: XRANGE {key} - +; then DEL {key}"),
            ),
            Self::Parked { groups } => (
                Level::Ok,
                format!("publications wait for a listener of {groups} group(s)"),
                String::new(),
            ),
            Self::BrokerAnswers => (Level::Ok, "the broker answers".to_owned(), String::new()),
            Self::BrokerFails { error, is_refusal } => {
                let advice = match is_refusal {
                    true => "are user, password and virtual host in amqp.url right?",
                    false => "is it running, and is amqp.url its address as seen from here?",
                };
                (Level::Fail, error.clone(), advice.to_owned())
            }
            Self::Queue { name, ready, consumers } => {
                let found = format!("{name:?}: {ready} waiting, {consumers} consumers");
                match (ready, consumers) {
                    (1.., 0) => {
                        let advice = "no gateway consumes it: is one running?";
                        (Level::Warn, found, advice.to_owned())
                    }
                    _ => (Level::Ok, found, String::new()),
                }
            }
            Self::QueueFails { error } => {
                (Level::Fail, error.clone(), "declare it, or set amqp.declare = true".to_owned())
            }
            Self::DeadLetters { count: 0, .. } => (Level::Ok, "none".to_owned(), String::new()),
            Self::DeadLetters { count, queue } => (
                Level::Warn,
                format!("{count} in {queue:?}"),
                "the header groupcast-reason of each says why; docs/rabbitmq.md tells how to look \
                 at them"
                    .to_owned(),
            ),
            Self::RedisFails { error } => (
                Level::Fail,
                error.clone(),
                "is it running, and is layer.url its address as seen from here?".to_owned(),
            ),
        }
    }

    fn spanish(&self) -> Words {
        match self {
            Self::Poison { count, source, why, key } => (
                Level::Warn,
                format!("{count} entradas apartadas; la última, de {source}: {why}"),
                format!("leerlas: XRANGE {key} - +; después DEL {key}"),
            ),
            Self::Parked { groups } => (
                Level::Ok,
                format!("hay publicaciones a la espera de un oyente de {groups} grupo(s)"),
                String::new(),
            ),
            Self::BrokerAnswers => (Level::Ok, "el broker responde".to_owned(), String::new()),
            Self::BrokerFails { error, is_refusal } => {
                let advice = match is_refusal {
                    true => "¿son correctos usuario, contraseña y virtual host en amqp.url?",
                    false => "¿está en marcha, y es amqp.url su dirección vista desde aquí?",
                };
                (Level::Fail, error.clone(), advice.to_owned())
            }
            Self::Queue { name, ready, consumers } => {
                let found = format!("{name:?}: {ready} en espera, {consumers} consumidores");
                match (ready, consumers) {
                    (1.., 0) => {
                        let advice = "ningún gateway la consume: ¿hay alguno en marcha?";
                        (Level::Warn, found, advice.to_owned())
                    }
                    _ => (Level::Ok, found, String::new()),
                }
            }
            Self::QueueFails { error } => (
                Level::Fail,
                error.clone(),
                "declárela, o ponga amqp.declare = true".to_owned(),
            ),
            Self::DeadLetters { count: 0, .. } => (Level::Ok, "ninguno".to_owned(), String::new()),
            Self::DeadLetters { count, queue } => (
                Level::Warn,
                format!("{count} en {queue:?}"),
                "la cabecera groupcast-reason de cada uno dice por qué; docs/rabbitmq.es.md cuenta \
                 cómo mirarlos"
                    .to_owned(),
            ),
            Self::RedisFails { error } => (
                Level::Fail,
                error.clone(),
                "¿está en marcha, y es layer.url su dirección vista desde aquí?".to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_same_in_both_languages() {
        let key = "groupcast:poison".to_owned();
        let (source, why) = ("groupcast:ingress".to_owned(), "no JSON".to_owned());
        let name = "groupcast".to_owned();
        for condition in [
            Condition::Poison { count: 3, source, why, key },
            Condition::Queue { name: name.clone(), ready: 3, consumers: 0 },
            Condition::Queue { name: name.clone(), ready: 3, consumers: 1 },
            Condition::DeadLetters { count: 3, queue: name },
            Condition::Parked { groups: 3 },
        ] {
            let english = condition.finding();
            let spanish = condition.finding_in(SentenceLanguage::Spanish);
            assert_eq!((english.what, english.level), (spanish.what, spanish.level));
            assert!(english.found.contains('3') && spanish.found.contains('3'), "{condition:?}");
            assert_ne!(english.found, spanish.found);
            assert_eq!(english.advice.is_empty(), spanish.advice.is_empty());
            assert!(spanish.page.contains(".es.md#"), "{}", spanish.page);
        }
    }
}
