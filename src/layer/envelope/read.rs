//! Parses envelopes. Any program may publish on a channel, so nothing is trusted.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

use super::{
    CommandMark, Decoded, EnvelopeError, MARKED, MAX_LIST, Message, OWNER, Origin, POSITIONED,
    SIGNED, SIGNED_PREFIX, VERSION, WAITED, flag, kind, member, queue,
};
use crate::event::{
    ConnectionId, Control, Event, Except, InstanceId, Member, Position, PossibleLoss, Publication,
    PublicationId, Stamp, Target,
};
use crate::group::GroupName;
use crate::layer::group_queues::{BucketSalt, QueueKey};
use crate::layer::lag_report::LagReport;

/// The longest text in an envelope, such as a `sub`: limits the effect of a damaged length.
const MAX_TEXT: u64 = 4096;

/// Longest position, `<epoch> <offset>`: two numbers of 20 digits, a random part and their marks.
const MAX_LINE: usize = 96;

/// Takes the signature off the front of a message, if it has one.
pub(super) type Verify<'a> = dyn Fn(&mut Bytes) -> Result<(), EnvelopeError> + 'a;

/// Reads a message that was found at `origin` and arrived at `now`. A bare event may have at most
/// `max_event_bytes`, and needs no signature.
///
/// A panic here only discards the message.
pub(super) fn decode(
    origin: Origin<'_>,
    bytes: Bytes,
    max_event_bytes: usize,
    now: Instant,
    verify: &Verify<'_>,
) -> Result<Decoded, EnvelopeError> {
    let decoding =
        AssertUnwindSafe(|| decode_unguarded(origin, bytes, max_event_bytes, now, verify));
    catch_unwind(decoding).unwrap_or(Err(EnvelopeError::Panic))
}

fn decode_unguarded(
    origin: Origin<'_>,
    mut bytes: Bytes,
    max_event_bytes: usize,
    now: Instant,
    verify: &Verify<'_>,
) -> Result<Decoded, EnvelopeError> {
    let (mut position, mut accepted) = (None, now);
    if let Origin::Group(_) = origin {
        match bytes.first() {
            Some(&POSITIONED) => position = Some(take_position(&mut bytes)?),
            Some(&WAITED) => {
                accepted = now.checked_sub(take_waited(&mut bytes)?).unwrap_or(now);
            }
            Some(b'{' | b' ' | b'\t' | b'\r' | b'\n') if bytes.len() > max_event_bytes => {
                return Err(EnvelopeError::TooLarge { bytes: bytes.len(), most: max_event_bytes });
            }
            Some(b'{' | b' ' | b'\t' | b'\r' | b'\n') => {
                return Ok(Decoded::Bare(Event::parse(bytes)?));
            }
            _ => {}
        }
    }
    verify(&mut bytes)?;
    match bytes.first() {
        Some(&VERSION) => bytes.advance(1),
        Some(version) => return Err(EnvelopeError::Version(*version)),
        None => return Err(EnvelopeError::Malformed("version")),
    }
    let mut reader = EnvelopeReader(bytes);
    let kind = reader.byte("kind")?;
    if !is_carried(origin, kind) {
        return Err(EnvelopeError::Kind(kind));
    }
    let instance = reader.instance("origin")?;
    let message = match kind {
        kind::JOIN | kind::LEAVE | kind::CLOSE | kind::CLOSE_SESSION => {
            Message::Command(reader.command(kind)?, reader.mark()?)
        }
        kind::PROBE => Message::Probe(reader.number("probe")?, reader.place()),
        kind::POSSIBLE_LOSS => Message::PossibleLoss(reader.possible_loss()?),
        kind::QUESTION => Message::Question(reader.number("question")?, reader.0),
        kind::ANSWER => Message::Answer(reader.number("answer")?, reader.0),
        kind::LAG => Message::Lag(reader.lag()?),
        _ => {
            let publication = reader.publication(kind, origin, accepted)?;
            Message::Publication(Publication { position, ..publication })
        }
    };
    Ok(Decoded::From(instance, message))
}

/// Whether messages of `kind` are sent by way of `origin`. Otherwise a program with rights on one
/// channel could send messages of other channels.
fn is_carried(origin: Origin<'_>, kind: u8) -> bool {
    match origin {
        Origin::Group(_) => kind == kind::GROUP,
        Origin::User => kind == kind::USER,
        Origin::Instance => matches!(kind, kind::CONNECTION | kind::PROBE | kind::ANSWER),
        Origin::Questions => matches!(kind, kind::QUESTION | kind::LAG),
        Origin::Control => {
            is_carried(Origin::Commands, kind) || matches!(kind, kind::ALL | kind::POSSIBLE_LOSS)
        }
        Origin::Commands => {
            matches!(kind, kind::JOIN | kind::LEAVE | kind::CLOSE | kind::CLOSE_SESSION)
        }
    }
}

