//! A connection: a stream, what is incomplete of its input, and what waits of its output.

use std::io::{self, IoSlice};
use std::net::TcpStream;

use mio::{Registry, Token};

use super::{
    Decoder, Flushed, GapPolicy, Limits, Lost, Millis, Outbox, QueuedEvent, Settings, Source,
    Stream,
};
use crate::event::Position;
use crate::frame::Frame;
use crate::protocol::Disconnect;
use crate::protocol::outbound::{Gap, Notice};

/// One WebSocket behind its handshake.
///
/// An idle one owns no buffer in either direction: input is decoded in the shard's scratch, output
/// is written as it lies in the shard's batch, and only what is left over is kept here. In this
/// order in memory: what a delivery looks at comes first.
#[repr(C)]
pub struct ClientSocket {
    stream: Stream,
    /// What a socket did not take.
    outbox: Option<Box<Outbox>>,
    sending: SendingSide,
    gaps: GapPolicy,
    /// Whether input may be there that no event will announce again.
    is_readable: bool,
    decoder: Decoder,
    /// Input that came while the connection had to wait; at most one read of it.
    backlog: Vec<u8>,
    outbox_bytes: usize,
}

/// How far the sending side is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SendingSide {
    /// The last write was taken whole, or the socket has reported room since.
    Ready,
    /// The socket took less than it was given; an edge will report room.
    Full,
    /// The close frame is written: nothing follows.
    Shut,
}

impl ClientSocket {
    /// Takes over a socket behind its handshake, with the bytes that were read too much.
    pub fn new(
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
            outbox_bytes: settings.outbox_bytes,
            gaps,
            sending: SendingSide::Ready,
            is_readable: true,
        })
    }

    /// Asks for readiness events under `token`.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.stream.register(registry, token)
    }

    /// Reads once. Until [`ClientSocket::note_readable`] nothing is known to be left.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.is_readable = false;
        self.stream.try_read(buffer)
    }

    /// Notes that input may be there that no event will announce again.
    pub fn note_readable(&mut self) {
        self.is_readable = true;
    }

    /// Whether input may be there that no event will announce again.
    pub fn is_readable(&self) -> bool {
        self.is_readable
    }

    /// Notes that the socket has reported room.
    pub fn note_writable(&mut self) {
        if self.sending == SendingSide::Full {
            self.sending = SendingSide::Ready;
        }
    }

    /// Whether frames may be written directly: nothing waits before them and the socket takes more.
    pub fn is_clear(&self) -> bool {
        self.sending == SendingSide::Ready && self.outbox.is_none()
    }

    /// Writes directly, once; a short count means that the socket is full.
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        debug_assert!(self.is_clear(), "a direct write overtakes what waits");
        let whole = slices.iter().map(|slice| slice.len()).sum::<usize>();
        let outcome = self.stream.try_write_vectored(slices);
        if !matches!(&outcome, Ok(written) if *written == whole) {
            self.sending = SendingSide::Full;
        }
        outcome
    }

    /// Keeps the rest of a frame whose direct write was cut short.
    pub fn put_back(&mut self, frame: Frame, written: usize) {
        self.outbox().put_back(frame, written);
    }

    /// Queues an event behind what waits.
    pub fn queue(
        &mut self,
        source: Source,
        event: QueuedEvent,
        limits: &Limits,
    ) -> Result<Lost, Disconnect> {
        self.outbox().push(source, event, limits)
    }

    /// Queues an answer before the events that wait.
    pub fn answer(&mut self, frame: Frame) -> Result<(), Disconnect> {
        self.outbox().push_answer(frame)
    }

    /// Notes a gap behind what waits.
    pub fn mark(&mut self, source: Source, gap: Gap) -> Result<(), Disconnect> {
        self.outbox().mark(source, gap)
    }

    /// Notes behind what waits that a position is not for this client.
    pub fn mark_position(&mut self, source: Source, position: Position) {
        self.outbox().mark_position(source, position);
    }

    /// Drops what waits of a group that was left; how many events.
    pub fn forget(&mut self, source: Source) -> u32 {
        self.outbox.as_mut().map_or(0, |outbox| outbox.forget(source))
    }

    /// Puts the close frame in the place of all that waits; what is lost by it, by source.
    pub fn finish(&mut self, close: Frame) -> Vec<(Source, u32)> {
        let lost = self.backlog_of_events();
        self.outbox().finish(close);
        lost
    }

    /// Drops all that waits, since the connection is at its end; what is lost by it, by source.
    pub fn discard(&mut self) -> Vec<(Source, u32)> {
        let lost = self.backlog_of_events();
        self.outbox = None;
        lost
    }

    fn backlog_of_events(&self) -> Vec<(Source, u32)> {
        self.outbox.as_ref().map_or(Vec::new(), |outbox| outbox.backlog().collect())
    }

    /// Whether something waits to be written.
    pub fn has_waiting(&self) -> bool {
        self.outbox.is_some()
    }

    /// Frames and bytes that wait.
    pub fn waiting(&self) -> (usize, usize) {
        self.outbox.as_ref().map_or((0, 0), |outbox| (outbox.len(), outbox.bytes()))
    }

    /// Writes what waits, as far as the socket takes it, and lets go of an outbox that is empty.
    ///
    /// `None` = nothing waits, or the socket has not reported room.
    pub fn flush(
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

    /// Takes the decoder out, so that the connection can be acted on while its input is decoded.
    pub fn take_decoder(&mut self) -> Decoder {
        std::mem::replace(&mut self.decoder, Decoder::new(0))
    }

    /// Puts the decoder back.
    pub fn give_decoder(&mut self, decoder: Decoder) {
        self.decoder = decoder;
    }

    /// Keeps input for when the connection need not wait any more.
    pub fn keep_backlog(&mut self, input: &[u8]) {
        self.backlog.extend_from_slice(input);
    }

    /// Whether input is kept that has to be handled before any other.
    pub fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// The input kept.
    pub fn take_backlog(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.backlog)
    }

    /// Ends the sending side once the close frame is out: what follows is the peer's close or end.
    pub fn shut_down(&mut self) -> io::Result<()> {
        if self.sending == SendingSide::Shut {
            return Ok(());
        }
        self.sending = SendingSide::Shut;
        self.stream.shut_down_write()
    }

    fn outbox(&mut self) -> &mut Outbox {
        self.outbox.get_or_insert_with(|| Box::new(Outbox::new(self.outbox_bytes, self.gaps)))
    }
}
