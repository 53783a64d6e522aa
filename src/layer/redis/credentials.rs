//! How each new connection logs in: with what a file holds at that moment, or as the URL says.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use fred::error::{Error, ErrorKind};
use fred::types::config::{CredentialProvider, Server};
use tokio::task::spawn_blocking;

use crate::layer::address::Credentials;

/// Gives the client library user and password.
pub(super) struct Login(pub(super) Credentials);

type Fetched = Result<(Option<String>, Option<String>), Error>;

// The trait is written for the crate async-trait; this is what that would make of it.
impl CredentialProvider for Login {
    fn fetch<'life0, 'life1, 'async_trait>(
        &'life0 self,
        _: Option<&'life1 Server>,
    ) -> Pin<Box<dyn Future<Output = Fetched> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async {
            let credentials = self.0.clone();
            let read = spawn_blocking(move || credentials.password());
            let password = match read.await {
                Ok(read) => read.map_err(|fault| Error::new(ErrorKind::Auth, fault))?,
                Err(ended) => return Err(Error::new(ErrorKind::IO, ended.to_string())),
            };
            let user = self.0.user.as_deref();
            // A user without a password is one that needs none, and has to be named all the same.
            let password = password.or_else(|| user.map(|_| String::new()));
            Ok((user.map(inline), password.as_deref().map(inline)))
        })
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

/// `text` as one argument of an inline command. The client library authenticates by one (`HELLO 3
/// AUTH user password`), where Redis splits at spaces and reads quotes and escapes.
fn inline(text: &str) -> String {
    let plain = |c: char| !c.is_ascii_whitespace() && !c.is_control() && !"\"'\\".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
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
    fn quotes_credentials_as_single_arguments_of_an_inline_command() {
        for (text, expected) in [
            ("secret", "secret"),
            ("contraseña", "contraseña"),
            ("two words", r#""two words""#),
            (r#"a"b"#, r#""a\"b""#),
            (r"a\b", r#""a\\b""#),
            ("it's", r#""it's""#),
            ("a\r\nFLUSHALL", r#""a\x0d\x0aFLUSHALL""#),
            ("", r#""""#),
        ] {
            assert_eq!(inline(text), expected);
        }
    }
}
