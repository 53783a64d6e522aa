//! How to log in: by user and password, or by what a file holds.

use std::fs;
use std::path::PathBuf;

/// How to log in.
#[derive(Clone, Default, PartialEq, Eq)]
pub(in crate::layer) struct Credentials {
    /// `None` = Redis' user `default`.
    pub(in crate::layer) user: Option<String>,
    pub(in crate::layer) password: Option<Password>,
}

/// A password, or where it is.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::layer) enum Password {
    Text(String),
    /// Read at each connection.
    File(PathBuf),
}

impl Credentials {
    /// The password at this moment. It may wait for the disk.
    ///
    /// # Errors
    /// What is wrong with its file.
    pub(in crate::layer) fn password(&self) -> Result<Option<String>, String> {
        let path = match &self.password {
            None => return Ok(None),
            Some(Password::Text(text)) => return Ok(Some(text.clone())),
            Some(Password::File(path)) => path,
        };
        let wrong = |what: String| format!("the password file {} {what}", path.display());
        let text = fs::read_to_string(path).map_err(|error| wrong(format!("failed: {error}")))?;
        // The line end that editors put behind it.
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(wrong("is empty".to_owned())),
            password => Ok(Some(password.to_owned())),
        }
    }
}
