//! Generated streams, cut anywhere, mutated or arbitrary, also compared with tungstenite.

use std::io::{self, Read, Write};

use proptest::prelude::*;
use proptest::sample::Index;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocket, WebSocketConfig};

use super::*;

/// One input of a client, and how it is fragmented.
#[derive(Debug, Clone)]
enum ClientInput {
    /// A text, the places where it is cut into fragments, and a ping after the first of them.
    Text(String, Vec<Index>, Option<Vec<u8>>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn client_input() -> impl Strategy<Value = ClientInput> {
    let control = || prop::collection::vec(any::<u8>(), 0..=125);
    prop_oneof![
        ("\\PC{0,60}", prop::collection::vec(any::<Index>(), 0..5), prop::option::of(control()))
            .prop_map(|(text, cuts, ping)| ClientInput::Text(text, cuts, ping)),
        control().prop_map(ClientInput::Ping),
        control().prop_map(ClientInput::Pong),
    ]
}

/// The bytes of these inputs, and the messages to be decoded from them.
fn encode(inputs: &[ClientInput], close: Option<u16>) -> (Vec<u8>, Vec<Inbound<'static>>) {
    let (mut bytes, mut messages) = (Vec::new(), Vec::new());
    for input in inputs {
        match input {
            ClientInput::Text(text, cuts, between) => {
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
                        messages.push(Inbound::Ping(Cow::Owned(payload.clone())));
                    }
                }
                messages.push(Inbound::Text(Cow::Owned(text.clone())));
            }
            ClientInput::Ping(payload) => {
                bytes.extend(frame(PING, payload));
                messages.push(Inbound::Ping(Cow::Owned(payload.clone())));
            }
            ClientInput::Pong(payload) => {
                bytes.extend(frame(PONG, payload));
                messages.push(Inbound::Pong);
            }
        }
    }
    if let Some(code) = close {
        bytes.extend(frame(CLOSE, &code.to_be_bytes()));
        messages.push(Inbound::Close(Some(code)));
    }
    (bytes, messages)
}

fn conversation() -> impl Strategy<Value = (Vec<u8>, Vec<Inbound<'static>>)> {
    let close = prop::option::of(prop_oneof![1000u16..=1003, 3000u16..=4999]);
    (prop::collection::vec(client_input(), 0..8), close)
        .prop_map(|(inputs, close)| encode(&inputs, close))
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

/// What tungstenite decodes.
fn decode_with_tungstenite(bytes: &[u8]) -> (Vec<Inbound<'static>>, End) {
    let config = WebSocketConfig::default().max_message_size(Some(MAX)).max_frame_size(Some(MAX));
    let mut socket = WebSocket::from_raw_socket(Socket(bytes), Role::Server, Some(config));
    let mut messages = Vec::new();
    loop {
        messages.push(match socket.read() {
            Ok(Message::Text(text)) => Inbound::Text(Cow::Owned(text.as_str().to_owned())),
            Ok(Message::Ping(payload)) => Inbound::Ping(Cow::Owned(payload.to_vec())),
            Ok(Message::Pong(_)) => Inbound::Pong,
            Ok(Message::Close(frame)) => {
                messages.push(Inbound::Close(frame.map(|frame| frame.code.into())));
                return (messages, End::Closed);
            }
            Ok(Message::Binary(_) | Message::Frame(_)) => return (messages, End::Open),
            Err(Error::Io(_)) => return (messages, End::Open),
            Err(Error::Utf8(_)) => return (messages, End::NotUtf8),
            Err(_) => return (messages, End::Refused),
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

/// Both decoders produce the same messages until one refuses, and refuse in the same place.
///
/// The stream is followed by more zeros than any message may have: an offence seen in a header here
/// and at the end of the frame there is then seen by both, and zeros, unmasked, end every stream.
fn assert_agreement(stream: &[u8], cuts: &[Index]) {
    let stream = [stream, &[0; MAX + MAX_HEADER]].concat();
    let ours = decode(&mut Decoder::new(MAX), cut(&stream, cuts));
    let (theirs, end) = decode_with_tungstenite(&stream);

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
        let decoded = decode(&mut decoder, cut(&bytes, &cuts));
        prop_assert_eq!(decoded, DecodedInput { messages, refused: None });
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
        // `decode` checks the bounds after every step.
        decode(&mut Decoder::new(limit), cut(&bytes, &cuts));
    }
}
