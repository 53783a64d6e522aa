//! Writes and reads the envelopes of one instance, signed if its cluster has secrets.

use std::time::Instant;

use bytes::{Buf, Bytes};

use super::announcement::Announcement;
use super::read::decode;
use super::seen::SeenTags;
use super::{CommandMark, Decoded, EnvelopeError, Origin, SIGNED, SIGNED_PREFIX as PREFIX, write};
use crate::event::{Control, InstanceId, PossibleLoss, Publication};
use crate::layer::cluster_keys::{ClusterKeys, ClusterSecrets, Purpose, Tag};
use crate::layer::lag_report::LagReport;

/// Bytes of a tag.
const TAG: usize = size_of::<Tag>();

/// Writes and reads the envelopes of one instance.
pub(in crate::layer) struct EnvelopeCodec {
    instance: InstanceId,
    keys: ClusterKeys,
    /// Of messages that have arrived.
    seen: SeenTags,
}

/// Where a message was found.
#[derive(Debug, Clone, Copy)]
pub(in crate::layer) struct Found<'a> {
    pub(in crate::layer) origin: Origin<'a>,
    /// The name of the channel that it was signed for, in two parts.
    pub(in crate::layer) channel: [&'a str; 2],
}

impl EnvelopeCodec {
    pub(in crate::layer) fn new(instance: InstanceId, secrets: &ClusterSecrets) -> Self {
        Self { instance, keys: ClusterKeys::new(secrets), seen: SeenTags::default() }
    }

    /// The instance that writes.
    pub(in crate::layer) fn instance(&self) -> InstanceId {
        self.instance
    }

    /// Whether envelopes are signed at present.
    pub(in crate::layer) fn is_signing(&self) -> bool {
        self.keys.is_signing()
    }

    /// Whether every live instance reads what is signed.
    pub(in crate::layer) fn set_understood(&self, is_understood: bool) {
        self.keys.set_understood(is_understood);
    }

    /// The envelope of `publication`, sent at `now` on `channel`; its position is not in it.
    pub(in crate::layer) fn publication(
        &self,
        channel: &str,
        publication: &Publication,
        now: Instant,
    ) -> Vec<u8> {
        let mut envelope = Vec::with_capacity(publication.event.json().len() + 96 + PREFIX);
        self.write(&mut envelope, publication, now);
        self.sign(channel.as_bytes(), &mut envelope);
        envelope
    }

    /// Appends the envelope to `out`: those of a batch share one allocation.
    pub(in crate::layer) fn append(
        &self,
        out: &mut Vec<u8>,
        channel: &[u8],
        publication: &Publication,
        now: Instant,
    ) {
        let start = out.len();
        self.write(out, publication, now);
        self.sign(channel, &mut out[start..]);
    }

    fn write(&self, out: &mut Vec<u8>, publication: &Publication, now: Instant) {
        if self.keys.is_signing() {
            out.extend_from_slice(&[SIGNED; PREFIX]);
        }
        write::append(out, self.instance, publication, now);
    }

    /// Fills the room that was left in front of the envelope, if it is to be signed. Others may
    /// have stopped or begun to read signatures since: then it is as it was written.
    fn sign(&self, channel: &[u8], envelope: &mut [u8]) {
        if envelope.first() != Some(&SIGNED) {
            return;
        }
        let tag = self.keys.tag(Purpose::Envelope, channel, &envelope[PREFIX..]);
        let length = (envelope.len() - PREFIX) as u32;
        envelope[1..=TAG].copy_from_slice(&tag);
        envelope[1 + TAG..PREFIX].copy_from_slice(&length.to_be_bytes());
    }

    /// The envelope of a command, as it stands in the stream.
    pub(in crate::layer) fn command(
        &self,
        channel: &str,
        command: &Control,
        mark: &CommandMark,
    ) -> Vec<u8> {
        self.signed(self.is_signing(), channel, write::command(self.instance, command, mark))
    }

    /// The envelope of a probe, which this instance alone reads.
    pub(in crate::layer) fn probe(&self, channel: &str, number: u64) -> Vec<u8> {
        self.signed(self.keys.is_verifying(), channel, write::probe(self.instance, number))
    }

    /// The envelope of a possible loss.
    pub(in crate::layer) fn possible_loss(&self, channel: &str, loss: &PossibleLoss) -> Vec<u8> {
        self.signed(self.is_signing(), channel, write::possible_loss(self.instance, loss))
    }

