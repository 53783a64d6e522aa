//! Streams nobody thought of: cut anywhere, mutated, arbitrary; and another reader's opinion.

use std::io::{self, Read, Write};

use proptest::prelude::*;
use proptest::sample::Index;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocket, WebSocketConfig};

use super::*;

/// One thing that a client says, and how it cuts it.
#[derive(Debug, Clone)]
enum Said {
    /// A text, the places where it is cut into fragments, and a ping after the first of them.
    Text(String, Vec<Index>, Option<Vec<u8>>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn said() -> impl Strategy<Value = Said> {
    let control = || prop::collection::vec(any::<u8>(), 0..=125);
    prop_oneof![
        ("\\PC{0,60}", prop::collection::vec(any::<Index>(), 0..5), prop::option::of(control()))
            .prop_map(|(text, cuts, ping)| Said::Text(text, cuts, ping)),
        control().prop_map(Said::Ping),
        control().prop_map(Said::Pong),
    ]
}

/// The bytes of a conversation and what is to be heard of it.
fn speak(said: &[Said], close: Option<u16>) -> (Vec<u8>, Vec<Inbound<'static>>) {
    let (mut bytes, mut heard) = (Vec::new(), Vec::new());
    for said in said {
        match said {
            Said::Text(text, cuts, between) => {
                let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
                cuts.sort_unstable();
                let starts = [0].into_iter().chain(cuts.iter().copied());
                let ends = cuts.iter().copied().chain([text.len()]);
                for (at, (start, end)) in starts.zip(ends).enumerate() {
                    let begins = if at == 0 { TEXT_BEGINS } else { CONTINUES };
                    let last = if at == cuts.len() { ENDS } else { 0 };
                    bytes.extend(frame(begins | last, &text.as_bytes()[start..end]));
                    if let (0, 0, Some(payload)) = (at, last, between) {
                        bytes.extend(frame(PING, payload));
                        heard.push(Inbound::Ping(Cow::Owned(payload.clone())));
                    }
                }
                heard.push(Inbound::Text(Cow::Owned(text.clone())));
            }
            Said::Ping(payload) => {
                bytes.extend(frame(PING, payload));
                heard.push(Inbound::Ping(Cow::Owned(payload.clone())));
            }
            Said::Pong(payload) => {
                bytes.extend(frame(PONG, payload));
                heard.push(Inbound::Pong);
            }
        }
    }
    if let Some(code) = close {
        bytes.extend(frame(CLOSE, &code.to_be_bytes()));
        heard.push(Inbound::Close(Some(code)));
    }
    (bytes, heard)
}

fn conversation() -> impl Strategy<Value = (Vec<u8>, Vec<Inbound<'static>>)> {
    let close = prop::option::of(prop_oneof![1000u16..=1003, 3000u16..=4999]);
    (prop::collection::vec(said(), 0..8), close).prop_map(|(said, close)| speak(&said, close))
}

/// Frames with any header and any length form, most of them wrong in some way.
fn wild() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        prop::sample::select(vec![TEXT, TEXT_BEGINS, CONTINUES, ENDS, CLOSE, PING, PONG]),
        any::<u8>(),
    ];
    let length = prop_oneof![3 => 0u64..200, 1 => any::<u64>()];
    let wild = (first, 0u8..8, length, prop::collection::vec(any::<u8>(), 0..140)).prop_map(
        |(first, form, length, payload)| match form {
            0 => [&[first, 0x80 | 126][..], &(length as u16).to_be_bytes(), &payload].concat(),
            1 => [&[first, 0x80 | 127][..], &length.to_be_bytes(), &payload].concat(),
            2 => [&[first, length as u8 & 0x7F][..], &payload].concat(),
            _ => frame(first, &payload),
        },
    );
    prop::collection::vec(wild, 0..8).prop_map(|frames| frames.concat())
}

