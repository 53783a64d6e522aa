//! Packs a message as Python's `msgpack.packb` does by default: shortest forms, keys in their order.

/// A value of a message. What measured events and their like need; Python packs more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Null,
    Flag(bool),
    Integer(i64),
    Text(String),
}

/// Members of a message in the order in which Python's `dict` has them.
pub type Message = Vec<(String, Value)>;

/// Packs `message`, and after its members `last`, a list of names under a key of its own.
pub fn pack(message: &Message, last: (&str, &[&str])) -> Vec<u8> {
    let mut out = Vec::new();
    length(&mut out, message.len() + 1, 0x80, 0xde);
    for (key, value) in message {
        text(&mut out, key);
        match value {
            Value::Null => out.push(0xc0),
            Value::Flag(flag) => out.push(0xc2 + u8::from(*flag)),
            Value::Integer(number) => integer(&mut out, *number),
            Value::Text(string) => text(&mut out, string),
        }
    }
    let (key, names) = last;
    text(&mut out, key);
    length(&mut out, names.len(), 0x90, 0xdc);
    for name in names {
        text(&mut out, name);
    }
    out
}

/// Length of a map or list: in one byte below 16, else in two or four after a byte `wide`.
fn length(out: &mut Vec<u8>, count: usize, fixed: u8, wide: u8) {
    match count {
        0..=15 => out.push(fixed | count as u8),
        16..=0xFFFF => {
            out.push(wide);
            out.extend_from_slice(&(count as u16).to_be_bytes());
        }
        _ => {
            out.push(wide + 1);
            out.extend_from_slice(&(count as u32).to_be_bytes());
        }
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    match text.len() {
        length @ 0..=31 => out.push(0xa0 | length as u8),
        length @ 32..=0xFF => out.extend_from_slice(&[0xd9, length as u8]),
        length @ 0x100..=0xFFFF => {
            out.push(0xda);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0xdb);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(text.as_bytes());
}

/// The shortest form; Python takes the unsigned ones for what is not negative.
fn integer(out: &mut Vec<u8>, number: i64) {
    let (kind, width) = match number {
        -32..=0x7F => return out.push(number as u8),
        0x80..=0xFF => (0xcc, 1),
        0x100..=0xFFFF => (0xcd, 2),
        0x1_0000..=0xFFFF_FFFF => (0xce, 4),
        0x1_0000_0000.. => (0xcf, 8),
        -0x80..=-33 => (0xd0, 1),
        -0x8000..=-0x81 => (0xd1, 2),
        -0x8000_0000..=-0x8001 => (0xd2, 4),
        _ => (0xd3, 8),
    };
    out.push(kind);
    out.extend_from_slice(&number.to_be_bytes()[8 - width..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that Python's msgpack 1.2.4 gives for the same values.
    #[test]
    fn integers_take_the_form_that_python_gives_them() {
        for (number, expected) in [
            (0, "00"),
            (127, "7f"),
            (-32, "e0"),
            (-33, "d0df"),
            (200, "ccc8"),
            (-129, "d1ff7f"),
            (65_535, "cdffff"),
            (4_294_967_295, "ceffffffff"),
            (-70_000, "d2fffeee90"),
            (i64::MAX, "cf7fffffffffffffff"),
            (i64::MIN, "d38000000000000000"),
        ] {
            let mut out = Vec::new();
            integer(&mut out, number);
            assert_eq!(data_encoding::HEXLOWER.encode(&out), expected, "{number}");
        }
    }

    #[test]
    fn long_texts_and_wide_maps_carry_their_length_in_more_bytes() {
        let message: Message = (0..15).map(|n| (n.to_string(), Value::Null)).collect();
        assert_eq!(pack(&message, ("k", &[]))[..3], [0xde, 0, 16]);
        let head = |length: usize| {
            let mut out = Vec::new();
            text(&mut out, &"a".repeat(length));
            out.truncate(out.len() - length);
            data_encoding::HEXLOWER.encode(&out)
        };
        let heads = [31, 32, 255, 256, 65_535, 65_536].map(head);
        assert_eq!(heads, ["bf", "d920", "d9ff", "da0100", "daffff", "db00010000"]);
    }
}
