//! Excerpts of external text, short and printable, for errors and logs.

/// Characters of a wrong value that an error shows: enough to find it.
pub(crate) const VALUE: usize = 40;

/// The first `max_chars` characters of `text`, on one line.
///
/// Control characters become spaces: they could forge log lines or drive a terminal. So do the
/// characters that change the direction of text, which could make a line read as another one.
pub(crate) fn excerpt(text: &str, max_chars: usize) -> String {
    text.chars().take(max_chars).map(printable).collect()
}

/// `c`, or a space in its place where it could forge a log line or drive a terminal.
pub(crate) fn printable(c: char) -> char {
    let changes_direction = matches!(
        c,
        '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    let separates_lines = matches!(c, '\u{2028}' | '\u{2029}');
    if c.is_control() || changes_direction || separates_lines { ' ' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_at_characters_not_bytes() {
        assert_eq!(excerpt("año nuevo", 3), "año");
        assert_eq!(excerpt("año", 100), "año");
        assert_eq!(excerpt("", 3), "");
    }

    #[test]
    fn replaces_characters_that_could_forge_a_log_line() {
        assert_eq!(excerpt("a\nb\r\u{1b}[31mc\u{85}d", 100), "a b  [31mc d");
        assert_eq!(excerpt("user\u{202e}gpj.exe\u{2066}\u{2028}x", 100), "user gpj.exe  x");
    }
}
