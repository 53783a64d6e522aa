//! The settings that a survey leads to: one line for Django, sections for gateway.toml.

use std::fmt::Write;

use super::Survey;
use crate::channels::ChannelSettings;

/// Capacity of a gateway's mailboxes: some 1000 events a second while it restarts.
const CAPACITY: u64 = 10_000;

/// The suggested settings.
#[derive(Debug)]
pub struct Suggestion {
    /// The value of Django's `channel_capacity`: a dictionary in Python and JSON alike.
    pub channel_capacity: String,
    /// Sections of `gateway.toml`.
    pub gateway_toml: String,
}

impl Suggestion {
    /// The settings for the channel layer surveyed at `url`; its password is left out.
    pub fn new(url: &str, survey: &Survey) -> Self {
        Self {
            channel_capacity: format!("{{\"groupcast.*\": {CAPACITY}}}"),
            gateway_toml: gateway_toml(url, survey),
        }
    }
}

/// Writing to a `String` cannot fail, so the result is dropped.
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
    let unseen = "unknown; the library's default";
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

/// The layers in use; the library's first one if there is none.
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

/// The URL without its password, since printed text gets copied, and whether there was one.
fn without_password(url: &str) -> (String, bool) {
    let whole = || (url.to_owned(), false);
    let Some((scheme, rest)) = url.split_once("://") else { return whole() };
    let Some((user, host)) = rest.rsplit_once('@') else { return whole() };
    let Some((name, _)) = user.split_once(':') else { return whole() };
    (format!("{scheme}://{name}:PASSWORD@{host}"), true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::MessageFormat;

    fn survey() -> Survey {
        Survey { prefix: "asgi".to_owned(), ..Survey::default() }
    }

    #[test]
    fn suggests_the_librarys_default_for_what_is_unknown() {
        let text = Suggestion::new("redis://127.0.0.1:6379/2", &survey()).gateway_toml;
        for line in [
            "url = \"redis://127.0.0.1:6379/2\"",
            "receive = [\"core\"]",
            "expiry = \"60s\"                   # unknown; the library's default",
            "random_prefix_length = 12        # unknown; the library's default",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is missing in\n{text}");
        }
        assert!(!text.contains("channels.key"), "{text}");
    }

    #[test]
    fn suggests_what_was_found() {
        let writing = MessageFormat { serializer: None, random_prefix: 7, encrypted: true };
        let pubsub = vec![("sala".to_owned(), 1)];
        let survey = Survey { expiry: Some(10), writing: Some(writing), pubsub, ..survey() };
        let text = Suggestion::new("redis://h", &survey).gateway_toml;
        for part in ["[\"pubsub\"]", "\"10s\"", "random_prefix_length = 7 ", "[[channels.key]]"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn leaves_out_the_password() {
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
