//! gateway.toml and groupcast.env for a project.

use std::fmt::Write;

use groupcast::layer::RedisSettings;

use super::project::{CeleryApp, ChannelLayer, Project};

const GATEWAY_TOML: &str = include_str!("gateway.toml");

/// The route of a project whose routing is unknown, as the file has it.
const ROUTE: &str = "[[route]]\npath = \"/ws/\"\njoin = [\"user_{sub}\"]\n";
/// The group of a user, in the file.
pub(super) const USER_GROUP: &str = "\"user_{sub}\"";
/// Where the file shows what comes with a channel layer.
const WITHOUT_LAYER: &str = "# For channel_layer.group_send";

/// Messages for the gateway that wait in Redis: some 1000 a second while it restarts.
pub(super) const CAPACITY: u64 = 10_000;
/// What Channels keeps where nothing is configured, too little for all browsers.
pub(super) const DEFAULT_CAPACITY: u64 = 100;
/// Addresses with a password.
const LAYER_VARIABLE: &str = "GROUPCAST_LAYER_URL";
const RESULTS_VARIABLE: &str = "GROUPCAST_CELERY_RESULTS";
const EVENTS_VARIABLE: &str = "GROUPCAST_CELERY_EVENTS";
/// Of the project's encryption keys, numbered from 1.
const KEY_VARIABLE: &str = "GROUPCAST_CHANNELS_SECRET_";

/// gateway.toml. `group` is the group of a user as the file has it, such as `"user_{sub}"`.
pub(super) fn gateway_toml(project: &Project, group: &str) -> String {
    let mut text = GATEWAY_TOML.replace(ROUTE, &routes(project)).replace(USER_GROUP, group);
    if !project.host.is_empty() {
        text = text.replace("host = \"\"    ", &format!("host = {:?}    ", project.host));
    }
    if !project.forwarded_proto.is_empty() {
        let headers =
            format!("headers = {{ \"X-Forwarded-Proto\" = {:?} }}", project.forwarded_proto);
        text = text.replace("headers = {}", &headers);
    }
    if let Some((layer, receive)) = project.layer.as_ref().and_then(received) {
        let start = text.find(WITHOUT_LAYER).unwrap_or(text.len());
        text.truncate(start);
        text += &channels(layer, receive);
    }
    text + &project.celery.as_ref().and_then(celery).unwrap_or_default()
}

/// What groupcast.env has beside the two secrets.
pub(super) fn more_variables(project: &Project) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    let mut address = |name: &str, url: &str| {
        if has_password(url) {
            variables.push((name.to_owned(), url.to_owned()));
        }
    };
    let layer = project.layer.as_ref().and_then(received).map(|(layer, _)| layer);
    if let Some(url) = layer.and_then(|layer| layer.url.as_deref()) {
        address(LAYER_VARIABLE, url);
    }
    match &project.celery {
        Some(app) if shows_tasks(app) => address(RESULTS_VARIABLE, &app.results),
        Some(app) if follows_events(app) => address(EVENTS_VARIABLE, &app.broker),
        Some(_) | None => {}
    }
    let keys = layer.iter().flat_map(|layer| &layer.keys).zip(1..);
    variables.extend(keys.map(|(key, number)| (format!("{KEY_VARIABLE}{number}"), key.clone())));
    variables
}

/// Whether the gateway can read the states of an app's tasks.
pub(super) fn shows_tasks(app: &CeleryApp) -> bool {
    app.results.starts_with("redis") && RedisSettings::new(&app.results).is_ok()
}

/// Whether it can follow the events of an app's workers, where it cannot do that.
pub(super) fn follows_events(app: &CeleryApp) -> bool {
    let speaks_amqp = ["amqp://", "pyamqp://"].iter().any(|scheme| app.broker.starts_with(scheme));
    let is_redis = app.broker.starts_with("redis") && RedisSettings::new(&app.broker).is_ok();
    !shows_tasks(app) && (speaks_amqp || is_redis)
}

/// The layer and its name in `[channels] receive`, if the gateway can receive from it.
pub(super) fn received(layer: &ChannelLayer) -> Option<(&ChannelLayer, &str)> {
    let receive = layer.receive.as_deref()?;
    RedisSettings::new(layer.url.as_deref()?).ok()?;
    Some((layer, receive))
}

/// Whether an address has a password, which belongs into groupcast.env.
fn has_password(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    rest.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

/// One route for each path of routing.py, and what is left of it as comments.
fn routes(project: &Project) -> String {
    let mut text = String::new();
    for (path, consumer) in &project.routes {
        let _ = write!(text, "[[route]]  # {consumer}\npath = {path:?}\njoin = [{USER_GROUP}]\n");
        if path.contains('{') {
            text += "allow = \"hook\"    # @groupcast.connect decides, and names further groups\n";
        }
        text += "\n";
    }
    if project.routes.is_empty() {
        text = format!("{ROUTE}\n");
    }
    for (pattern, consumer) in &project.patterns {
        let _ =
            writeln!(text, "# routing.py has {pattern:?} for {consumer}: write its paths here.");
    }
    text.trim_end().to_owned() + "\n"
}

/// `[layer]` and `[channels]` as `CHANNEL_LAYERS` has them.
fn channels(layer: &ChannelLayer, receive: &str) -> String {
    let url = layer.url.as_deref().unwrap_or_default();
    let url = address("url", url, LAYER_VARIABLE);
    let capacity = if layer.capacity > DEFAULT_CAPACITY { layer.capacity } else { CAPACITY };
    let mut text = format!(
        "# What Django and Celery send by channel_layer.group_send, read from CHANNEL_LAYERS.\n\
         [layer]\nkind = \"redis\"\n{url}\n\n\
         [channels]\nreceive = [{receive:?}]\nprefix = {:?}\n\
         # In CHANNEL_LAYERS: \"channel_capacity\": {{\"groupcast.*\": {capacity}}}\n\
         capacity = {capacity}\n\
         expiry = \"{}s\"\ngroup_expiry = \"{}s\"\nrandom_prefix_length = {}\nserializer = {:?}\n",
        layer.prefix,
        layer.expiry.max(1.0).ceil(),
        layer.group_expiry.max(1.0).ceil(),
        layer.random_prefix_length,
        layer.serializer,
    );
    for (_, number) in layer.keys.iter().zip(1..) {
        let _ = write!(text, "\n[[channels.key]]\nsecret_env = \"{KEY_VARIABLE}{number}\"\n");
    }
    text
}

/// `[celery]`, for `{% groupcast_progress %}` and the like; `None` = neither can be followed.
fn celery(app: &CeleryApp) -> Option<String> {
    let (source, more) = if shows_tasks(app) {
        let results = address("results", &app.results, RESULTS_VARIABLE);
        (results, format!("key_prefix = {:?}\n", app.key_prefix))
    } else if follows_events(app) {
        let events = address("events", &app.broker, EVENTS_VARIABLE);
        let channels = match app.event_channels.as_str() {
            "" => String::new(),
            channels => format!("event_channels = {channels:?}\n"),
        };
        let progress = "# Progress takes groupcast.celery.install(app) in celery.py, and -E.\n";
        (events, format!("{channels}{progress}"))
    } else {
        return None;
    };
    let what = "# The states of Celery's tasks, for those who may watch them.";
    Some(format!("\n{what}\n[celery]\n{source}\n{more}"))
}

/// The line with an address, or where it is if it has a password.
fn address(key: &str, url: &str, variable: &str) -> String {
    match has_password(url) {
        true => format!("# {key}: {variable} in groupcast.env, since it has a password"),
        false => format!("{key} = {url:?}"),
    }
}
