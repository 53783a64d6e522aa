mod latest;
mod life;
mod model;

use std::io::{self, ErrorKind, IoSlice};

use super::*;

const A: Source = Source(1);
const B: Source = Source(2);
const NEVER: Millis = Millis(u64::MAX);
const START: Millis = Millis(0);

/// A socket that takes so many bytes more.
#[derive(Debug, Default)]
struct Socket {
    room: usize,
    taken: Vec<u8>,
    /// Slices of each write.
    writes: Vec<usize>,
}

impl Socket {
    fn with_room(room: usize) -> Self {
        Self { room, ..Self::default() }
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.room == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
        let before = self.taken.len();
        self.taken.extend(bytes.take(self.room));
        self.writes.push(slices.len());
        self.room -= self.taken.len() - before;
        Ok(self.taken.len() - before)
    }
}

fn limits(capacity: u32, overflow: Overflow) -> Limits {
    Limits { capacity, overflow, ..Limits::default() }
}

fn entry(text: &str) -> QueuedEvent {
    entry_of(text, CollapseKey::GROUP)
}

fn entry_of(text: &str, key: CollapseKey) -> QueuedEvent {
    let (frame, collapse) = (Frame::text(text.as_bytes()), Some(key));
    QueuedEvent { frame, expires: NEVER, position: None, collapse }
}

fn entry_at(text: &str, epoch: &str, offset: u64) -> QueuedEvent {
    QueuedEvent { position: Some(Position { epoch: epoch.into(), offset }), ..entry(text) }
}

/// `a gap of source 1: slow, 3 lost` or `source 1 at e:3` in a few characters.
fn render(source: Source, notice: &Notice) -> Frame {
    let gap = match notice {
        Notice::Gap(gap) => gap,
        Notice::Position(Position { epoch, offset }) => {
            return Frame::text(format!("<{} at {epoch}:{offset}>", source.0).as_bytes());
        }
    };
    let reason = format!("{:?}", gap.reason).to_lowercase();
    let lost = gap.lost.map_or("?".to_owned(), |lost| lost.to_string());
    let range = gap
        .range
        .as_ref()
        .map_or(String::new(), |(first, last)| format!(" {}:{}-{last}", first.epoch, first.offset));
    let possible = if gap.possible { " possible" } else { "" };
    Frame::text(format!("<{} {reason} {lost}{range}{possible}>", source.0).as_bytes())
}

fn flush(outbox: &mut Outbox, now: Millis, socket: &mut Socket) -> Flushed {
    outbox.flush(now, render, |slices| socket.write(slices)).unwrap()
}

/// Everything that leaves, as the texts of its frames.
fn drain(outbox: &mut Outbox, now: Millis) -> String {
    let mut socket = Socket::with_room(usize::MAX);
    flush(outbox, now, &mut socket);
    assert!(outbox.is_empty());
    texts(&socket.taken)
}

/// The payloads of small frames, one after another.
fn texts(bytes: &[u8]) -> String {
    payloads(bytes).join(" ")
}

fn payloads(mut bytes: &[u8]) -> Vec<String> {
    let mut payloads = Vec::new();
    while let [_, len, rest @ ..] = bytes {
        assert!(*len <= 125, "a header longer than these tests use");
        let (payload, rest) = rest.split_at(usize::from(*len));
        payloads.push(String::from_utf8_lossy(payload).into_owned());
        bytes = rest;
    }
    payloads
}

fn notifying_outbox() -> Outbox {
    Outbox::new(1 << 20, GapPolicy::Notify)
}

#[test]
fn drop_oldest_leaves_one_gap_in_place_of_the_events() {
    let mut outbox = notifying_outbox();
    let three = limits(3, Overflow::DropOldest);
    for n in 1..=5 {
        let lost = outbox.push(A, entry_at(&n.to_string(), "e", n), &three).unwrap();
        assert_eq!(lost, Lost { capacity: u32::from(n > 3), ..Lost::default() });
    }
    assert_eq!(outbox.queue.waiting(A), 3);
    assert_eq!(drain(&mut outbox, START), "<1 slow 2 e:1-2> 3 4 5");
}

