//! The lines that a survey leads to: one for Django, a section for gateway.toml.

use std::fmt::Write;

use groupcast::channels::ChannelSettings;
use groupcast::channels::doctor::Survey;

/// Entries that a mailbox of a gateway may hold: some 1000 events a second while it restarts.
const CAPACITY: u64 = 10_000;

/// What to write where.
#[derive(Debug)]
pub(super) struct Suggestion {
    /// The value of Django's `channel_capacity`: a dictionary in Python and JSON alike.
    pub(super) channel_capacity: String,
    /// Sections of `gateway.toml`.
    pub(super) gateway_toml: String,
}

pub(super) fn of(url: &str, survey: &Survey) -> Suggestion {
    Suggestion {
        channel_capacity: format!("{{\"groupcast.*\": {CAPACITY}}}"),
        gateway_toml: gateway_toml(url, survey),
    }
}

/// Writing to a `String` cannot fail, so lines are written without an outcome.
macro_rules! line {
    ($out:expr, $setting:expr, $comment:expr) => {{
        let comment: &str = $comment;
        let _ = match comment {
            "" => writeln!($out, "{}", $setting),
            comment => writeln!($out, "{:<32} # {comment}", $setting),
        };
    }};
}

fn gateway_toml(url: &str, survey: &Survey) -> String {
    let default = ChannelSettings::default();
    let unseen = "not to be seen; the library's default";
    let mut out = String::new();
    line!(out, "[layer]", "");
    line!(out, "kind = \"redis\"", "");
    let (url, hidden) = without_password(url);
    let comment = if hidden { "or GROUPCAST_LAYER_URL, password included" } else { "" };
    line!(out, format!("url = {url:?}"), comment);
    line!(out, "\n[channels]", "");
    line!(out, format!("receive = {:?}", receive(survey)), "");
    line!(out, format!("prefix = {:?}", survey.prefix), "");
    line!(out, format!("capacity = {CAPACITY}"), "with channel_capacity as above");
    let seconds = [
        ("expiry", survey.expiry, default.codec.expiry),
        ("group_expiry", survey.group_expiry, default.group_expiry),
    ];
    for (key, seen, default) in seconds {
        let comment = if seen.is_some() { "found" } else { unseen };
        let seconds = seen.unwrap_or(default.as_secs());
        line!(out, format!("{key} = \"{seconds}s\""), comment);
    }
    let writing = survey.writing.as_ref();
    let serializer = writing.and_then(|writing| writing.serializer);
    let comment = match (serializer, writing) {
        (Some(_), _) => "found",
        (None, Some(_)) => "hidden by encryption; as serializer_format",
        (None, None) => unseen,
    };
    let serializer = serializer.map_or(default.codec.serializer.to_string(), str::to_owned);
    line!(out, format!("serializer = {serializer:?}"), comment);
    let length = writing.map_or(default.codec.random_prefix, |writing| writing.random_prefix);
    let comment = if writing.is_some() { "found" } else { unseen };
    line!(out, format!("random_prefix_length = {length}"), comment);
    if writing.is_some_and(|writing| writing.encrypted) {
        line!(out, "\n[[channels.key]]", "symmetric_encryption_keys, one section each");
        line!(out, "secret_env = \"CHANNELS_KEY\"", "");
    }
    out
}

/// The layers that somebody uses; the library's first where nobody does.
fn receive(survey: &Survey) -> Vec<&'static str> {
    let mut receive = Vec::new();
    if !survey.groups.is_empty() || survey.pubsub.is_empty() {
        receive.push("core");
    }
    if !survey.pubsub.is_empty() {
        receive.push("pubsub");
    }
    receive
}

/// What is printed gets copied about; whether something was left out.
fn without_password(url: &str) -> (String, bool) {
    let whole = || (url.to_owned(), false);
    let Some((scheme, rest)) = url.split_once("://") else { return whole() };
    let Some((user, host)) = rest.rsplit_once('@') else { return whole() };
    let Some((name, _)) = user.split_once(':') else { return whole() };
    (format!("{scheme}://{name}:PASSWORD@{host}"), true)
}

#[cfg(test)]
mod tests {
    use groupcast::channels::doctor::Writing;

    use super::*;

    fn survey() -> Survey {
        Survey { prefix: "asgi".to_owned(), ..Survey::default() }
    }

    #[test]
    fn what_was_not_seen_is_the_librarys_default_and_says_so() {
        let text = of("redis://127.0.0.1:6379/2", &survey()).gateway_toml;
        for line in [
            "url = \"redis://127.0.0.1:6379/2\"",
            "receive = [\"core\"]",
            "expiry = \"60s\"                   # not to be seen; the library's default",
            "random_prefix_length = 12        # not to be seen; the library's default",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is missing in\n{text}");
        }
        assert!(!text.contains("channels.key"), "{text}");
    }

    #[test]
    fn what_was_seen_is_taken_over() {
        let writing = Writing { serializer: None, random_prefix: 7, encrypted: true };
        let pubsub = vec![("sala".to_owned(), 1)];
        let survey = Survey { expiry: Some(10), writing: Some(writing), pubsub, ..survey() };
        let text = of("redis://h", &survey).gateway_toml;
        for part in ["[\"pubsub\"]", "\"10s\"", "random_prefix_length = 7 ", "[[channels.key]]"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn a_password_is_not_repeated() {
        for (url, shown) in [
            ("redis://:geheim@h:1/2", "redis://:PASSWORD@h:1/2"),
            ("redis://u:geh@im@h", "redis://u:PASSWORD@h"),
            ("redis://u@h", "redis://u@h"),
            ("redis://h", "redis://h"),
        ] {
            assert_eq!(without_password(url).0, shown);
        }
    }
}
