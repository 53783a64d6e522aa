//! Why somebody did not see an event: the reasons, found in what the instances know.

use crate::group::GroupName;
use crate::hub::{EndedRow, GapRow, GroupRow, LossRow, ReceiptReport};
use crate::layer::Surroundings;

use super::evidence::{Evidence, RefusalRow};

/// A refusal counts for this long, in seconds: the browser that was refused comes back sooner.
const RECENT: u64 = 600;

/// The code of a connection that was closed because it read too slowly.
const SLOW: u16 = 4508;

/// One thing that was found out, in the order in which it is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reason {
    /// The user has connections; the oldest is so many seconds old.
    Connected { count: usize, oldest: u64 },
    /// The user has none, and none is remembered.
    NotConnected,
    /// The user has none; the last one ended so many seconds ago.
    Ended { end: EndedRow, ago: u64 },
    /// The last one was closed because it read too slowly.
    EndedSlow { end: EndedRow, ago: u64 },
    /// The user came so many seconds after the time that is asked about.
    CameLater { by: u64 },
    /// A token that claims to be the user's was refused.
    TokenRefused { refusal: RefusalRow, ago: u64 },
    /// The connect hook refused browsers; whose is not known.
    HookRefused { count: usize, refusal: RefusalRow, ago: u64 },
    /// The user is no member, and nothing grants the group.
    NoGrant { asked: Option<u64> },
    /// The user is a member of a group with almost this name.
    OtherName { held: Vec<String> },
    /// The user may join and has not.
    NotJoined { granted_by: String },
    /// The user is a member.
    Member { connections: usize, group: GroupRow },
    /// Nobody is a member anywhere.
    NobodyHolds,
    /// Publications were dropped because the user's connection did not read them.
    Slow { loss: LossRow, waiting: u64 },
    /// They were too old when the connection took them.
    Expired { count: u64 },
    /// The source was full, so the sender may have lost some.
    MailboxFull { ago: u64 },
    /// A gap was announced to the user.
    Gap { gap: GapRow, ago: u64 },
    /// The route of the connection does not list a type of event.
    Unlisted { event: String, path: String, count: u64 },
    /// Newer ones took their place, which is what the configuration asks for.
    Superseded { count: u64 },
    /// Nothing has been sent to the group since its first member came.
    NothingSent { surroundings: Option<Surroundings> },
    /// Everything was written to the user's connections.
    Written { group: GroupRow },
    /// Instances that did not answer: what they know is missing.
    Silent { instances: Vec<String> },
}

impl Reason {
    /// Its name for programs and for links; never changes.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "connected",
            Self::NotConnected | Self::Ended { .. } => "not_connected",
            Self::EndedSlow { .. } => "closed_slow",
            Self::CameLater { .. } => "came_later",
            Self::TokenRefused { .. } => "token_refused",
            Self::HookRefused { .. } => "hook_refused",
            Self::NoGrant { .. } => "no_grant",
            Self::OtherName { .. } => "other_group_name",
            Self::NotJoined { .. } => "not_joined",
            Self::Member { .. } => "member",
            Self::NobodyHolds => "nobody_holds",
            Self::Slow { .. } => "slow",
            Self::Expired { .. } => "expired",
            Self::MailboxFull { .. } => "mailbox_full",
            Self::Gap { .. } => "gap",
            Self::Unlisted { .. } => "unlisted",
            Self::Superseded { .. } => "superseded",
            Self::NothingSent { .. } => "nothing_sent",
            Self::Written { .. } => "written",
            Self::Silent { .. } => "silent_instances",
        }
    }

    /// Whether it explains why an event was not seen.
    pub(super) fn is_cause(&self) -> bool {
        !matches!(
            self,
            Self::Connected { .. }
                | Self::Member { .. }
                | Self::NobodyHolds
                | Self::Written { .. }
                | Self::Silent { .. }
        )
    }
}

/// The reasons that the evidence gives, facts first, then causes, the likeliest first.
pub(super) fn reasons(evidence: &Evidence, now: u64) -> Vec<Reason> {
    let ReceiptReport { connections, .. } = &evidence.receipt;
    let mut found = Vec::new();
    if connections.is_empty() {
        absence(evidence, now, &mut found);
    } else {
        let oldest = connections.iter().map(|it| it.row.age).max().unwrap_or_default();
        found.push(Reason::Connected { count: connections.len(), oldest });
        let came = now.saturating_sub(oldest);
        if let Some(by) = evidence.at.and_then(|at| came.checked_sub(at)).filter(|by| *by > 0) {
            found.push(Reason::CameLater { by });
        }
    }
    if let Some(group) = &evidence.group {
        match &evidence.receipt.group {
            None => found.push(Reason::NobodyHolds),
            Some(row) if connections.iter().any(|it| it.is_member) => {
                delivery(evidence, row, now, &mut found);
            }
            Some(_) => {}
        }
        if !connections.is_empty() && !connections.iter().any(|it| it.is_member) {
            found.push(no_member(evidence, group));
        }
    }
    if !evidence.silent.is_empty() {
        found.push(Reason::Silent { instances: evidence.silent.clone() });
    }
    found
}

