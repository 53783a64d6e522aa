//! `groupcast.env`: variables in a file beside the configuration, for those that are not set.

use std::io::ErrorKind;
use std::path::Path;

use super::{ConfigError, Variables};

/// What `groupcast init django` writes; Django's helper reads the same file.
const NAME: &str = "groupcast.env";

/// The variables with those of the file in `folder`, if there is one that may be read. What is set
/// in the environment counts, not what the file says.
pub(super) fn overlay(folder: &Path, variables: Variables) -> Result<Variables, ConfigError> {
    let path = folder.join(NAME);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let mut all: Variables = text.lines().filter_map(assignment).collect();
            all.extend(variables);
            Ok(all)
        }
        // systemd reads such a file as root and starts the gateway as somebody else.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            Ok(variables)
        }
        Err(source) => Err(ConfigError::File { key: NAME.to_owned(), path, source }),
    }
}

/// `NAME=value`, as a shell reads it: with or without `export` and quotes.
fn assignment(line: &str) -> Option<(String, String)> {
    let (name, value) = line.trim().split_once('=')?;
    let name = name.strip_prefix("export ").unwrap_or(name).trim();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let value = value.trim();
    let quoted = ['\'', '"'].iter().find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q));
    is_name.then(|| (name.to_owned(), quoted.unwrap_or(value).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_shell_would() {
        for (line, read) in [
            ("A=b", Some(("A", "b"))),
            (" export A='b=c' ", Some(("A", "b=c"))),
            ("A=\"\"", Some(("A", ""))),
            ("A='", Some(("A", "'"))),
            ("# A=b", None),
            ("A", None),
            ("", None),
        ] {
            let read = read.map(|(name, value): (&str, &str)| (name.to_owned(), value.to_owned()));
            assert_eq!(assignment(line), read, "{line}");
        }
    }
}