#[test]
fn drop_newest_puts_the_gap_after_the_remaining_events() {
    let mut outbox = notifying_outbox();
    let two = limits(2, Overflow::DropNewest);
    for n in 1..=4 {
        outbox.push(A, entry_at(&n.to_string(), "e", n), &two).unwrap();
    }
    outbox.forget(B);
    assert_eq!(drain(&mut outbox, START), "1 2 <1 slow 2 e:3-4>");
}

#[test]
fn the_close_policy_drops_nothing_before_it_closes() {
    let mut outbox = notifying_outbox();
    let one = limits(1, Overflow::Close);
    outbox.push(A, entry("a"), &one).unwrap();
    assert_eq!(outbox.push(A, entry("b"), &one), Err(Disconnect::SLOW));
    assert_eq!(outbox.queue.waiting(A), 1);
}

#[test]
fn counts_losses_of_plain_connections_without_a_gap() {
    let mut outbox = Outbox::new(1 << 20, GapPolicy::Count);
    let one = limits(1, Overflow::DropOldest);
    outbox.push(A, entry("a"), &one).unwrap();
    assert_eq!(outbox.push(A, entry("b"), &one).unwrap().capacity, 1);
    outbox.mark(A, gap_of(None, GapReason::Layer)).unwrap();
    assert_eq!(drain(&mut outbox, START), "b");
}

#[test]
fn an_overflow_drops_events_of_its_own_source() {
    let mut outbox = notifying_outbox();
    outbox.push(B, entry("b1"), &limits(1, Overflow::DropOldest)).unwrap();
    for n in 1..=4 {
        outbox.push(A, entry(&format!("a{n}")), &limits(2, Overflow::DropOldest)).unwrap();
        outbox.push(Source::NONE, entry(&format!("u{n}")), &limits(4, Overflow::Close)).unwrap();
    }
    // Merged although events of other sources are between: none of the same group is.
    assert_eq!(drain(&mut outbox, START), "b1 <1 slow 2> u1 u2 a3 u3 a4 u4");
}

#[test]
fn the_byte_limit_drops_events_of_the_arriving_source() {
    // A frame of eight characters has ten bytes.
    let mut outbox = Outbox::new(50, GapPolicy::Notify);
    let many = limits(100, Overflow::DropOldest);
    for text in ["bbbbbbb1", "bbbbbbb2", "bbbbbbb3"] {
        outbox.push(B, entry(text), &many).unwrap();
    }
    for text in ["aaaaaaa1", "aaaaaaa2", "aaaaaaa3"] {
        outbox.push(A, entry(text), &many).unwrap();
    }
    let wide = "A".repeat(18);
    assert_eq!(outbox.push(A, entry(&wide), &many), Ok(Lost { bytes: 2, ..Lost::default() }));
    assert_eq!(outbox.bytes(), 50);
    // Dropping all of its own events would not make room, so they stay queued.
    let wider = "A".repeat(19);
    assert_eq!(outbox.push(A, entry(&wider), &many), Ok(Lost { bytes: 1, ..Lost::default() }));
    assert_eq!(
        drain(&mut outbox, START),
        format!("bbbbbbb1 bbbbbbb2 bbbbbbb3 <1 slow 3> {wide} <1 slow 1>")
    );
}

#[test]
fn finishes_a_partly_written_frame_first() {
    let mut outbox = notifying_outbox();
    let one = limits(1, Overflow::DropOldest);
    outbox.put_back(Frame::text(b"head"), 3);
    outbox.push(A, entry("a"), &one).unwrap();
    outbox.push(A, entry("b"), &one).unwrap();
    outbox.push_answer(Frame::text(b"answer")).unwrap();
    let mut socket = Socket::with_room(4);
    assert_eq!(flush(&mut outbox, START, &mut socket).events, 1);
    assert_eq!(socket.taken, b"ead\x81");

    outbox.forget(A);
    outbox.push(B, entry("c"), &one).unwrap();
    socket.room = 100;
    let flushed = flush(&mut outbox, START, &mut socket);
    assert_eq!(&socket.taken[3..], [Frame::text(b"answer").bytes(), b"\x81\x01c"].concat());
    assert_eq!((flushed.events, flushed.bytes, flushed.writes), (1, 10, 1));
}

