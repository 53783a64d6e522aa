//! The reasons in English.

use super::reason::Reason;
use crate::hub::GapRow;
use crate::layer::Surroundings;

/// One sentence or two about `sub` and `group`.
pub(super) fn sentence(reason: &Reason, sub: &str, group: &str) -> String {
    match reason {
        Reason::Connected { count, oldest } => {
            let oldest = span(*oldest);
            format!("User {sub} has {count} open connection(s); the oldest is {oldest} old.")
        }
        Reason::NotConnected => format!(
            "User {sub} is not connected to any instance, and none remembers a connection of this \
             user."
        ),
        Reason::Ended { end, ago } => format!(
            "User {sub} is not connected. The last connection ended {} ago with code {} ({}), \
             after {}.",
            span(*ago),
            end.code,
            end.reason,
            span(end.ended.saturating_sub(end.opened)),
        ),
        Reason::EndedSlow { end, ago } => format!(
            "User {sub} is not connected: {} ago the connection was closed with code 4508 because \
             it read too slowly; {} publications were lost with it.",
            span(*ago),
            end.dropped.lost(),
        ),
        Reason::CameLater { by } => format!(
            "User {sub} connected {} after the time that you ask about. Without a history the \
             group's earlier events are gone.",
            span(*by),
        ),
        Reason::TokenRefused { refusal, ago } => format!(
            "{} ago a connection with a token of user {sub} was refused with code {}: {}.",
            span(*ago),
            refusal.code,
            refusal.cause,
        ),
        Reason::HookRefused { count, refusal, ago } => format!(
            "In the last ten minutes {count} connection(s) were refused by the connect hook, the \
             last {} ago with code {}: {}. Whose they were is not known, since the site did not \
             say.",
            span(*ago),
            refusal.code,
            refusal.cause,
        ),
        Reason::NoGrant { asked: Some(ago) } => format!(
            "User {sub} asked to join {group} {} ago and was refused: no grant in the token or the \
             configuration allows it.",
            span(*ago),
        ),
        Reason::NoGrant { asked: None } => format!(
            "User {sub} is not in {group} and may not join it: no grant in the token or the \
             configuration allows it."
        ),
        other => of_delivery(other, sub, group),
    }
}

fn of_delivery(reason: &Reason, sub: &str, group: &str) -> String {
    match reason {
        Reason::OtherName { held } => format!(
            "User {sub} is not in {group} but in {}: the sender and the browser do not use the \
             same name.",
            held.join(", "),
        ),
        Reason::NotJoined { granted_by } => format!(
            "User {sub} may join {group} ({granted_by}) but has not: the page does not join it, \
             or has left it."
        ),
        Reason::Member { connections, group: row } => format!(
            "{connections} connection(s) of user {sub} are in {group}, which has {} member(s) in \
             all{}.",
            row.members,
            row.offset.map_or_else(String::new, |offset| format!(" and is at offset {offset}")),
        ),
        Reason::NobodyHolds => {
            format!("Nobody is in {group} on any instance, so its events go to nobody.")
        }
        Reason::Slow { loss, waiting } => format!(
            "The connection of user {sub} reads too slowly: {} publication(s) of {group} were \
             dropped when its queue was full, and {waiting} wait.",
            loss.dropped.capacity + loss.dropped.bytes,
        ),
        Reason::Expired { count } => format!(
            "{count} publication(s) of {group} expired before the connection of user {sub} took \
             them."
        ),
        Reason::MailboxFull { ago } => format!(
            "{} ago the mailbox from which {group} is received was full, or no instance had \
             emptied it in time: what Django sent then may be lost.",
            span(*ago),
        ),
        Reason::Gap { gap, ago } => {
            format!("{} ago a gap in {group} was announced to user {sub}: {}.", span(*ago), of(gap))
        }
        Reason::Unlisted { event, path, count } => format!(
            "The route {path} lists its events, and {event:?} is not among them: {count} \
             publication(s) of {group} were not passed on."
        ),
        Reason::Superseded { count } => format!(
            "{count} publication(s) of {group} were replaced by newer ones while they waited, as \
             configured (overflow = \"latest\")."
        ),
        Reason::NothingSent { surroundings } => format!(
            "Nothing has been sent to {group} here since its first member came. {}",
            elsewhere(surroundings.as_ref()),
        ),
        Reason::Written { group: row } => format!(
            "Everything sent to {group} was written to the connection of user {sub}; the last \
             publication was {} ago. Look at the page itself.",
            span(row.quiet.unwrap_or_default()),
        ),
        Reason::Silent { instances } => {
            format!("No answer in time from {}: what they know is missing.", instances.join(", "))
        }
        _ => String::new(),
    }
}

fn of(gap: &GapRow) -> String {
    let why = match gap.reason.as_str() {
        "slow" => "it read too slowly",
        "expired" => "they expired in its queue",
        _ => "they were lost on their way through Redis",
    };
    match (gap.lost, gap.range) {
        (Some(lost), Some((first, last))) => {
            format!("{lost} publication(s), offsets {first} to {last}, are missing, because {why}")
        }
        (Some(lost), None) => format!("{lost} publication(s) are missing, because {why}"),
        (None, _) => format!("publications may be missing, because {why}"),
    }
}

fn elsewhere(surroundings: Option<&Surroundings>) -> String {
    let Some(Surroundings { cluster, database, databases, other_clusters }) = surroundings else {
        return "Its layer is the memory of this process: what is written to Redis, or sent to \
                another gateway, does not come here."
            .to_owned();
    };
    let others = databases.iter().filter(|it| *it != database).map(ToString::to_string);
    let others = others.collect::<Vec<_>>().join(", ");
    let mut text = format!(
        "This gateway reads cluster {cluster:?} in database {database} of Redis: a sender that \
         uses another does not reach it."
    );
    if !others.is_empty() {
        text.push_str(&format!(" There are keys in database {others}, too."));
    }
    if !other_clusters.is_empty() {
        text.push_str(&format!(" Another cluster is live: {}.", other_clusters.join(", ")));
    }
    text
}

/// Seconds as people say them.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