#[derive(Debug, Clone)]
enum Mutation {
    Set(Index, u8),
    Flip(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Truncate(Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (any::<Index>(), 0u8..8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        any::<Index>().prop_map(Mutation::Remove),
        any::<Index>().prop_map(Mutation::Truncate),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutations: &[Mutation]) {
    for mutation in mutations {
        if bytes.is_empty() {
            return;
        }
        match mutation {
            Mutation::Set(at, byte) => *at.get_mut(bytes) = *byte,
            Mutation::Flip(at, bit) => *at.get_mut(bytes) ^= 1 << bit,
            Mutation::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
            Mutation::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
            Mutation::Truncate(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
}

/// Cuts `bytes` at the given places.
fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let ends = cuts.iter().copied().chain([bytes.len()]);
    let starts = [0].into_iter().chain(cuts.iter().copied());
    starts.zip(ends).map(|(start, end)| &bytes[start..end]).collect()
}

/// A socket that has these bytes and takes whatever is written.
struct Socket<'a>(&'a [u8]);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How tungstenite came to an end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// Not at all, or with a binary message.
    Open,
    Closed,
    NotUtf8,
    Refused,
}

/// What tungstenite hears.
fn tungstenite_hears(bytes: &[u8]) -> (Vec<Inbound<'static>>, End) {
    let config = WebSocketConfig::default().max_message_size(Some(MAX)).max_frame_size(Some(MAX));
    let mut socket = WebSocket::from_raw_socket(Socket(bytes), Role::Server, Some(config));
    let mut heard = Vec::new();
    loop {
        heard.push(match socket.read() {
            Ok(Message::Text(text)) => Inbound::Text(Cow::Owned(text.as_str().to_owned())),
            Ok(Message::Ping(payload)) => Inbound::Ping(Cow::Owned(payload.to_vec())),
            Ok(Message::Pong(_)) => Inbound::Pong,
            Ok(Message::Close(frame)) => {
                heard.push(Inbound::Close(frame.map(|frame| frame.code.into())));
                return (heard, End::Closed);
            }
            Ok(Message::Binary(_) | Message::Frame(_)) => return (heard, End::Open),
            Err(Error::Io(_)) => return (heard, End::Open),
            Err(Error::Utf8(_)) => return (heard, End::NotUtf8),
            Err(_) => return (heard, End::Refused),
        });
    }
}

/// Where this decoder is stricter on purpose.
fn stricter_here(refusal: Disconnect) -> bool {
    matches!(
        refusal.reason,
        // Only text is spoken; tungstenite hands binary messages over.
        "binary message; only text is spoken here"
        // Section 5.2 demands it; tungstenite does not look.
        | "length not in its shortest form"
        // Ours alone.
        | "message in too many fragments"
        // tungstenite reports them as 1002.
        | "close code that may not be sent"
    )
}

/// Both readers hear the same until one refuses, and refuse in the same place.
///
/// The stream is followed by more zeros than any message may have: an offence seen in a header here
/// and at the end of the frame there is then seen by both, and zeros, unmasked, end every stream.
fn assert_agreement(stream: &[u8], cuts: &[Index]) {
    let stream = [stream, &[0; MAX + MAX_HEADER]].concat();
    let ours = hear(&mut Decoder::new(MAX), cut(&stream, cuts));
    let (theirs, end) = tungstenite_hears(&stream);

    let closed = matches!(ours.messages.last(), Some(Inbound::Close(_)));
    assert!(closed != ours.refused.is_some(), "unmasked zeros were let through: {ours:?}");
    if end == End::NotUtf8 && ours.messages.starts_with(&theirs) {
        // Seen there at the end of a fragment, here at the end of the message: control frames may
        // come between, text may not.
        let more = &ours.messages[theirs.len()..];
        assert!(!more.iter().any(|more| matches!(more, Inbound::Text(_))), "{more:?}");
        return;
    }
    if ours.refused.is_some_and(stricter_here) {
        assert!(theirs.starts_with(&ours.messages), "{ours:?} against {theirs:?}");
        return;
    }
    if ours.messages.last() == Some(&Inbound::Close(Some(1014))) {
        // Registered after RFC 6455; tungstenite reports it as 1002.
        assert_eq!(ours.messages.split_last().unwrap().1, theirs.split_last().unwrap().1);
        return;
    }
    assert_eq!(end, if closed { End::Closed } else { End::Refused }, "{:?}", ours.refused);
    assert_eq!(ours.messages, theirs, "refused as {:?}", ours.refused);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn decodes_the_same_for_any_chunking(
        (bytes, messages) in conversation(),
        cuts in prop::collection::vec(any::<Index>(), 0..12),
    ) {
        let mut decoder = Decoder::new(MAX);
        let heard = hear(&mut decoder, cut(&bytes, &cuts));
        prop_assert_eq!(heard, Heard { messages, refused: None });
        prop_assert!(decoder.partial.is_none(), "heap after the last message");
    }

    #[test]
    fn decodes_a_mutated_conversation_as_tungstenite_does(
        (mut bytes, _) in conversation(),
        mutations in prop::collection::vec(mutation(), 0..4),
        cuts in prop::collection::vec(any::<Index>(), 0..4),
    ) {
        mutate(&mut bytes, &mutations);
        assert_agreement(&bytes, &cuts);
    }

    #[test]
    fn decodes_arbitrary_frames_as_tungstenite_does(
        bytes in wild(),
        cuts in prop::collection::vec(any::<Index>(), 0..4),
    ) {
        assert_agreement(&bytes, &cuts);
    }

    #[test]
    fn never_buffers_more_than_the_limit(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        limit in 0usize..40,
        cuts in prop::collection::vec(any::<Index>(), 0..8),
    ) {
        // `hear` looks at the bounds after every step.
        hear(&mut Decoder::new(limit), cut(&bytes, &cuts));
    }
}
