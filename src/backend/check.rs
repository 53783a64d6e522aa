//! The check of the settings as a whole, before anything is started.

use super::client::Client;
use super::settings::{BackendError, MIN_SECRET_LEN, Settings};

impl Settings {
    /// Checks all that [`Client::new`] would refuse, and more.
    pub fn check(&self) -> Result<(), BackendError> {
        for path in [&self.connect, &self.calls] {
            let legal = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#');
            let unused = path.is_empty();
            if !(unused || path.starts_with('/') && path.chars().all(legal)) {
                return Err(BackendError::Path(path.clone()));
            }
        }
        for (index, key) in self.keys.iter().enumerate() {
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if !(1..=40).contains(&key.id.len()) || !key.id.chars().all(legal) {
                return Err(BackendError::KeyId(key.id.clone()));
            }
            if self.keys[..index].iter().any(|earlier| earlier.id == key.id) {
                return Err(BackendError::KeyTwice(key.id.clone()));
            }
            if key.secret.len() < MIN_SECRET_LEN {
                let found = key.secret.len();
                return Err(BackendError::ShortSecret { id: key.id.clone(), found });
            }
        }
        if self.url.is_empty() {
            return Ok(());
        }
        Client::new(self).map(drop)
    }
}
