//! A connection: a stream, incomplete input, and queued output.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpStream};

use mio::{Registry, Token};

use super::{
    Decoder, Flushed, GapPolicy, Limits, Lost, Millis, Outbox, QueuedEvent, RoundTrip, Settings,
    Source, Stream,
};
use crate::event::Position;
use crate::frame::Frame;
use crate::protocol::Disconnect;
use crate::protocol::outbound::{Gap, Notice};

/// One WebSocket after its handshake.
///
/// An idle one owns no buffer in either direction: input is decoded in the shard's scratch buffer,
/// output is written from the shard's batch, and only the rest is kept here. The order in memory
/// matters: fields that a delivery reads come first.
#[repr(C)]
pub(crate) struct ClientSocket {
    stream: Stream,
    /// Frames that the socket did not take.
    outbox: Option<Box<Outbox>>,
    sending: SendingSide,
    gaps: GapPolicy,
    /// Whether there may be input that no further event will announce.
    is_readable: bool,
    decoder: Decoder,
    /// Input received while the connection had to wait; at most one read.
    backlog: Vec<u8>,
    outbox_bytes: u32,
    /// Of its pings. Here it takes what would be padding.
    pub(crate) round_trip: RoundTrip,
}

/// The state of the sending side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SendingSide {
    /// The last write was complete, or the socket has reported room since.
    Ready,
    /// The last write was partial; an edge will report room.
    Full,
    /// The close frame is written: nothing follows.
    Shut,
}

impl ClientSocket {
    /// Takes over a socket after its handshake, with the bytes read beyond it.
    pub(crate) fn new(
        socket: TcpStream,
        leftover: Vec<u8>,
        settings: &Settings,
        gaps: GapPolicy,
    ) -> io::Result<Self> {
        Ok(Self {
            stream: Stream::from_std(socket, settings)?,
            decoder: Decoder::new(settings.max_frame_bytes),
            outbox: None,
            backlog: leftover,
            outbox_bytes: u32::try_from(settings.outbox_bytes).unwrap_or(u32::MAX),
            gaps,
            sending: SendingSide::Ready,
            is_readable: true,
            round_trip: RoundTrip::UNKNOWN,
        })
    }

