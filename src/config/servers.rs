//! Servers that the gateway connects to: addresses, and the files of passwords and of TLS.

use std::path::PathBuf;

use super::raw::TlsTable;
use super::secret::Secret;
use super::{ConfigError, ReferenceContext};
use crate::amqp::AmqpAddress;
use crate::layer::RedisAddress;
use crate::tls::{ClientCertificate, TlsSettings};

/// The keys of one Redis, each with its name from the top.
pub(super) struct RedisKeys<'a> {
    pub(super) url: (&'a str, &'a Secret),
    /// Empty = none.
    pub(super) password_file: (&'a str, &'a str),
    pub(super) tls: (&'a str, &'a TlsTable),
}

impl RedisKeys<'_> {
    /// The address, whose files can be used at this moment.
    pub(super) fn address(&self, context: &ReferenceContext) -> Result<RedisAddress, ConfigError> {
        let (key, url) = self.url;
        let unusable = |source| ConfigError::text(key, source);
        let mut address = RedisAddress::parse(&url.0).map_err(unusable)?;
        let (key, file) = self.password_file;
        if !file.is_empty() {
            let file = context.folder.join(file);
            let with = address.with_password_file(file);
            address = with.map_err(|source| ConfigError::text(key, source))?;
        }
        let (key, table) = self.tls;
        if let Some(tls) = tls(key, table, context)? {
            address = address.with_tls(tls).map_err(|source| ConfigError::text(key, source))?;
        }
        address.check_files().map_err(|fault| ConfigError::text(self.url.0, fault))?;
        Ok(address)
    }
}

/// The address of a broker, whose files can be used at this moment.
pub(super) fn broker(
    url: (&str, &Secret),
    tls: (&str, &TlsTable),
    context: &ReferenceContext,
) -> Result<AmqpAddress, ConfigError> {
    let (key, text) = url;
    let mut address =
        AmqpAddress::parse(&text.0).map_err(|source| ConfigError::text(key, source))?;
    if let Some(files) = self::tls(tls.0, tls.1, context)? {
        address = address.with_tls(files).map_err(|source| ConfigError::text(tls.0, source))?;
    }
    address.check_files().map_err(|fault| ConfigError::text(key, fault))?;
    Ok(address)
}

/// The settings of TLS at `key`; `None` = the table is empty.
pub(super) fn tls(
    key: &str,
    table: &TlsTable,
    context: &ReferenceContext,
) -> Result<Option<TlsSettings>, ConfigError> {
    if *table == TlsTable::default() {
        return Ok(None);
    }
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let file = |path: &str| -> Option<PathBuf> { given(path).map(|it| context.folder.join(it)) };
    let certificate = match (file(&table.certificate_file), file(&table.key_file)) {
        (Some(certificate_file), Some(key_file)) => {
            Some(ClientCertificate { certificate_file, key_file })
        }
        (None, None) => None,
        _ => {
            let expected = "both of certificate_file and key_file, or none";
            return Err(ConfigError::problem(key, "has one of two files", expected));
        }
    };
    let ca_file = file(&table.ca_file);
    Ok(Some(TlsSettings { ca_file, certificate, server_name: given(&table.server_name) }))
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::fs;
    use std::path::Path;

    use crate::config::{Config, Variables};

    fn load(text: &str) -> Result<Config, String> {
        let file = std::env::temp_dir().join("gateway.toml");
        let config = Config::parse(Path::new(&file), text, Variables::new());
        config.map_err(|error| format!("{error}: {}", error.source().unwrap_or(&error)))
    }

    #[test]
    fn names_the_key_and_the_file_of_each_fault() {
        for (layer, expected) in [
            ("url = \"redis://host\"\npassword_file = \"no-such-file\"", "no-such-file"),
            ("url = \"redis://:word@host\"\npassword_file = \"a\"", "layer.password_file"),
            ("url = \"redis://host\"\n[layer.tls]\nca_file = \"ca.pem\"", "layer.tls"),
            ("url = \"rediss://host\"\n[layer.tls]\nca_file = \"no-ca.pem\"", "no-ca.pem"),
            ("url = \"rediss://host\"\n[layer.tls]\nkey_file = \"a.key\"", "certificate_file"),
            ("url = \"rediss://host\"\n[layer.tls]\nca = \"a\"", "ca_file"),
        ] {
            let error = load(&format!("[layer]\nkind = \"redis\"\n{layer}")).unwrap_err();
            assert!(error.contains(expected) && !error.contains("word@"), "{error}");
        }
        let celery = "results = \"redis://host\"\nresults_password_file = \"no-such-file\"";
        let error = load(&format!("[celery]\n{celery}")).unwrap_err();
        assert!(error.contains("celery.results") && error.contains("no-such-file"), "{error}");
    }

    #[test]
    fn files_are_relative_to_that_of_the_configuration() {
        let name = format!("groupcast-password-of-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        fs::write(&path, "word\n").unwrap();
        let loaded = load(&format!("[layer]\nkind = \"redis\"\npassword_file = {name:?}"));
        fs::remove_file(&path).unwrap();
        loaded.unwrap();
    }
}