/// Why the user has no connection.
fn absence(evidence: &Evidence, now: u64, found: &mut Vec<Reason>) {
    let ago = |at: u64| now.saturating_sub(at);
    let ended = evidence.receipt.ended.as_ref();
    // Those before the last connection were overcome.
    let since = ended.map_or(0, |end| end.opened);
    let recent = |refusal: &&RefusalRow| refusal.at >= since && ago(refusal.at) <= RECENT;
    let refusals = || evidence.refusals.iter().filter(recent);
    if let Some(own) = refusals().rfind(|it| it.is_of(&evidence.sub)) {
        found.push(Reason::TokenRefused { refusal: own.clone(), ago: ago(own.at) });
    }
    let by_hook = || refusals().filter(|refusal| refusal.is_by_hook());
    if let Some(last) = by_hook().next_back() {
        let (count, refusal) = (by_hook().count(), last.clone());
        found.push(Reason::HookRefused { count, ago: ago(refusal.at), refusal });
    }
    found.push(match ended {
        Some(end) if end.code == SLOW => {
            Reason::EndedSlow { end: end.clone(), ago: ago(end.ended) }
        }
        Some(end) => Reason::Ended { end: end.clone(), ago: ago(end.ended) },
        None => Reason::NotConnected,
    });
}

/// Why none of the user's connections is a member.
fn no_member(evidence: &Evidence, group: &GroupName) -> Reason {
    let ReceiptReport { connections, refused, .. } = &evidence.receipt;
    let asked = refused.iter().filter(|(name, _)| name == group.as_str());
    let asked = asked.map(|(_, ago)| *ago).min();
    let granted_by = connections.iter().find_map(|it| it.granted_by.clone());
    if asked.is_some() && granted_by.is_none() {
        return Reason::NoGrant { asked };
    }
    let all = connections.iter().flat_map(|it| &it.row.groups);
    let mut held: Vec<_> = all.filter(|it| is_almost(it, group.as_str())).cloned().collect();
    held.sort_unstable();
    held.dedup();
    match granted_by {
        _ if !held.is_empty() => Reason::OtherName { held },
        Some(granted_by) => Reason::NotJoined { granted_by },
        None => Reason::NoGrant { asked },
    }
}

/// What became of the group's publications for the user, who is a member.
fn delivery(evidence: &Evidence, row: &GroupRow, now: u64, found: &mut Vec<Reason>) {
    let ReceiptReport { connections, losses, unlisted, .. } = &evidence.receipt;
    let members = || connections.iter().filter(|it| it.is_member);
    let connections = members().count();
    found.push(Reason::Member { connections, group: row.clone() });
    let before = found.len();
    let ago = |at: u64| now.saturating_sub(at);
    let since = evidence.at.unwrap_or(0);
    let own = || losses.iter().filter(|loss| loss.at >= since);
    let sum = |count: fn(&LossRow) -> u64| own().map(count).sum::<u64>();
    if let Some(loss) = own().find(|loss| loss.dropped.capacity + loss.dropped.bytes > 0) {
        let waiting = members().map(|it| it.row.waiting).sum();
        found.push(Reason::Slow { loss: loss.clone(), waiting });
    }
    if sum(|loss| loss.dropped.expired) > 0 {
        found.push(Reason::Expired { count: sum(|loss| loss.dropped.expired) });
    }
    if let Some(at) = evidence.overflows.iter().filter(|at| **at >= since).max() {
        found.push(Reason::MailboxFull { ago: ago(*at) });
    }
    let gaps = own().filter_map(|loss| Some((loss.gap.as_ref()?, loss.at)));
    if let Some((gap, at)) = gaps.max_by_key(|(_, at)| *at) {
        found.push(Reason::Gap { gap: gap.clone(), ago: ago(at) });
    }
    if let Some(event) = unlisted
        && let Some(listing) = members().find(|it| it.lists_events)
    {
        let (event, path) = (event.clone(), listing.row.path.clone());
        found.push(Reason::Unlisted { event, path, count: row.dropped.unlisted });
    }
    if sum(|loss| loss.dropped.superseded) > 0 {
        found.push(Reason::Superseded { count: sum(|loss| loss.dropped.superseded) });
    }
    if found.len() == before {
        found.push(match row.quiet {
            None => Reason::NothingSent { surroundings: evidence.surroundings.clone() },
            Some(_) => Reason::Written { group: row.clone() },
        });
    }
}

/// Whether two names differ in no more than case, marks and two letters: their numbers, which
/// tell users and rooms apart, must be the same.
fn is_almost(one: &str, other: &str) -> bool {
    let digits = |name: &str| name.split(|c: char| !c.is_ascii_digit()).collect::<String>();
    let letters = |name: &str| {
        let letters = name.chars().filter(char::is_ascii_alphabetic);
        letters.map(|c| c.to_ascii_lowercase()).collect::<Vec<_>>()
    };
    one != other && digits(one) == digits(other) && distance(&letters(one), &letters(other)) <= 2
}

/// The number of letters to be added, removed or replaced.
fn distance(one: &[char], other: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, a) in one.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (to, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[to + 1];
            row[to + 1] = replaced.min(row[to] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_names_that_differ_in_little() {
        for (one, other) in [
            ("usuario_7", "usuario-7"),
            ("usuario_7", "Usuario_7"),
            ("usuario_7", "usario_7"),
            ("ventas", "venta"),
            ("pedido.42", "pedidos_42"),
        ] {
            assert!(is_almost(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("usuario_7", "usuario_8"),
            ("usuario_7", "usuario_77"),
            ("usuario_7", "pedido_7"),
            ("ventas", "ventas"),
        ] {
            assert!(!is_almost(one, other), "{one} {other}");
        }
    }

    #[test]
    fn a_silent_instance_is_named_and_is_no_cause() {
        let evidence = Evidence { silent: vec!["k3f5a2bq".to_owned()], ..Evidence::default() };
        let found = reasons(&evidence, 100);
        let codes: Vec<_> = found.iter().map(|it| (it.code(), it.is_cause())).collect();
        assert_eq!(codes, [("not_connected", true), ("silent_instances", false)]);
    }
}
