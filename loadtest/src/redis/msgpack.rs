//! Packs a message as Python's `msgpack.packb` does by default: shortest forms, keys in their order.

use serde_json::Value;

/// Members of a message in the order in which Python's `dict` has them.
pub type Message = Vec<(String, Value)>;

/// Packs `message`, and after its members `last`, a list of names under a key of its own.
pub fn pack(message: &Message, last: (&str, &[&str])) -> Vec<u8> {
    let mut out = Vec::new();
    length(&mut out, message.len() + 1, 0x80, 0xde);
    for (key, member) in message {
        text(&mut out, key);
        value(&mut out, member);
    }
    let (key, names) = last;
    text(&mut out, key);
    length(&mut out, names.len(), 0x90, 0xdc);
    for name in names {
        text(&mut out, name);
    }
    out
}

/// A value; members of maps within come in the order of their keys, since JSON keeps no other here.
fn value(out: &mut Vec<u8>, json: &Value) {
    match json {
        Value::Null => out.push(0xc0),
        Value::Bool(flag) => out.push(0xc2 + u8::from(*flag)),
        Value::Number(number) => match (number.as_i128(), number.as_f64()) {
            (Some(number), _) => integer(out, number),
            (None, number) => {
                out.push(0xcb);
                out.extend_from_slice(&number.unwrap_or(f64::NAN).to_be_bytes());
            }
        },
        Value::String(string) => text(out, string),
        Value::Array(items) => {
            length(out, items.len(), 0x90, 0xdc);
            items.iter().for_each(|item| value(out, item));
        }
        Value::Object(members) => {
            length(out, members.len(), 0x80, 0xde);
            for (key, member) in members {
                text(out, key);
                value(out, member);
            }
        }
    }
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
fn integer(out: &mut Vec<u8>, number: i128) {
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
    out.extend_from_slice(&number.to_be_bytes()[16 - width..]);
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
            (u64::MAX.into(), "cfffffffffffffffff"),
            (i64::MIN.into(), "d38000000000000000"),
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
