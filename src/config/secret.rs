//! Secrets: where they are written, and never shown again.

use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

use super::{ConfigError, Place};

/// A secret written in the file itself. Neither `Debug` nor an error shows it.
#[derive(Clone, PartialEq)]
pub(crate) struct Secret(pub(crate) String);

/// Stands for a secret wherever one would be printed.
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
        struct Text;

        /// serde's own words for a wrong type repeat the value; these do not.
        fn hidden<E: serde::de::Error>() -> Result<Secret, E> {
            Err(E::custom("a secret is text in quotes"))
        }

        impl Visitor<'_> for Text {
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

        deserializer.deserialize_any(Text)
    }
}

/// The ways to give one secret, exactly one of which is used.
pub(crate) struct Given<'a> {
    /// Where it is asked for, such as `auth.key[0]`.
    pub(crate) key: &'a str,
    pub(crate) secret: &'a Option<Secret>,
    pub(crate) secret_file: &'a Option<String>,
    pub(crate) secret_env: &'a Option<String>,
}

impl Given<'_> {
    /// Whether a secret is given in some way.
    pub(crate) fn any(&self) -> bool {
        self.secret.is_some() || self.secret_file.is_some() || self.secret_env.is_some()
    }

    /// The secret's bytes; a file loses the line end that editors put after it.
    pub(crate) fn resolve(&self, place: &Place) -> Result<Vec<u8>, ConfigError> {
        let bytes = match (self.secret, self.secret_file, self.secret_env) {
            (Some(secret), None, None) => secret.0.clone().into_bytes(),
            (None, Some(file), None) => {
                let mut bytes = read(&format!("{}.secret_file", self.key), file, place)?;
                while matches!(bytes.last(), Some(b'\n' | b'\r')) {
                    bytes.pop();
                }
                bytes
            }
            (None, None, Some(name)) => match place.variables.get(name) {
                Some(value) => value.clone().into_bytes(),
                None => {
                    let key = format!("{}.secret_env", self.key);
                    return Err(ConfigError::value(
                        key,
                        name,
                        "the name of a variable that is set",
                    ));
                }
            },
            _ => return Err(self.ambiguous()),
        };
        if bytes.is_empty() {
            return Err(ConfigError::value(self.key, "an empty secret", "one that is not empty"));
        }
        Ok(bytes)
    }

    fn ambiguous(&self) -> ConfigError {
        let given = [
            ("secret", self.secret.is_some()),
            ("secret_file", self.secret_file.is_some()),
            ("secret_env", self.secret_env.is_some()),
        ];
        let given: Vec<_> = given.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
        let found = match given.as_slice() {
            [] => "without a secret".to_owned(),
            several => several.join(" and "),
        };
        ConfigError::value(self.key, found, "exactly one of secret, secret_file and secret_env")
    }
}

/// Reads a file named in the configuration, relative to the configuration's own folder.
pub(crate) fn read(key: &str, file: &str, place: &Place) -> Result<Vec<u8>, ConfigError> {
    let path = place.folder.join(Path::new(file));
    std::fs::read(&path).map_err(|source| ConfigError::File { key: key.to_owned(), path, source })
}
