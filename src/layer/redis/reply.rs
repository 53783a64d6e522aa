//! Replies of Redis, for the rooms that run scripts and commands.
//!
//! The client library's own type has twice as many cases and special conversions, such as
//! flattening a list of one list. Nothing outside the layer should depend on them.

use bytes::Bytes;
use fred::types::Value;

/// One answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// No value. In the reply of a script also Lua's `false`.
    Nil,
    /// A whole number, or the result of a yes-no question: 1 or 0.
    Integer(i64),
    /// A number such as a score, which RESP3 has a type for.
    Double(f64),
    /// A string. Redis' strings are bytes; texts, statuses and names are all of this kind.
    Bytes(Bytes),
    /// A list. A map is the list of its keys and values in turn, as in RESP2.
    List(Vec<Reply>),
}

/// A type that an expected reply converts to.
pub trait FromReply: Sized {
    /// The value of `reply`; `None` = it has another form.
    fn from_reply(reply: Reply) -> Option<Self>;
}

impl Reply {
    pub(super) fn new(value: Value) -> Self {
        match value {
            Value::Null => Self::Nil,
            Value::Boolean(yes) => Self::Integer(yes.into()),
            Value::Integer(number) => Self::Integer(number),
            Value::Double(number) => Self::Double(number),
            Value::String(text) => Self::Bytes(text.into_inner()),
            Value::Bytes(bytes) => Self::Bytes(bytes),
            Value::Queued => Self::Bytes(Bytes::from_static(b"QUEUED")),
            Value::Map(map) => {
                let pairs = map.inner().into_iter();
                let pairs = pairs.flat_map(|(key, value)| [Value::Bytes(key.into_bytes()), value]);
                Self::List(pairs.map(Self::new).collect())
            }
            Value::Array(values) => Self::List(values.into_iter().map(Self::new).collect()),
        }
    }

    /// The bytes of a string.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A string that is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// This reply as `T`, if it has that form.
    pub fn convert<T: FromReply>(self) -> Option<T> {
        T::from_reply(self)
    }
}

impl FromReply for Reply {
    fn from_reply(reply: Reply) -> Option<Self> {
        Some(reply)
    }
}

/// Any reply, if only its arrival matters.
impl FromReply for () {
    fn from_reply(_: Reply) -> Option<Self> {
        Some(())
    }
}

impl FromReply for Bytes {
    fn from_reply(reply: Reply) -> Option<Self> {
        match reply {
            Reply::Bytes(bytes) => Some(bytes),
            Reply::Integer(number) => Some(number.to_string().into()),
            Reply::Double(number) => Some(number.to_string().into()),
            Reply::Nil | Reply::List(_) => None,
        }
    }
}

impl FromReply for String {
    fn from_reply(reply: Reply) -> Option<Self> {
        String::from_utf8(Bytes::from_reply(reply)?.into()).ok()
    }
}

impl FromReply for i64 {
    fn from_reply(reply: Reply) -> Option<Self> {
        match reply {
            Reply::Integer(number) => Some(number),
            other => other.as_str()?.parse().ok(),
        }
    }
}

impl FromReply for u64 {
    fn from_reply(reply: Reply) -> Option<Self> {
        i64::from_reply(reply)?.try_into().ok()
    }
}

impl FromReply for f64 {
    fn from_reply(reply: Reply) -> Option<Self> {
        match reply {
            Reply::Double(number) => Some(number),
            Reply::Integer(number) => Some(number as f64),
            other => other.as_str()?.parse().ok(),
        }
    }
}

impl<T: FromReply> FromReply for Option<T> {
    fn from_reply(reply: Reply) -> Option<Self> {
        match reply {
            Reply::Nil => Some(None),
            other => T::from_reply(other).map(Some),
        }
    }
}

impl<T: FromReply> FromReply for Vec<T> {
    fn from_reply(reply: Reply) -> Option<Self> {
        match reply {
            Reply::List(replies) => replies.into_iter().map(T::from_reply).collect(),
            _ => None,
        }
    }
}

impl<A: FromReply, B: FromReply> FromReply for (A, B) {
    fn from_reply(reply: Reply) -> Option<Self> {
        let Reply::List(replies) = reply else { return None };
        let [first, second] = <[Reply; 2]>::try_from(replies).ok()?;
        Some((A::from_reply(first)?, B::from_reply(second)?))
    }
}

impl<A: FromReply, B: FromReply, C: FromReply> FromReply for (A, B, C) {
    fn from_reply(reply: Reply) -> Option<Self> {
        let Reply::List(replies) = reply else { return None };
        let [first, second, third] = <[Reply; 3]>::try_from(replies).ok()?;
        Some((A::from_reply(first)?, B::from_reply(second)?, C::from_reply(third)?))
    }
}

impl<A: FromReply, B: FromReply, C: FromReply, D: FromReply> FromReply for (A, B, C, D) {
    fn from_reply(reply: Reply) -> Option<Self> {
        let Reply::List(replies) = reply else { return None };
        let [a, b, c, d] = <[Reply; 4]>::try_from(replies).ok()?;
        Some((A::from_reply(a)?, B::from_reply(b)?, C::from_reply(c)?, D::from_reply(d)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &'static str) -> Reply {
        Reply::Bytes(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn converts_a_reply_only_to_types_of_its_form() {
        assert_eq!(text("7").convert(), Some(7_u64), "scripts answer large numbers as text");
        assert_eq!(text("-7").convert::<u64>(), None);
        assert_eq!(text("1.5").convert(), Some(1.5));
        assert_eq!(Reply::Integer(7).convert(), Some("7".to_owned()));
        assert_eq!(Reply::Nil.convert(), Some(None::<String>));
        assert_eq!(Reply::Nil.convert::<String>(), None);
        assert_eq!(text("7").convert::<Vec<String>>(), None);
        assert_eq!(Reply::Bytes(Bytes::from_static(b"\xff")).convert::<String>(), None);
    }

    #[test]
    fn keeps_a_list_of_one_list_as_it_is() {
        let inner = Value::Array(vec![Value::from_static_str("a")]);
        let reply = Reply::new(Value::Array(vec![inner]));
        assert_eq!(reply, Reply::List(vec![Reply::List(vec![text("a")])]));
        assert_eq!(reply.convert(), Some(vec![vec!["a".to_owned()]]));
    }

    #[test]
    fn requires_exactly_two_values_for_a_pair() {
        let list = |count| Reply::List(vec![Reply::Integer(1); count]);
        assert_eq!(list(2).convert(), Some((1_i64, 1_u64)));
        assert_eq!(list(3).convert::<(i64, i64)>(), None);
        assert_eq!(list(1).convert::<(i64, i64)>(), None);
    }
}