/// Takes `<2><epoch> <offset>\n` off the front.
fn take_position(bytes: &mut Bytes) -> Result<Position, EnvelopeError> {
    take_line(bytes, parse_position).ok_or(EnvelopeError::Malformed("position"))
}

/// Takes `<3><ms>\n` off the front.
fn take_waited(bytes: &mut Bytes) -> Result<Duration, EnvelopeError> {
    let waited = take_line(bytes, |text| text.parse().ok().map(Duration::from_millis));
    waited.ok_or(EnvelopeError::Malformed("waiting time"))
}

/// Takes a byte, a text that `parse` can read, and a line feed off the front.
fn take_line<T>(bytes: &mut Bytes, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    let window = &bytes[1..bytes.len().min(MAX_LINE)];
    let end = window.iter().position(|byte| *byte == b'\n')?;
    let value = parse(std::str::from_utf8(&window[..end]).ok()?)?;
    bytes.advance(end + 2);
    Some(value)
}

/// Reads `<epoch> <offset>`, as the scripts write it.
pub(in crate::layer) fn parse_position(text: &str) -> Option<Position> {
    let (epoch, offset) = text.split_once(' ')?;
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if epoch.is_empty() || !epoch.chars().all(legal) {
        return None;
    }
    Some(Position { epoch: epoch.into(), offset: offset.parse().ok()? })
}

/// Reads `<generation> <number>`, perhaps with more behind a space, as the scripts write it.
pub(in crate::layer) fn parse_place(text: &str) -> Option<Stamp> {
    let mut numbers = text.split(' ').map(str::parse);
    Some(Stamp { generation: numbers.next()?.ok()?, number: numbers.next()?.ok()? })
}

/// The user in a message on the channel of users, before it is verified: for its turn alone.
pub(in crate::layer) fn user_of(bytes: &Bytes) -> Option<Bytes> {
    let mut bytes = bytes.clone();
    if bytes.first() == Some(&SIGNED) {
        bytes = bytes.get(SIGNED_PREFIX..).map(|rest| bytes.slice_ref(rest))?;
    }
    let mut reader = EnvelopeReader(bytes);
    reader.take(2 + 8 + 16, "head").ok()?;
    reader.number("age").ok()?;
    let flags = reader.byte("flags").ok()?;
    if flags & flag::DEADLINE != 0 {
        reader.number("deadline").ok()?;
    }
    if flags & flag::EXCEPT != 0 {
        reader.except().ok()?;
    }
    let length = reader.number("target").ok().filter(|length| *length <= MAX_TEXT)?;
    reader.take(length as usize, "target").ok()
}

struct EnvelopeReader(Bytes);

impl EnvelopeReader {
    fn take(&mut self, count: usize, what: &'static str) -> Result<Bytes, EnvelopeError> {
        if self.0.len() < count {
            return Err(EnvelopeError::Malformed(what));
        }
        Ok(self.0.split_to(count))
    }

    fn byte(&mut self, what: &'static str) -> Result<u8, EnvelopeError> {
        self.take(1, what).map(|byte| byte[0])
    }

    fn number(&mut self, what: &'static str) -> Result<u64, EnvelopeError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(EnvelopeError::Malformed(what))
    }

    fn text(&mut self, what: &'static str) -> Result<Arc<str>, EnvelopeError> {
        let length = self.number(what)?;
        if length > MAX_TEXT {
            return Err(EnvelopeError::Malformed(what));
        }
        let bytes = self.take(length as usize, what)?;
        std::str::from_utf8(&bytes).map(Into::into).map_err(|_| EnvelopeError::Malformed(what))
    }

    fn instance(&mut self, what: &'static str) -> Result<InstanceId, EnvelopeError> {
        let bytes = self.take(8, what)?;
        let text = std::str::from_utf8(&bytes).ok();
        text.and_then(|text| text.parse().ok()).ok_or(EnvelopeError::Malformed(what))
    }

    fn connection(&mut self, what: &'static str) -> Result<ConnectionId, EnvelopeError> {
        Ok(ConnectionId { instance: self.instance(what)?, serial: self.number(what)? })
    }

    fn member(&mut self) -> Result<Member, EnvelopeError> {
        match self.byte("member")? {
            member::USER => self.text("member").map(Member::User),
            member::CONNECTION => self.connection("member").map(Member::Connection),
            _ => Err(EnvelopeError::Malformed("member")),
        }
    }

    fn command(&mut self, kind: u8) -> Result<Control, EnvelopeError> {
        Ok(match kind {
            kind::JOIN => Control::Join(self.member()?, self.group()?),
            kind::LEAVE => Control::Leave(self.member()?, self.group()?),
            kind::CLOSE => Control::Close(self.member()?, self.code()?),
            kind::CLOSE_SESSION => {
                Control::CloseSession(self.text("member")?, self.text("session")?, self.code()?)
            }
            kind => return Err(EnvelopeError::Kind(kind)),
        })
    }