    /// The other end: the client, or the proxy in front of it.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.stream.peer()
    }

    /// Asks for readiness events under `token`.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.stream.register(registry, token)
    }

    /// Reads once. Clears the mark that more input may be there.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.is_readable = false;
        self.stream.try_read(buffer)
    }

    /// Marks that there may be input that no further event will announce.
    pub(crate) fn note_readable(&mut self) {
        self.is_readable = true;
    }

    /// Whether there may be input that no further event will announce.
    pub(crate) fn is_readable(&self) -> bool {
        self.is_readable
    }

    /// Marks that the socket has reported room.
    pub(crate) fn note_writable(&mut self) {
        if self.sending == SendingSide::Full {
            self.sending = SendingSide::Ready;
        }
    }

    /// Whether frames may be written directly: nothing is queued and the socket takes more.
    pub(crate) fn is_clear(&self) -> bool {
        self.sending == SendingSide::Ready && self.outbox.is_none()
    }

    /// Writes directly, once; a short count means that the socket is full.
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        debug_assert!(self.is_clear(), "a direct write overtakes what waits");
        let whole = slices.iter().map(|slice| slice.len()).sum::<usize>();
        let outcome = self.stream.try_write_vectored(slices);
        if !matches!(&outcome, Ok(written) if *written == whole) {
            self.sending = SendingSide::Full;
        }
        outcome
    }

    /// Keeps the rest of a frame whose direct write was cut short.
    pub(crate) fn put_back(&mut self, frame: Frame, written: usize) {
        self.outbox().put_back(frame, written);
    }

    /// Queues an event after what is queued.
    pub(crate) fn queue(
        &mut self,
        source: Source,
        event: QueuedEvent,
        limits: &Limits,
    ) -> Result<Lost, Disconnect> {
        self.outbox().push(source, event, limits)
    }

    /// Queues an answer before queued events.
    pub(crate) fn answer(&mut self, frame: Frame) -> Result<(), Disconnect> {
        self.outbox().push_answer(frame)
    }

    /// Queues a gap after what is queued.
    pub(crate) fn mark(&mut self, source: Source, gap: Gap) -> Result<(), Disconnect> {
        self.outbox().mark(source, gap)
    }

    /// Queues the mark of a position that is not for this client.
    pub(crate) fn mark_position(&mut self, source: Source, position: Position) {
        self.outbox().mark_position(source, position);
    }

    /// Where the client is in a group of which something is queued; answers go before that.
    pub(crate) fn standing(&self, source: Source) -> Option<Position> {
        self.outbox.as_ref()?.standing(source)
    }

    /// Drops queued events of a group that was left. Returns how many.
    pub(crate) fn forget(&mut self, source: Source) -> u32 {
        self.outbox.as_mut().map_or(0, |outbox| outbox.forget(source))
    }

    /// Replaces everything queued by the close frame. Returns the events lost, by source.
    pub(crate) fn finish(&mut self, close: Frame) -> Vec<(Source, u32)> {
        let lost = self.backlog_of_events();
        self.outbox().finish(close);
        lost
    }

    /// Drops everything queued, since the connection ends. Returns the events lost, by source.
    pub(crate) fn discard(&mut self) -> Vec<(Source, u32)> {
        let lost = self.backlog_of_events();
        self.outbox = None;
        lost
    }

    fn backlog_of_events(&self) -> Vec<(Source, u32)> {
        self.outbox.as_ref().map_or(Vec::new(), |outbox| outbox.backlog().collect())
    }

    /// Whether something is queued.
    pub(crate) fn has_waiting(&self) -> bool {
        self.outbox.is_some()
    }

    /// Frames and bytes queued.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        self.outbox.as_ref().map_or((0, 0), |outbox| (outbox.len(), outbox.bytes()))
    }

    /// Events of `source` queued.
    pub(crate) fn waiting_of(&self, source: Source) -> u32 {
        self.outbox.as_ref().map_or(0, |outbox| outbox.waiting_of(source))
    }

    /// Writes the outbox until the socket takes no more, and drops the outbox once empty.
    ///
    /// `None` = nothing is queued, or the socket has not reported room.
    pub(crate) fn flush(
        &mut self,
        now: Millis,
        render: impl FnMut(Source, &Notice) -> Frame,
    ) -> io::Result<Option<Flushed>> {
        let Some(outbox) = self.outbox.as_mut().filter(|_| self.sending == SendingSide::Ready)
        else {
            return Ok(None);
        };
        let stream = &mut self.stream;
        let flushed = outbox.flush(now, render, |slices| stream.try_write_vectored(slices))?;
        if outbox.is_empty() {
            self.outbox = None;
        } else {
            self.sending = SendingSide::Full;
        }
        Ok(Some(flushed))
    }

    /// Takes the decoder out, so that the connection can be changed while its input is decoded.
    pub(crate) fn take_decoder(&mut self) -> Decoder {
        std::mem::replace(&mut self.decoder, Decoder::new(0))
    }

    /// Puts the decoder back.
    pub(crate) fn give_decoder(&mut self, decoder: Decoder) {
        self.decoder = decoder;
    }

    /// Keeps input until the connection need not wait any more.
    pub(crate) fn keep_backlog(&mut self, input: &[u8]) {
        self.backlog.extend_from_slice(input);
    }

    /// Whether input is kept that has to be handled before any other.
    pub(crate) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// The input kept.
    pub(crate) fn take_backlog(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.backlog)
    }

    /// Shuts the sending side down once the close frame is written. The peer's close or end
    /// follows.
    pub(crate) fn shut_down(&mut self) -> io::Result<()> {
        if self.sending == SendingSide::Shut {
            return Ok(());
        }
        self.sending = SendingSide::Shut;
        self.stream.shut_down_write()
    }

    fn outbox(&mut self) -> &mut Outbox {
        let bytes = self.outbox_bytes as usize;
        self.outbox.get_or_insert_with(|| Box::new(Outbox::new(bytes, self.gaps)))
    }
}