#[test]
fn skips_expired_events_unless_partly_written() {
    let mut outbox = notifying_outbox();
    let many = limits(100, Overflow::DropOldest);
    for (text, expires) in [("a", 10), ("b", 10), ("c", 30), ("d", 10)] {
        outbox.push(A, QueuedEvent { expires: Millis(expires), ..entry(text) }, &many).unwrap();
    }
    let mut socket = Socket::with_room(1);
    assert_eq!(flush(&mut outbox, Millis(9), &mut socket).expired, []);
    socket.room = 100;
    assert_eq!(flush(&mut outbox, Millis(10), &mut socket).expired, [(A, 2)]);
    assert_eq!(texts(&socket.taken), "a <1 expired 1> c <1 expired 1>");
}

#[test]
fn a_merged_gap_keeps_its_first_reason_and_a_grown_one_is_sent_again() {
    let mut outbox = notifying_outbox();
    let two = limits(2, Overflow::DropOldest);
    for text in ["a", "b", "c"] {
        outbox.push(A, QueuedEvent { expires: Millis(10), ..entry(text) }, &two).unwrap();
    }
    // Rendered here, with one lost, but not written.
    flush(&mut outbox, START, &mut Socket::with_room(0));
    outbox.push(A, entry("d"), &two).unwrap();
    assert_eq!(drain(&mut outbox, Millis(10)), "<1 slow 3> d");
}

#[test]
fn does_not_merge_gaps_of_different_epochs() {
    let mut outbox = notifying_outbox();
    let one = limits(1, Overflow::DropOldest);
    for (text, epoch, offset) in [("a", "e", 8), ("b", "e", 9), ("c", "f", 1), ("d", "f", 2)] {
        outbox.push(A, entry_at(text, epoch, offset), &one).unwrap();
    }
    assert_eq!(drain(&mut outbox, START), "<1 slow 2 e:8-9> <1 slow 1 f:1-1> d");
}

#[test]
fn puts_gaps_of_the_layer_after_earlier_events() {
    let mut outbox = notifying_outbox();
    let two = limits(2, Overflow::DropOldest);
    outbox.push(A, entry("a"), &two).unwrap();
    let unknown = Gap { reason: GapReason::Layer, lost: None, range: None, possible: true };
    outbox.mark(A, unknown.clone()).unwrap();
    outbox.mark(A, unknown).unwrap();
    outbox.push(A, entry("b"), &two).unwrap();
    outbox.push(A, entry("c"), &two).unwrap();
    // The loss of "a" meets the layer's: how many is not known any more, that some are, is.
    assert_eq!(drain(&mut outbox, START), "<1 slow ?> b c");
}

#[test]
fn sends_nothing_of_a_group_after_its_left() {
    let mut outbox = notifying_outbox();
    let two = limits(2, Overflow::DropOldest);
    for text in ["a", "b", "c"] {
        outbox.push(A, entry(text), &two).unwrap();
        outbox.push(B, entry(text), &two).unwrap();
    }
    assert_eq!(outbox.forget(A), 2);
    assert_eq!(outbox.forget(A), 0);
    assert_eq!(outbox.backlog().collect::<Vec<_>>(), [(B, 2)]);
    outbox.push_answer(Frame::text(b"left")).unwrap();
    assert_eq!(drain(&mut outbox, START), "left <2 slow 1> b c");
}

#[test]
fn closes_when_the_lane_of_answers_and_gaps_overflows() {
    let mut outbox = notifying_outbox();
    let one = limits(1, Overflow::DropOldest);
    for n in 0..LANE / 2 {
        outbox.push_answer(Frame::ping()).unwrap();
        outbox.push(Source(n as u64), entry("a"), &one).unwrap();
        outbox.push(Source(n as u64), entry("b"), &one).unwrap();
    }
    assert_eq!(outbox.push_answer(Frame::ping()), Err(Disconnect::SLOW));
    // A gap that grows takes no more room, a new one would.
    assert_eq!(outbox.push(A, entry("c"), &one), Ok(Lost { capacity: 1, ..Lost::default() }));
    outbox.push(Source::NONE, entry("a"), &one).unwrap();
    assert_eq!(outbox.push(Source::NONE, entry("b"), &one), Err(Disconnect::SLOW));

    outbox.finish(Disconnect::SLOW.frame());
    assert_eq!(drain(&mut outbox, START), texts(Disconnect::SLOW.frame().bytes()));
}

