mod streams;

use super::*;

/// A limit that small test messages can reach.
const MAX: usize = 300;

const TEXT: u8 = 0x81;
const TEXT_BEGINS: u8 = 0x01;
const CONTINUES: u8 = 0x00;
const ENDS: u8 = 0x80;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;

/// A frame as a client writes it, in the shortest form.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    let mask: [u8; 4] = bytes[bytes.len() - 4..].try_into().unwrap();
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The header of a masked frame that announces `length` bytes.
fn header(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(0x80 | length as u8),
        126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend([0x37, 0xFA, 0x21, 0x3D]);
    bytes
}

/// The messages decoded, and why the connection was closed, if it was.
#[derive(Debug, PartialEq)]
struct DecodedInput {
    messages: Vec<Inbound<'static>>,
    refused: Option<Disconnect>,
}

fn owned(message: Inbound<'_>) -> Inbound<'static> {
    match message {
        Inbound::Text(text) => Inbound::Text(Cow::Owned(text.into_owned())),
        Inbound::Ping(payload) => Inbound::Ping(Cow::Owned(payload.into_owned())),
        Inbound::Pong => Inbound::Pong,
        Inbound::Close(code) => Inbound::Close(code),
    }
}

/// Feeds `chunks` one by one, as reads of a socket would bring them, into one scratch buffer.
fn decode<'a>(decoder: &mut Decoder, chunks: impl IntoIterator<Item = &'a [u8]>) -> DecodedInput {
    let mut decoded = DecodedInput { messages: Vec::new(), refused: None };
    let mut scratch = Vec::new();
    for chunk in chunks {
        scratch.clear();
        scratch.extend_from_slice(chunk);
        let mut input = &mut scratch[..];
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(message)) => decoded.messages.push(owned(message)),
                Ok(None) => break,
                Err(disconnect) => decoded.refused = Some(disconnect),
            }
            assert_bounded(decoder);
        }
        assert!(input.is_empty(), "a decoder that wants more has taken all there is");
        assert_bounded(decoder);
    }
    decoded
}

fn assert_bounded(decoder: &Decoder) {
    if let Some(partial) = &decoder.partial {
        let (message, control) = (partial.message.capacity(), partial.control.capacity());
        assert!(message <= decoder.max_message as usize, "{message} bytes held of a message");
        assert!(control <= MAX_CONTROL_PAYLOAD, "{control} bytes held of a control frame");
    }
}

fn decode_whole(bytes: &[u8]) -> DecodedInput {
    decode(&mut Decoder::new(MAX), [bytes])
}

fn text(text: &str) -> Inbound<'static> {
    owned(Inbound::Text(Cow::Borrowed(text)))
}

fn ping(payload: &[u8]) -> Inbound<'static> {
    owned(Inbound::Ping(Cow::Borrowed(payload)))
}

