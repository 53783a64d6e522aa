//! Secrets, from the configuration, from a separate file or from a variable. Never shown.

use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

use super::{ConfigError, ReferenceContext};

/// A secret written in the configuration itself. Neither `Debug` nor an error shows it.
#[derive(Clone, PartialEq)]
pub(crate) struct Secret(pub(crate) String);

/// Printed in place of a secret.
const HIDDEN: &str = "(hidden)";

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SecretVisitor;

        /// serde's message for a wrong type repeats the value; this one does not.
        fn hidden<E: serde::de::Error>() -> Result<Secret, E> {
            Err(E::custom("a secret is text in quotes"))
        }

        impl Visitor<'_> for SecretVisitor {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret in quotes")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret(text.to_owned()))
            }

            fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Secret, E> {
                hidden()
            }

            fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Secret, E> {
                hidden()
            }

            fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Secret, E> {
                hidden()
            }
        }

        deserializer.deserialize_any(SecretVisitor)
    }
}

/// The three keys by which a table can give its secret; exactly one of them is used.
pub(crate) struct SecretKeys<'a> {
    pub(crate) secret: Option<&'a Secret>,
    pub(crate) secret_file: Option<&'a String>,
    pub(crate) secret_env: Option<&'a String>,
}

/// A table with the keys `secret`, `secret_file` and `secret_env`.
pub(crate) trait HasSecret {
    fn secret_keys(&self) -> SecretKeys<'_>;
}

/// serde cannot flatten a struct into one that denies unknown fields, so each table repeats the
/// keys.
macro_rules! has_secret {
    ($($table:ty),+) => {$(
        impl $crate::config::secret::HasSecret for $table {
            fn secret_keys(&self) -> $crate::config::secret::SecretKeys<'_> {
                $crate::config::secret::SecretKeys {
                    secret: self.secret.as_ref(),
                    secret_file: self.secret_file.as_ref(),
                    secret_env: self.secret_env.as_ref(),
                }
            }
        }
    )+};
}

pub(crate) use has_secret;

impl SecretKeys<'_> {
    /// Whether any of the keys is there.
    pub(crate) fn any(&self) -> bool {
        self.secret.is_some() || self.secret_file.is_some() || self.secret_env.is_some()
    }

    /// The secret of the table at `key`, such as `auth.key[0]`. A file loses the line end that
    /// editors put after it.
    pub(crate) fn resolve(
        &self,
        key: &str,
        context: &ReferenceContext,
    ) -> Result<Vec<u8>, ConfigError> {
        let bytes = match (self.secret, self.secret_file, self.secret_env) {
            (Some(secret), None, None) => secret.0.clone().into_bytes(),
            (None, Some(file), None) => {
                let mut bytes = read(&format!("{key}.secret_file"), file, context)?;
                while matches!(bytes.last(), Some(b'\n' | b'\r')) {
                    bytes.pop();
                }
                bytes
            }
            (None, None, Some(name)) => match context.variables.get(name) {
                Some(value) => value.clone().into_bytes(),
                None => {
                    let expected = "a variable that is set, or is in groupcast.env beside the file";
                    let key = format!("{key}.secret_env");
                    return Err(ConfigError::value(key, format!("{name:?}"), expected));
                }
            },
            _ => return Err(self.ambiguous(key)),
        };
        if bytes.is_empty() {
            return Err(ConfigError::problem(key, "has an empty secret", "at least one byte"));
        }
        Ok(bytes)
    }

    fn ambiguous(&self, key: &str) -> ConfigError {
        let given = [
            ("secret", self.secret.is_some()),
            ("secret_file", self.secret_file.is_some()),
            ("secret_env", self.secret_env.is_some()),
        ];
        let given: Vec<_> = given.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
        let problem = match given.as_slice() {
            [] => "has no secret".to_owned(),
            several => format!("has {}", several.join(" and ")),
        };
        ConfigError::problem(key, problem, "exactly one of secret, secret_file and secret_env")
    }
}

/// Reads a file named in the configuration, relative to the configuration's own folder.
pub(crate) fn read(
    key: &str,
    file: &str,
    context: &ReferenceContext,
) -> Result<Vec<u8>, ConfigError> {
    let path = context.folder.join(Path::new(file));
    std::fs::read(&path).map_err(|source| ConfigError::File { key: key.to_owned(), path, source })
}
