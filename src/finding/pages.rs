//! Which page of the documentation explains a check.

use super::language::SentenceLanguage;

/// A place in the documentation: a page without its ending, and a heading in both languages.
struct ExplainedAt {
    page: &'static str,
    english: &'static str,
    spanish: &'static str,
}

/// The places, by what was examined.
const EXPLAINED: &[(&[&str], ExplainedAt)] = &[
    (
        &["rights", "tracking"],
        ExplainedAt { page: "redis", english: "rights", spanish: "permisos" },
    ),
    (
        &["memory", "persistence", "pub/sub buffer", "connections"],
        ExplainedAt { page: "redis", english: "sizing", spanish: "dimensionamiento" },
    ),
    (
        &["redis", "redis version", "redis mode", "redis role"],
        ExplainedAt { page: "redis", english: "the-address", spanish: "la-dirección" },
    ),
    (
        &["sentinel", "sentinels", "failover", "min-replicas"],
        ExplainedAt { page: "redis", english: "sentinel", spanish: "sentinel" },
    ),
    (
        &["cluster", "agreement", "instances"],
        ExplainedAt { page: "redis", english: "channels-and-keys", spanish: "canales-y-claves" },
    ),
    (
        &["generation"],
        ExplainedAt { page: "redis", english: "what-is-promised", spanish: "qué-se-promete" },
    ),
    (
        &["poison", "parked", "capacity", "channels.capacity", "expiry", "channels.expiry"],
        ExplainedAt { page: "channels", english: "what-is-promised", spanish: "qué-se-promete" },
    ),
    (
        &["messages", "channels.receive", "channels.group_expiry", "draining"],
        ExplainedAt { page: "channels", english: "how-it-works", spanish: "cómo-funciona" },
    ),
    (
        &[
            "channel layer",
            "dead members",
            "group_expiry",
            "$inflight",
            "senders' clocks",
            "consumers",
            "groups",
            "databases",
            "where",
        ],
        ExplainedAt {
            page: "doctor",
            english: "djangos-channel-layer-without-a-configuration",
            spanish: "la-channel-layer-de-django-sin-configuración",
        },
    ),
    (
        &["rabbitmq", "exchange", "queue", "queue arguments", "queue policy"],
        ExplainedAt { page: "rabbitmq", english: "topology", spanish: "topología" },
    ),
    (
        &["dead letters"],
        ExplainedAt { page: "rabbitmq", english: "dead-letters", spanish: "dead-letters" },
    ),
    (
        &["celery results"],
        ExplainedAt { page: "celery", english: "what-is-promised", spanish: "qué-se-promete" },
    ),
    (
        &["celery events"],
        ExplainedAt {
            page: "celery",
            english: "rpc-and-other-result-back-ends",
            spanish: "rpc-y-otros-result-backends",
        },
    ),
    (
        &["celery broker"],
        ExplainedAt {
            page: "celery",
            english: "tasks-that-a-page-starts",
            spanish: "tareas-que-inicia-una-página",
        },
    ),
    (
        &["connect hook"],
        ExplainedAt {
            page: "backend",
            english: "3-what-the-log-suggests",
            spanish: "3-lo-que-sugiere-el-log",
        },
    ),
];

/// Of all others: the machine, the listeners, the layer in memory, clocks and round trips.
const OTHERS: ExplainedAt = ExplainedAt {
    page: "doctor",
    english: "with-the-configuration",
    spanish: "con-la-configuración",
};

/// The page that explains a check, with its heading.
pub(super) fn page(what: &str, language: SentenceLanguage) -> String {
    let found = EXPLAINED.iter().find(|(checks, _)| checks.contains(&what));
    let ExplainedAt { page, english, spanish } = found.map_or(&OTHERS, |(_, place)| place);
    match language {
        SentenceLanguage::English => format!("docs/{page}.md#{english}"),
        SentenceLanguage::Spanish => format!("docs/{page}.es.md#{spanish}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The anchors of a page, as GitHub makes them of its headings.
    fn anchors(file: &str) -> Vec<String> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = std::fs::read_to_string(&file).unwrap();
        let headings = text.lines().filter_map(|line| line.strip_prefix("##"));
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let slug = |heading: &str| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            heading.chars().filter(kept).collect::<String>().replace(' ', "-")
        };
        headings.map(slug).collect()
    }

    #[test]
    fn every_place_exists_in_both_languages() {
        let checks = EXPLAINED.iter().flat_map(|(checks, _)| checks.iter().copied());
        for what in checks.chain(["somaxconn"]) {
            for language in [SentenceLanguage::English, SentenceLanguage::Spanish] {
                let place = page(what, language);
                let (file, anchor) = place.split_once('#').unwrap();
                let all = anchors(file);
                assert!(all.iter().any(|it| it == anchor), "{what}: {place} is none of {all:?}");
            }
        }
    }
}
