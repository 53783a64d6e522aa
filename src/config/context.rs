//! What the references of a configuration are resolved against.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Variables of the environment, by name.
pub type Variables = BTreeMap<String, String>;

/// Where files are, and what the variables hold.
pub(crate) struct ReferenceContext {
    pub(crate) folder: PathBuf,
    pub(crate) variables: Variables,
}