fn assert_decoded<const N: usize>(table: [(&str, Vec<u8>, Vec<Inbound<'static>>); N]) {
    for (case, bytes, messages) in table {
        assert_eq!(decode_whole(&bytes), DecodedInput { messages, refused: None }, "{case}");
    }
}

#[test]
fn decodes_messages_in_one_frame() {
    let long = "x".repeat(MAX);
    assert_decoded([
        (
            "5.7: the masked example",
            b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec(),
            vec![text("Hello")],
        ),
        ("5.2: no payload", frame(TEXT, b""), vec![text("")]),
        ("5.2: 125 bytes", frame(TEXT, &[b'x'; 125]), vec![text(&long[..125])]),
        ("5.2: 126 bytes, a 16-bit length", frame(TEXT, &[b'x'; 126]), vec![text(&long[..126])]),
        ("as many bytes as allowed", frame(TEXT, long.as_bytes()), vec![text(&long)]),
        (
            "two messages in one read",
            [frame(TEXT, b"one"), frame(TEXT, b"two")].concat(),
            vec![text("one"), text("two")],
        ),
    ]);
}

#[test]
fn decodes_messages_in_fragments() {
    let most: Vec<u8> = [frame(TEXT_BEGINS, b""), frame(CONTINUES, b"").repeat(254)].concat();
    assert_decoded([
        (
            "5.4: fragments, one of them empty",
            [frame(TEXT_BEGINS, b"He"), frame(CONTINUES, b""), frame(ENDS, b"llo")].concat(),
            vec![text("Hello")],
        ),
        (
            "5.4: empty fragments around",
            [frame(TEXT_BEGINS, b""), frame(CONTINUES, b"Hello"), frame(ENDS, b"")].concat(),
            vec![text("Hello")],
        ),
        (
            "5.4: as many fragments as allowed",
            [most, frame(ENDS, b"Hello")].concat(),
            vec![text("Hello")],
        ),
        (
            "5.6: a character split between fragments",
            [frame(TEXT_BEGINS, b"a\xc3"), frame(ENDS, b"\xb1o")].concat(),
            vec![text("año")],
        ),
        (
            "5.5: control frames between fragments",
            [
                frame(TEXT_BEGINS, b"He"),
                frame(PING, b"1"),
                frame(PONG, b"2"),
                frame(ENDS, b"llo"),
                frame(PING, b""),
            ]
            .concat(),
            vec![ping(b"1"), Inbound::Pong, text("Hello"), ping(b"")],
        ),
    ]);
}

#[test]
fn decodes_control_frames() {
    assert_decoded([
        ("5.5.2: the longest ping", frame(PING, &[7; 125]), vec![ping(&[7; 125])]),
        ("5.5.1: a close without a code", frame(CLOSE, b""), vec![Inbound::Close(None)]),
        (
            "5.5.1: a close with code and reason",
            frame(CLOSE, b"\x03\xe8bye"),
            vec![Inbound::Close(Some(1000))],
        ),
        (
            "5.5.1: nothing follows a close",
            [frame(CLOSE, b"\x03\xe9"), frame(TEXT, b"late"), frame(BINARY, b"")].concat(),
            vec![Inbound::Close(Some(1001))],
        ),
        (
            "5.5.1: a close inside a fragmented message",
            [frame(TEXT_BEGINS, b"He"), frame(CLOSE, b"")].concat(),
            vec![Inbound::Close(None)],
        ),
    ]);
}

const BAD: Disconnect = Disconnect::BAD_FRAME;

fn assert_refused<const N: usize>(table: [(&str, Vec<u8>, Disconnect); N]) {
    for (case, bytes, refusal) in table {
        let whole = DecodedInput { refused: Some(refusal), ..decode_whole(&bytes) };
        assert_eq!(decode_whole(&bytes), whole, "{case}");
        assert_eq!(decode(&mut Decoder::new(MAX), bytes.chunks(1)), whole, "{case}, byte by byte");
        // What came before is decoded; what comes after is not.
        let around = [frame(TEXT, b"before"), bytes, frame(TEXT, b"after")].concat();
        assert_eq!(decode_whole(&around).messages.first(), Some(&text("before")), "{case}");
        assert!(!decode_whole(&around).messages.contains(&text("after")), "{case}");
    }
}

#[test]
fn refuses_headers_that_the_protocol_forbids() {
    assert_refused([
        ("5.1: no mask", b"\x81\x02hi".to_vec(), BAD.because("client frame without a mask")),
        (
            "5.2: RSV1",
            frame(TEXT | 0x40, b""),
            BAD.because("reserved bit set without an extension"),
        ),
        (
            "5.2: RSV2",
            frame(TEXT | 0x20, b""),
            BAD.because("reserved bit set without an extension"),
        ),
        (
            "5.2: RSV3",
            frame(PING | 0x10, b""),
            BAD.because("reserved bit set without an extension"),
        ),
        ("5.2: opcode 3", frame(0x83, b""), BAD.because("reserved opcode")),
        ("5.2: opcode 7", frame(0x87, b""), BAD.because("reserved opcode")),
        ("5.2: opcode 11", frame(0x8B, b""), BAD.because("reserved opcode")),
        ("5.2: opcode 15", frame(0x8F, b""), BAD.because("reserved opcode")),
        (
            "5.2: 5 in 16 bits",
            b"\x81\xfe\x00\x05".to_vec().into_iter().chain([0; 9]).collect(),
            BAD.because("length not in its shortest form"),
        ),
        (
            "5.2: 126 in 64 bits",
            b"\x81\xff\x00\x00\x00\x00\x00\x00\x00\x7e\0\0\0\0".to_vec(),
            BAD.because("length not in its shortest form"),
        ),
        ("5.2: 2^63 bytes", header(TEXT, 1 << 63), Disconnect::TOO_LARGE),
        ("5.2: 2^64 - 1 bytes", header(TEXT, u64::MAX), Disconnect::TOO_LARGE),
    ]);
}

#[test]
fn refuses_messages_beyond_the_limits() {
    let too_many = [frame(TEXT_BEGINS, b""), frame(CONTINUES, b"").repeat(256)].concat();
    assert_refused([
        ("one byte too many", header(TEXT, MAX as u64 + 1), Disconnect::TOO_LARGE),
        (
            "one byte too many over all fragments",
            [frame(TEXT_BEGINS, &[b'x'; 200]), header(CONTINUES, 101)].concat(),
            Disconnect::TOO_LARGE,
        ),
        (
            "fragments without end",
            too_many,
            Disconnect::TOO_LARGE.because("message in too many fragments"),
        ),
    ]);
}

#[test]
fn refuses_fragments_out_of_order_and_control_frames_that_are_too_long() {
    assert_refused([
        (
            "5.4: nothing to continue",
            frame(CONTINUES, b"x"),
            BAD.because("continuation of nothing"),
        ),
        (
            "5.4: continued after the end",
            [frame(TEXT, b"x"), frame(ENDS, b"y")].concat(),
            BAD.because("continuation of nothing"),
        ),
        (
            "5.4: a message inside another",
            [frame(TEXT_BEGINS, b"x"), frame(TEXT, b"y")].concat(),
            BAD.because("new message inside a fragmented one"),
        ),
        ("5.5: a ping in fragments", frame(0x09, b""), BAD.because("control frame in fragments")),
        (
            "5.5: a ping of 126 bytes",
            header(PING, 126),
            BAD.because("control frame over 125 bytes"),
        ),
        (
            "5.5: a close of 2^40 bytes",
            header(CLOSE, 1 << 40),
            BAD.because("control frame over 125 bytes"),
        ),
    ]);
}

#[test]
fn refuses_payloads_that_are_no_text() {
    assert_refused([
        (
            "5.6: binary",
            frame(BINARY, b"x"),
            BAD.because("binary message; only text is spoken here"),
        ),
        ("5.6: not UTF-8", frame(TEXT, b"\xc3\x28"), BAD.because("text that is not UTF-8")),
        ("5.6: a surrogate", frame(TEXT, b"\xed\xa0\x80"), BAD.because("text that is not UTF-8")),
        ("5.6: half a character", frame(TEXT, b"a\xc3"), BAD.because("text that is not UTF-8")),
        (
            "5.6: not UTF-8 over two fragments",
            [frame(TEXT_BEGINS, b"a\xc3"), frame(ENDS, b"a")].concat(),
            BAD.because("text that is not UTF-8"),
        ),
        ("5.5.1: half a code", frame(CLOSE, b"\x03"), BAD.because("close with half a code")),
        (
            "5.5.1: a reason that is not UTF-8",
            frame(CLOSE, b"\x03\xe8\xff"),
            BAD.because("close reason that is not UTF-8"),
        ),
    ]);
}

#[test]
fn accepts_only_close_codes_that_may_be_sent() {
    // Section 7.4 and the IANA registry.
    let may_be_sent = |code| match code {
        1004..=1006 | 1015 => false,
        1000..=1014 | 3000..=4999 => true,
        _ => false,
    };
    for code in 0..=u16::MAX {
        let decoded = decode_whole(&frame(CLOSE, &code.to_be_bytes()));
        assert_eq!(decoded.messages == [Inbound::Close(Some(code))], may_be_sent(code), "{code}");
        assert_eq!(decoded.refused.is_none(), may_be_sent(code), "{code}");
    }
}

#[test]
fn does_not_copy_a_message_that_is_complete_in_the_input() {
    let mut bytes = [frame(TEXT, b"one"), frame(PING, b"two")].concat();
    let mut decoder = Decoder::new(MAX);
    let mut input = &mut bytes[..];
    let one = decoder.decode(&mut input);
    assert!(matches!(one, Ok(Some(Inbound::Text(Cow::Borrowed("one"))))));
    let two = decoder.decode(&mut input);
    assert!(matches!(two, Ok(Some(Inbound::Ping(Cow::Borrowed(b"two"))))));
    assert!(decoder.partial.is_none());
}

#[test]
fn an_idle_decoder_owns_no_heap_memory() {
    const LARGE: usize = 16 * 1024;
    let mut decoder = Decoder::new(LARGE);
    let large = frame(TEXT, &[b'x'; LARGE]);
    let fragmented =
        [frame(TEXT_BEGINS, &[b'x'; LARGE / 2]), frame(PING, b"?"), frame(ENDS, b"x")].concat();
    for stream in [&large, &fragmented] {
        for cut in [1, 7, 1000, stream.len()] {
            let decoded = decode(&mut decoder, stream.chunks(cut));
            assert_eq!(decoded.refused, None);
            assert!(decoder.partial.is_none(), "nothing is incomplete, in reads of {cut}");
        }
    }
    assert!(size_of::<Decoder>() <= 16, "{} bytes for every connection", size_of::<Decoder>());
}

#[test]
fn a_header_alone_allocates_nothing() {
    let mut decoder = Decoder::new(16 * 1024);
    decode(&mut decoder, [&header(TEXT, 16 * 1024)[..], b"x"]);
    let partial = decoder.partial.as_ref().unwrap();
    assert!(partial.message.capacity() < 64, "{} bytes for one", partial.message.capacity());
}

#[test]
fn computes_the_accept_key_of_the_rfc() {
    // Section 1.3.
    assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}