    /// The envelope of a question to the other instances.
    pub(in crate::layer) fn question(&self, channel: &str, number: u64, body: &[u8]) -> Vec<u8> {
        self.signed(self.is_signing(), channel, write::question(self.instance, number, body))
    }

    /// The envelope of the answer to a question.
    pub(in crate::layer) fn answer(&self, channel: &str, number: u64, body: &[u8]) -> Vec<u8> {
        self.signed(self.is_signing(), channel, write::answer(self.instance, number, body))
    }

    /// The envelope of what waits in front of the hub.
    pub(in crate::layer) fn lag(&self, channel: &str, report: &LagReport) -> Vec<u8> {
        self.signed(self.is_signing(), channel, write::lag(self.instance, report))
    }

    fn signed(&self, wanted: bool, channel: &str, envelope: Vec<u8>) -> Vec<u8> {
        if !wanted {
            return envelope;
        }
        let mut signed = [&[SIGNED; PREFIX][..], &envelope].concat();
        self.sign(channel.as_bytes(), &mut signed);
        signed
    }

    /// The announcement, on the group's `channel`, of a message that is about to be published.
    pub(in crate::layer) fn announcement(&self, channel: &str, message: &[u8]) -> Announcement {
        match self.is_signing() {
            true => {
                let channel = channel.as_bytes();
                Announcement(self.keys.tag(Purpose::Announcement, channel, message))
            }
            false => Announcement::of(message),
        }
    }

    /// Whether `announcement`, found on the group's channel, is that of `message`.
    pub(in crate::layer) fn is_announced(
        &self,
        announcement: &Announcement,
        channel: [&str; 2],
        message: &[u8],
    ) -> bool {
        if self.keys.verifies(Purpose::Announcement, channel, message, &announcement.0) {
            return true;
        }
        !self.keys.requires() && *announcement == Announcement::of(message)
    }

    /// Reads a message that arrived at `now`; a copy of one that has arrived is an error. A bare
    /// event may have at most `max_event_bytes`.
    pub(in crate::layer) fn receive(
        &self,
        found: Found<'_>,
        bytes: Bytes,
        max_event_bytes: usize,
        now: Instant,
    ) -> Result<Decoded, EnvelopeError> {
        let verify = |bytes: &mut Bytes| match self.verify(found, bytes)? {
            Some(tag) if !self.seen.admits(tag) => Err(EnvelopeError::Repeated),
            _ => Ok(()),
        };
        decode(found.origin, bytes, max_event_bytes, now, &verify)
    }

    /// Reads a message, perhaps again.
    pub(in crate::layer) fn read(
        &self,
        found: Found<'_>,
        bytes: Bytes,
        max_event_bytes: usize,
        now: Instant,
    ) -> Result<Decoded, EnvelopeError> {
        let verify = |bytes: &mut Bytes| self.verify(found, bytes).map(drop);
        decode(found.origin, bytes, max_event_bytes, now, &verify)
    }

    /// Takes the signature off the front. What follows the signed envelope are places, which
    /// scripts append: they are believed if Redis confirms them.
    fn verify(&self, found: Found<'_>, bytes: &mut Bytes) -> Result<Option<Tag>, EnvelopeError> {
        if bytes.first() != Some(&SIGNED) {
            return match self.keys.requires() {
                true => Err(EnvelopeError::Unsigned),
                false => Ok(None),
            };
        }
        let malformed = || EnvelopeError::Malformed("signature");
        let prefix = bytes.get(..PREFIX).ok_or_else(malformed)?;
        let tag: Tag = prefix[1..=TAG].try_into().map_err(|_| malformed())?;
        let length = prefix[1 + TAG..].try_into().map_err(|_| malformed())?;
        let length = u32::from_be_bytes(length) as usize;
        let signed = bytes[PREFIX..].get(..length).ok_or_else(malformed)?;
        if !self.keys.is_verifying() {
            bytes.advance(PREFIX);
            return Ok(None);
        }
        if !self.keys.verifies(Purpose::Envelope, found.channel, signed, &tag) {
            return Err(EnvelopeError::Signature);
        }
        bytes.advance(PREFIX);
        Ok(Some(tag))
    }
}
