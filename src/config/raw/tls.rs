//! The keys of a client's side of TLS, in every section that connects to a server.

use serde::{Deserialize, Serialize};

/// Empty = not given. Paths are relative to the file's folder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TlsTable {
    pub(crate) ca_file: String,
    pub(crate) certificate_file: String,
    pub(crate) key_file: String,
    pub(crate) server_name: String,
}
