//! Writes envelopes.

use std::time::{Duration, Instant};

use super::{CommandMark, MARKED, OWNER, VERSION, flag, kind, member, queue};
use crate::event::{
    ConnectionId, Control, Except, InstanceId, Member, PossibleLoss, Publication, Target,
};
use crate::layer::group_queues::QueueKey;
use crate::layer::lag_report::LagReport;

/// Appends the envelope of `publication`, sent at `now`, to `envelopes`.
pub(super) fn append(
    envelopes: &mut Vec<u8>,
    origin: InstanceId,
    publication: &Publication,
    now: Instant,
) {
    let mut out = Writer::begin(envelopes, kind_of(&publication.target), origin);
    out.bytes(&publication.id.0.to_be_bytes());
    out.span(now.saturating_duration_since(publication.accepted));
    let deadline = if publication.deadline.is_some() { flag::DEADLINE } else { 0 };
    let except = if publication.except.is_empty() { 0 } else { flag::EXCEPT };
    out.byte(deadline | except);
    if let Some(deadline) = publication.deadline {
        out.span(deadline.saturating_duration_since(now));
    }
    if !publication.except.is_empty() {
        out.except(&publication.except);
    }
    match &publication.target {
        Target::User(sub) => out.text(sub),
        Target::Connection(id) => out.connection(*id),
        Target::Group(_) | Target::All => {}
    }
    out.bytes(publication.event.json());
}

/// The envelope of a command, as it stands in the stream.
pub(super) fn command(origin: InstanceId, command: &Control, mark: &CommandMark) -> Vec<u8> {
    let mut envelope = control(origin, command);
    let mut out = Writer(&mut envelope);
    out.byte(MARKED);
    out.bytes(&mark.id.to_be_bytes());
    let accepted = mark.accepted.unwrap_or_default();
    out.number(accepted.generation);
    out.number(accepted.number);
    envelope
}

/// The envelope of a command without a mark.
pub(super) fn control(origin: InstanceId, control: &Control) -> Vec<u8> {
    let kind = match control {
        Control::Join(..) => kind::JOIN,
        Control::Leave(..) => kind::LEAVE,
        Control::Close(..) => kind::CLOSE,
        Control::CloseSession(..) => kind::CLOSE_SESSION,
    };
    let mut envelope = Vec::with_capacity(128);
    let mut out = Writer::begin(&mut envelope, kind, origin);
    match control {
        Control::Join(member, group) | Control::Leave(member, group) => {
            out.member(member);
            out.text(group.as_str());
        }
        Control::Close(member, code) => {
            out.member(member);
            out.number(u64::from(*code));
        }
        Control::CloseSession(sub, session, code) => {
            out.text(sub);
            out.text(session);
            out.number(u64::from(*code));
        }
    }
    envelope
}

/// The envelope of a probe.
pub(super) fn probe(origin: InstanceId, number: u64) -> Vec<u8> {
    let mut envelope = Vec::with_capacity(24);
    Writer::begin(&mut envelope, kind::PROBE, origin).number(number);
    envelope
}

/// The envelope of a question to the other instances.
pub(super) fn question(origin: InstanceId, number: u64, body: &[u8]) -> Vec<u8> {
    numbered(kind::QUESTION, origin, number, body)
}

/// The envelope of the answer to a question.
pub(super) fn answer(origin: InstanceId, number: u64, body: &[u8]) -> Vec<u8> {
    numbered(kind::ANSWER, origin, number, body)
}

fn numbered(kind: u8, origin: InstanceId, number: u64, body: &[u8]) -> Vec<u8> {
    let mut envelope = Vec::with_capacity(body.len() + 24);
    let mut out = Writer::begin(&mut envelope, kind, origin);
    out.number(number);
    out.bytes(body);
    envelope
}

/// The envelope of a possible loss.
pub(super) fn possible_loss(origin: InstanceId, loss: &PossibleLoss) -> Vec<u8> {
    let mut envelope = Vec::with_capacity(64);
    let mut out = Writer::begin(&mut envelope, kind::POSSIBLE_LOSS, origin);
    match loss {
        PossibleLoss::Groups(groups) => {
            out.byte(0);
            out.number(groups.len() as u64);
            groups.iter().for_each(|group| out.text(group.as_str()));
        }
        PossibleLoss::Share { number, of } => {
            out.byte(1);
            out.number(u64::from(*number));
            out.number(u64::from(*of));
        }
    }
    envelope
}

/// The envelope of what waits in front of the hub.
pub(super) fn lag(origin: InstanceId, report: &LagReport) -> Vec<u8> {
    let mut envelope = Vec::with_capacity(64 + 32 * report.waits.len());
    let mut out = Writer::begin(&mut envelope, kind::LAG, origin);
    out.bytes(&report.salt);
    for (key, wait) in &report.waits {
        match key {
            Some(QueueKey::Group(group)) => {
                out.byte(queue::GROUP);
                out.text(group.as_str());
            }
            Some(QueueKey::Users(bucket)) => out.bytes(&[queue::USERS, *bucket]),
            Some(QueueKey::Instance) => out.byte(queue::INSTANCE),
            None => out.byte(queue::EVERYBODY),
        }
        out.span(*wait);
    }
    envelope
}

fn kind_of(target: &Target) -> u8 {
    match target {
        Target::Group(_) => kind::GROUP,
        Target::User(_) => kind::USER,
        Target::Connection(_) => kind::CONNECTION,
        Target::All => kind::ALL,
    }
}

/// Appends one envelope to the buffer.
struct Writer<'a>(&'a mut Vec<u8>);

impl<'a> Writer<'a> {
    fn begin(envelopes: &'a mut Vec<u8>, kind: u8, origin: InstanceId) -> Self {
        let mut out = Self(envelopes);
        out.bytes(&[VERSION, kind]);
        out.bytes(origin.as_str().as_bytes());
        out
    }

    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    fn span(&mut self, span: Duration) {
        self.number(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes(text.as_bytes());
    }

    fn connection(&mut self, id: ConnectionId) {
        self.bytes(id.instance.as_str().as_bytes());
        self.number(id.serial);
    }

    fn member(&mut self, whom: &Member) {
        match whom {
            Member::User(sub) => {
                self.byte(member::USER);
                self.text(sub);
            }
            Member::Connection(id) => {
                self.byte(member::CONNECTION);
                self.connection(*id);
            }
        }
    }

    fn except(&mut self, except: &Except) {
        self.number(except.connections.len() as u64);
        except.connections.iter().for_each(|id| self.connection(*id));
        self.number((except.users.len() + usize::from(except.owner.is_some())) as u64);
        except.users.iter().for_each(|sub| self.text(sub));
        if let Some(owner) = &except.owner {
            self.number((OWNER.len_utf8() + owner.len()) as u64);
            self.byte(OWNER as u8);
            self.bytes(owner.as_bytes());
        }
    }
}
