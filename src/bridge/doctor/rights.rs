//! Whether Redis lets the layer and the bridge do what they will do, tried without changing anything.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::Finding;
use crate::bridge::Settings;
use crate::bridge::names::Mailboxes;
use crate::group::GroupName;
use crate::layer::{LinkError, RedisSettings, Script, Session};

/// The script that tries all that scripts do.
pub(super) const SCRIPT: &str = include_str!("rights.lua");

/// Tries everything; several connections are made and closed.
pub(super) async fn look(
    redis: &RedisSettings,
    settings: &Settings,
    session: &Session,
    findings: &mut Vec<Finding>,
) {
    let mut refused = commands(session).await;
    refused.extend(scripts(settings, session).await);
    refused.extend(channels(redis, settings).await);
    findings.push(match refused.as_slice() {
        [] => Finding::ok("rights", "everything that the layer and the bridge need"),
        refused => Finding::fail("rights", refused.join("; "), advice(&whoami(session).await)),
    });
    findings.push(tracking(redis, session).await);
}

/// What is sent outside scripts; the connection itself has shown hello, auth, select and ping.
async fn commands(session: &Session) -> Vec<String> {
    let mut refused = Vec::new();
    for words in [&["EVAL", "return 1", "0"][..], &["EVALSHA", "", "0"]] {
        match session.ask::<Option<u64>>(words).await {
            Err(LinkError::Refused(why)) if !why.starts_with("NOSCRIPT") => {
                refused.push(format!("{}: {why}", words[0]));
            }
            Err(LinkError::Away(error)) => refused.push(format!("{}: {error}", words[0])),
            _ => {}
        }
    }
    refused
}

async fn scripts(settings: &Settings, session: &Session) -> Vec<String> {
    let names = session.names();
    let mailboxes = Mailboxes::new(&settings.channels, names.cluster());
    let keys = vec![
        own_key(session),
        names.generation(),
        names.instances(),
        names.ingress(),
        mailboxes.of_groups(0),
        mailboxes.group_key(&nobody()),
    ];
    let flag = |on: bool| Bytes::from_static(if on { b"1" } else { b"0" });
    let arguments = vec![
        Bytes::from(names.of_group(&nobody())),
        flag(settings.channels.core),
        flag(settings.ingress),
    ];
    let answer = session.run::<Vec<String>>(&Script::new(&[SCRIPT]), keys, arguments).await;
    match answer {
        Ok(refused) => refused.chunks(2).map(|pair| pair.join(": ")).collect(),
        // The commands' own trial has named it if it is the script's command that is refused.
        Err(error) => vec![format!("script: {error}")],
    }
}

/// One connection for each, since a refusal puts questions and answers out of step.
async fn channels(redis: &RedisSettings, settings: &Settings) -> Vec<String> {
    let mut refused = BTreeSet::new();
    let mut at = 0;
    loop {
        let session = match Session::open(redis).await {
            Ok(session) => session,
            Err(error) => {
                refused.insert(error.to_string());
                break;
            }
        };
        let names = session.names();
        let foreign = settings.channels.pubsub;
        let foreign = foreign.then(|| format!("{}__group__{}", settings.channels.prefix, nobody()));
        let own = names.own().map(str::to_owned).into_iter();
        let channel = own.chain([names.of_group(&nobody())]).chain(foreign).nth(at);
        let Some(channel) = channel else { break };
        if let Err(error) = session.try_channel(&channel).await {
            refused.insert(format!("SUBSCRIBE {channel}: {error}"));
        }
        at += 1;
    }
    refused.into_iter().collect()
}

/// Without it the bridge looks every so often; that costs commands and some milliseconds.
async fn tracking(redis: &RedisSettings, writer: &Session) -> Finding {
    let key = own_key(writer);
    let write = async {
        writer.ask::<()>(&["SET", &key, "", "PX", "1"]).await?;
        // Where that is refused it goes by itself.
        let _ = writer.ask::<()>(&["DEL", &key]).await;
        Ok(())
    };
    let heard = match Session::open(redis).await {
        Ok(listener) => listener.hears_writing(&key, write).await,
        Err(error) => Err(error),
    };
    let advice = "allow +client|tracking; until then sources are polled";
    match heard {
        Ok(true) => Finding::ok("tracking", "writing is told at once"),
        Ok(false) => Finding::warn("tracking", "granted, and nothing was told", advice),
        Err(error) => Finding::warn("tracking", error.to_string(), advice),
    }
}

async fn whoami(session: &Session) -> String {
    session.ask::<String>(&["ACL", "WHOAMI"]).await.unwrap_or_else(|_| "<user>".to_owned())
}

fn advice(user: &str) -> String {
    format!(
        "ACL SETUSER {user} with what is missing, such as +zadd or ~groupcast:* or &groupcast:*; \
         docs/redis.md has the whole line"
    )
}

fn own_key(session: &Session) -> String {
    session.names().key("doctor")
}

fn nobody() -> GroupName {
    GroupName::parse("groupcast.nobody").expect("it is a legal name")
}