#[test]
fn bounds_the_bytes_of_answers_but_always_accepts_one() {
    let mut outbox = Outbox::new(100, GapPolicy::Notify);
    outbox.push(A, entry(&"x".repeat(90)), &limits(1, Overflow::Close)).unwrap();
    outbox.push_answer(Frame::text(&[b'x'; 120])).unwrap();
    assert_eq!(outbox.push_answer(Frame::ping()), Err(Disconnect::SLOW));
}

#[test]
fn a_close_follows_only_the_partly_written_frame() {
    let mut outbox = notifying_outbox();
    outbox.put_back(Frame::text(b"head"), 5);
    outbox.push(A, entry("a"), &limits(1, Overflow::DropOldest)).unwrap();
    outbox.push_answer(Frame::text(b"answer")).unwrap();
    outbox.finish(Frame::close_empty());
    let mut socket = Socket::with_room(100);
    flush(&mut outbox, START, &mut socket);
    assert_eq!(socket.taken, b"d\x88\x00");
}

#[test]
fn a_broken_socket_counts_every_queued_event() {
    let mut outbox = notifying_outbox();
    let many = limits(10, Overflow::DropOldest);
    outbox.push(A, QueuedEvent { expires: Millis(1), ..entry("a") }, &many).unwrap();
    outbox.push(B, entry("b"), &many).unwrap();
    let outcome = outbox.flush(Millis(1), render, |_| Ok(0));
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::WriteZero);
    let mut backlog: Vec<_> = outbox.backlog().collect();
    backlog.sort_by_key(|(source, _)| source.0);
    assert_eq!(backlog, [(A, 1), (B, 1)]);
}

#[test]
fn writes_a_bounded_number_of_frames_with_one_call() {
    let mut outbox = notifying_outbox();
    let many = limits(1000, Overflow::DropOldest);
    for _ in 0..130 {
        outbox.push(A, entry("a"), &many).unwrap();
    }
    let mut socket = Socket::with_room(usize::MAX);
    assert_eq!(flush(&mut outbox, START, &mut socket).writes, 3);
    assert_eq!(socket.writes, [64, 64, 2]);

    let large = QueuedEvent { frame: Frame::text(&[b'x'; 60_000]), ..entry("") };
    for _ in 0..6 {
        outbox.push(A, large.clone(), &many).unwrap();
    }
    let mut socket = Socket::with_room(usize::MAX);
    flush(&mut outbox, START, &mut socket);
    assert_eq!(socket.writes, [5, 1]);
}

#[test]
fn merges_adjacent_positions_and_lets_a_gap_replace_them() {
    let mut outbox = notifying_outbox();
    let two = limits(2, Overflow::DropOldest);
    let at = |offset| Position { epoch: "e".into(), offset };
    outbox.mark_position(A, at(1));
    outbox.mark_position(A, at(2));
    outbox.push(A, entry_at("c", "e", 3), &two).unwrap();
    outbox.mark_position(A, at(4));
    assert_eq!(drain(&mut outbox, START), "<1 at e:2> c <1 at e:4>");

    outbox.mark_position(A, at(5));
    for (text, offset) in [("f", 6), ("g", 7)] {
        outbox.push(A, entry_at(text, "e", offset), &two).unwrap();
    }
    outbox.mark_position(A, at(8));
    for (text, offset) in [("i", 9), ("j", 10)] {
        outbox.push(A, entry_at(text, "e", offset), &two).unwrap();
    }
    assert_eq!(drain(&mut outbox, START), "<1 slow 2 e:5-8> i j");
}

#[test]
fn a_position_without_room_closes_nothing() {
    let mut outbox = notifying_outbox();
    for n in 0..64 {
        outbox.push_answer(Frame::text(format!("{n}").as_bytes())).unwrap();
    }
    outbox.mark_position(A, Position { epoch: "e".into(), offset: 1 });
    assert_eq!(outbox.len(), 64);
}