    fn mark(&mut self) -> Result<Option<CommandMark>, EnvelopeError> {
        if self.0.first() != Some(&MARKED) {
            return Ok(None);
        }
        self.0.advance(1);
        let id = self.take(16, "mark")?;
        let id = u128::from_be_bytes(id.as_ref().try_into().expect("16 bytes were taken"));
        let generation = self.number("mark")?;
        let accepted = Stamp { generation, number: self.number("mark")? };
        let accepted = (accepted != Stamp::default()).then_some(accepted);
        Ok(Some(CommandMark { id, accepted, place: self.place() }))
    }

    /// The rest up to a line feed, if that is a place.
    fn place(&mut self) -> Option<Stamp> {
        let window = &self.0[..self.0.len().min(MAX_LINE)];
        let end = window.iter().position(|byte| *byte == b'\n')?;
        parse_place(std::str::from_utf8(&window[..end]).ok()?)
    }

    fn code(&mut self) -> Result<u16, EnvelopeError> {
        u16::try_from(self.number("code")?).map_err(|_| EnvelopeError::Malformed("code"))
    }

    fn group(&mut self) -> Result<GroupName, EnvelopeError> {
        GroupName::parse(&self.text("group")?).map_err(|_| EnvelopeError::Malformed("group"))
    }

    fn possible_loss(&mut self) -> Result<PossibleLoss, EnvelopeError> {
        match self.byte("possible loss")? {
            0 => {
                let groups = (0..self.count("groups")?).map(|_| self.group());
                Ok(PossibleLoss::Groups(groups.collect::<Result<_, _>>()?))
            }
            1 => {
                let (number, of) = (self.share()?, self.share()?);
                if number >= of {
                    return Err(EnvelopeError::Malformed("share"));
                }
                Ok(PossibleLoss::Share { number, of })
            }
            _ => Err(EnvelopeError::Malformed("possible loss")),
        }
    }

    fn lag(&mut self) -> Result<LagReport, EnvelopeError> {
        let mut salt = BucketSalt::default();
        salt.copy_from_slice(&self.take(size_of::<BucketSalt>(), "salt")?);
        let mut report = LagReport { salt, waits: Vec::new() };
        while !self.0.is_empty() {
            if report.waits.len() > LagReport::MAX_QUEUES {
                return Err(EnvelopeError::Malformed("queues"));
            }
            let key = match self.byte("queue")? {
                queue::GROUP => Some(QueueKey::Group(self.group()?)),
                queue::USERS => Some(QueueKey::Users(self.byte("queue")?)),
                queue::INSTANCE => Some(QueueKey::Instance),
                queue::EVERYBODY => None,
                _ => return Err(EnvelopeError::Malformed("queue")),
            };
            report.waits.push((key, Duration::from_millis(self.number("wait")?)));
        }
        Ok(report)
    }

    fn share(&mut self) -> Result<u16, EnvelopeError> {
        u16::try_from(self.number("share")?).map_err(|_| EnvelopeError::Malformed("share"))
    }

    fn except(&mut self) -> Result<Except, EnvelopeError> {
        let mut except = Except::default();
        for _ in 0..self.count("except")? {
            except.connections.push(self.connection("except")?);
        }
        for _ in 0..self.count("except")? {
            let user = self.text("except")?;
            match user.strip_prefix(OWNER) {
                Some(owner) => except.owner = Some(owner.into()),
                None => except.users.push(user),
            }
        }
        Ok(except)
    }

    fn count(&mut self, what: &'static str) -> Result<u64, EnvelopeError> {
        let count = self.number(what)?;
        if count > MAX_LIST {
            return Err(EnvelopeError::Malformed(what));
        }
        Ok(count)
    }

    /// The rest, as a publication without a position.
    fn publication(
        mut self,
        kind: u8,
        origin: Origin<'_>,
        now: Instant,
    ) -> Result<Publication, EnvelopeError> {
        let id = self.take(16, "id")?;
        let id = id.as_ref().try_into().map_err(|_| EnvelopeError::Malformed("id"))?;
        let age = Duration::from_millis(self.number("age")?);
        let flags = self.byte("flags")?;
        let mut deadline = None;
        if flags & flag::DEADLINE != 0 {
            // A deadline beyond the range of the clock is ignored.
            deadline = now.checked_add(Duration::from_millis(self.number("deadline")?));
        }
        let except = if flags & flag::EXCEPT != 0 { self.except()? } else { Except::default() };
        let target = match (kind, origin) {
            (kind::GROUP, Origin::Group(group)) => Target::Group(group.clone()),
            (kind::USER, _) => Target::User(self.text("target")?),
            (kind::CONNECTION, _) => Target::Connection(self.connection("target")?),
            (kind::ALL, _) => Target::All,
            _ => return Err(EnvelopeError::Malformed("target")),
        };
        Ok(Publication {
            id: PublicationId(u128::from_be_bytes(id)),
            target,
            event: Event::parse(self.0)?,
            except,
            // An age beyond the range of the clock counts as zero.
            accepted: now.checked_sub(age).unwrap_or(now),
            deadline,
            position: None,
        })
    }
}
