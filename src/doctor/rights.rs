//! Checks that Redis allows everything that the layer and the channel layer do, without lasting
//! changes.

use bytes::Bytes;

use super::Finding;
use crate::channels::{ChannelSettings, MailboxNames};
use crate::group::GroupName;
use crate::layer::{Names, RedisSession, RedisSettings, Script, ScriptError};

/// Tries every command that a script of the gateway calls.
pub(super) const SCRIPT: &str = include_str!("rights.lua");

/// A refused command, and why.
type RefusedCommand = (String, String);

/// Tests everything, over several temporary connections.
pub(super) async fn examine(
    redis: &RedisSettings,
    settings: &ChannelSettings,
    ingress: bool,
    session: &RedisSession,
    findings: &mut Vec<Finding>,
) {
    let is_here = settings.core && settings.server.is_none();
    let mut refused = commands(session).await;
    refused.extend(scripts(settings, (is_here, ingress, true), session).await);
    refused.extend(channels(redis, settings, session.names()).await);
    findings.push(match refused.as_slice() {
        [] => Finding::ok("rights", "everything that the gateway needs"),
        refused => Finding::fail("rights", joined(refused), advice(&whoami(session).await)),
    });
    findings.push(tracking(redis, session).await);
}

/// Tests what draining mailboxes needs on a server of their own.
pub(super) async fn examine_mailboxes(
    server: &RedisSettings,
    settings: &ChannelSettings,
    session: &RedisSession,
    findings: &mut Vec<Finding>,
) {
    let mut refused = commands(session).await;
    refused.extend(scripts(settings, (true, false, false), session).await);
    if !refused.is_empty() {
        let advice = advice(&whoami(session).await);
        findings.push(Finding::fail("rights", joined(&refused), advice));
    }
    findings.push(tracking(server, session).await);
}

/// Commands sent outside scripts. Connecting has already proved hello, auth, select and ping.
async fn commands(session: &RedisSession) -> Vec<RefusedCommand> {
    let mut refused = Vec::new();
    for words in [&["EVAL", "return 1", "0"][..], &["EVALSHA", "", "0"]] {
        match session.ask::<Option<u64>>(words).await {
            Err(ScriptError::Refused(why)) if !why.starts_with("NOSCRIPT") => {
                refused.push((words[0].to_owned(), why));
            }
            Err(ScriptError::Away(error)) => refused.push((words[0].to_owned(), error.to_string())),
            _ => {}
        }
    }
    refused
}

async fn scripts(
    settings: &ChannelSettings,
    (core, ingress, is_layer): (bool, bool, bool),
    session: &RedisSession,
) -> Vec<RefusedCommand> {
    let names = session.names();
    let mailboxes = MailboxNames::new(settings, names.cluster());
    let (generation, instances) = match is_layer {
        true => (names.generation(), names.instances()),
        false => (names.key("remote:gen"), names.key("remote:instances")),
    };
    let keys = [
        own_key(session),
        generation,
        instances,
        names.ingress(),
        mailboxes.of_groups(0),
        mailboxes.group_key(&unused_group()),
        names.of_group(&unused_group()),
    ];
    let flags = [core, ingress, is_layer];
    let flags = flags.map(|on| Bytes::from_static(if on { b"1" } else { b"0" }));
    let arguments = keys.map(Bytes::from).into_iter().chain(flags).collect();
    let script = Script::new(&[SCRIPT]);
    match session.run::<Vec<String>>(&script, Vec::new(), arguments).await {
        Ok(answer) => answer
            .chunks(2)
            .filter_map(|pair| Some((pair.first()?.clone(), pair.get(1)?.clone())))
            .collect(),
        // Where EVAL itself is refused, `commands` has named it.
        Err(error) => vec![("scripts".to_owned(), error.to_string())],
    }
}

/// One connection for each: it is unusable after such a trial.
async fn channels(
    redis: &RedisSettings,
    settings: &ChannelSettings,
    names: &Names,
) -> Vec<RefusedCommand> {
    let external = settings.pubsub;
    let external = external.then(|| format!("{}__group__{}", settings.prefix, unused_group()));
    let own = names.fixed().map(str::to_owned).into_iter();
    let channels = own.chain([names.of_group(&unused_group())]).chain(external);
    let subscribing = channels.map(|channel| ("SUBSCRIBE", channel));
    let mut refused = Vec::new();
    for (command, channel) in subscribing.chain([("UNSUBSCRIBE", names.of_group(&unused_group()))])
    {
        let tried = match RedisSession::open(redis).await {
            Ok(session) => session.try_channel(command, &channel).await,
            Err(error) => Err(error),
        };
        if let Err(error) = tried {
            refused.push((format!("{command} {channel}"), error.to_string()));
        }
    }
    refused
}

/// Without it sources are polled, which costs commands and some milliseconds.
async fn tracking(redis: &RedisSettings, writer: &RedisSession) -> Finding {
    let key = own_key(writer);
    let write = async {
        writer.ask::<()>(&["SET", &key, "", "PX", "1"]).await?;
        // If that is refused, the key expires by itself.
        let _ = writer.ask::<()>(&["DEL", &key]).await;
        Ok(())
    };
    let notified = match RedisSession::open(redis).await {
        Ok(listener) => listener.is_notified_of_write(&key, write).await,
        Err(error) => Err(error),
    };
    let advice = "allow +client|tracking; until then sources are polled";
    match notified {
        Ok(true) => Finding::ok("tracking", "writes are reported at once"),
        Ok(false) => Finding::warn("tracking", "allowed, but no write was reported", advice),
        Err(error) => Finding::warn("tracking", error.to_string(), advice),
    }
}

/// Groups commands by reason.
fn joined(refused: &[RefusedCommand]) -> String {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for (what, why) in refused {
        match reasons.iter_mut().find(|(known, _)| known == why) {
            Some((_, whats)) => whats.push(what),
            None => reasons.push((why, vec![what])),
        }
    }
    let sentences = reasons.iter().map(|(why, whats)| format!("{}: {why}", whats.join(", ")));
    sentences.collect::<Vec<_>>().join("; ")
}

async fn whoami(session: &RedisSession) -> String {
    session.ask::<String>(&["ACL", "WHOAMI"]).await.unwrap_or_else(|_| "<user>".to_owned())
}

fn advice(user: &str) -> String {
    format!(
        "ACL SETUSER {user} with what is missing, such as +zadd or ~groupcast:* or &groupcast:*; \
         docs/redis.md has the whole line"
    )
}

fn own_key(session: &RedisSession) -> String {
    session.names().key("doctor")
}

fn unused_group() -> GroupName {
    GroupName::parse("groupcast.nobody").expect("it is a legal name")
}
