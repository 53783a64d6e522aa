//! Parses the address of Redis, and refuses parts that the client library would ignore or misread.

use fred::types::config::{Config, ServerConfig};

use crate::layer::LayerError;

/// Checks that a URL is one this layer can use, without connecting.
pub(in crate::layer) fn check_url(url: &str) -> Result<(), LayerError> {
    parse(url).map(|_| ())
}

/// The client library's configuration for a URL.
pub(super) fn parse(url: &str) -> Result<Config, LayerError> {
    // Errors do not show the rest of the URL, which may contain a password.
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    if scheme != "redis" && scheme != "valkey" {
        return Err(LayerError::Url(format!("scheme {scheme:?}; \"redis\" is allowed")));
    }
    // The client library ignores them; an address with "?db=3" would use database 0.
    if let Some(mark) = url.find(['?', '#']) {
        let found = &url[mark..=mark];
        let why = format!("{found:?} in it; the database is the path, as in redis://host:6379/3");
        return Err(LayerError::Url(why));
    }
    let config = Config::from_url(url).map_err(|error| LayerError::Url(error.details().into()))?;
    let ServerConfig::Centralized { .. } = config.server else {
        return Err(LayerError::Url("several servers; one is allowed".to_owned()));
    };
    let (username, password) = (config.username.as_deref(), config.password.as_deref());
    Ok(Config { username: username.map(inline), password: password.map(inline), ..config })
}

/// `text` as one argument of an inline command. The client library authenticates by one (`HELLO 3
/// AUTH user password`), where Redis splits at spaces and reads quotes and escapes.
fn inline(text: &str) -> String {
    let plain = |c: char| !c.is_ascii_whitespace() && !c.is_control() && !"\"'\\".contains(c);
    if text.chars().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::with_capacity(text.len() + 8);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_parts_of_a_url_that_would_be_ignored() {
        for url in [
            "redis://127.0.0.1?db=3",
            "redis://127.0.0.1/3?timeout=5",
            "redis://:secret@127.0.0.1#3",
            "redis://127.0.0.1/3/4",
            "redis://127.0.0.1/three",
            "redis:///3",
        ] {
            let error = check_url(url).expect_err(url).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        let error = check_url("redis://127.0.0.1?db=3").unwrap_err().to_string();
        assert!(error.contains("redis://host:6379/3"), "{error}");
        assert_eq!(parse("redis://127.0.0.1/3").unwrap().database, Some(3));
    }

    #[test]
    fn quotes_credentials_as_single_arguments_of_an_inline_command() {
        for (text, expected) in [
            ("secret", "secret"),
            ("contraseña", "contraseña"),
            ("two words", r#""two words""#),
            (r#"a"b"#, r#""a\"b""#),
            (r"a\b", r#""a\\b""#),
            ("it's", r#""it's""#),
            ("a\r\nFLUSHALL", r#""a\x0d\x0aFLUSHALL""#),
        ] {
            assert_eq!(inline(text), expected);
        }
    }
}
