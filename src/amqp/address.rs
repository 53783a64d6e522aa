//! The address of a broker, read as Celery reads it.

use std::fmt;

use lapin::uri::{AMQPScheme, AMQPUri};

use crate::tls::{self, TlsError, TlsSettings};

/// Seconds between two heartbeats, unless the address has `?heartbeat=`. A broker that has vanished
/// is noticed after two.
const HEARTBEAT: u16 = 10;

/// `amqp://[user[:password]@]host[:port][/vhost]`, or `amqps://`. Never shown: it may hold a
/// password.
#[derive(Clone)]
pub(crate) struct AmqpAddress {
    uri: AMQPUri,
    /// `None` = in clear.
    tls: Option<TlsSettings>,
}

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AmqpAddressError {
    /// No URL that AMQP knows.
    #[error("it is no amqp://[user[:password]@]host[:port][/vhost], nor amqps://")]
    Malformed,
    /// Settings of TLS with an address in clear.
    #[error("certificates are for amqps:// only")]
    InClear,
}

impl AmqpAddress {
    /// Reads an address; `pyamqp://` and `py-amqp://`, other names of Celery's, are the same.
    ///
    /// # Errors
    /// None of them shows the address.
    pub(crate) fn parse(text: &str) -> Result<Self, AmqpAddressError> {
        let plain = text.strip_prefix("py-").or_else(|| text.strip_prefix("py")).unwrap_or(text);
        let mut uri: AMQPUri = plain.parse().map_err(|_| AmqpAddressError::Malformed)?;
        let tls = (uri.scheme == AMQPScheme::AMQPS).then(TlsSettings::default);
        // The stream is made here; lapin is to speak AMQP over it, and nothing else.
        uri.scheme = AMQPScheme::AMQP;
        if let Some(host) = bracketed(plain) {
            host.clone_into(&mut uri.authority.host);
        }
        // `amqp://host/` is the default virtual host to Celery, one without a name to lapin.
        if uri.vhost.is_empty() {
            uri.vhost.push('/');
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        Ok(Self { uri, tls })
    }

    /// The same with these files.
    ///
    /// # Errors
    /// It is in clear.
    pub(crate) fn with_tls(self, tls: TlsSettings) -> Result<Self, AmqpAddressError> {
        match self.tls {
            Some(_) => Ok(Self { tls: Some(tls), ..self }),
            None => Err(AmqpAddressError::InClear),
        }
    }

    /// Checks that the files can be used at this moment.
    ///
    /// # Errors
    /// The first fault.
    pub(crate) fn check_files(&self) -> Result<(), TlsError> {
        self.tls.as_ref().map_or(Ok(()), tls::check)
    }

    pub(super) fn tls(&self) -> Option<&TlsSettings> {
        self.tls.as_ref()
    }

    /// Where the broker is.
    pub(super) fn authority(&self) -> (String, u16) {
        (self.uri.authority.host.clone(), self.uri.authority.port)
    }

    /// Whether an address is meant to be one of these.
    pub(crate) fn is_meant(text: &str) -> bool {
        let scheme = text.split("://").next().unwrap_or_default();
        matches!(scheme, "amqp" | "amqps" | "pyamqp" | "py-amqp")
    }

    /// The name of the virtual host.
    pub(crate) fn vhost(&self) -> String {
        self.uri.vhost.clone()
    }

    pub(super) fn uri(&self) -> AMQPUri {
        self.uri.clone()
    }
}

/// A literal IPv6 address, which lapin overlooks: it would connect to localhost.
fn bracketed(text: &str) -> Option<&str> {
    let authority = text.split_once("://")?.1.split('/').next()?;
    let host = authority.rsplit('@').next()?;
    host.strip_prefix('[')?.split_once(']').map(|(host, _)| host)
}

impl fmt::Debug for AmqpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "amqps" } else { "amqp" };
        write!(f, "{scheme}://{}:{}", self.uri.authority.host, self.uri.authority.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> AMQPUri {
        AmqpAddress::parse(text).unwrap().uri()
    }

    #[test]
    fn reads_an_address_as_celery_does() {
        for text in ["amqp://h", "amqp://h/", "amqp://h//", "pyamqp://h/%2f", "py-amqp://h"] {
            assert_eq!((read(text).vhost, read(text).authority.port), ("/".to_owned(), 5672));
        }
        let uri = read("amqp://ana:p%40ss@10.0.0.1:5673/shop?heartbeat=30");
        assert_eq!((uri.vhost.as_str(), uri.authority.host.as_str()), ("shop", "10.0.0.1"));
        assert_eq!(uri.authority.userinfo.password, "p@ss");
        assert_eq!(uri.query.heartbeat, Some(30));
        assert_eq!(read("amqp://a:b@[::1]:5673/").authority.host, "::1");
    }

    #[test]
    fn refuses_what_it_cannot_use_without_showing_it() {
        for (text, error) in
            [("rpc://", AmqpAddressError::Malformed), ("amqp:secret", AmqpAddressError::Malformed)]
        {
            assert_eq!(AmqpAddress::parse(text).err(), Some(error));
        }
        let shown = |text| format!("{:?}", AmqpAddress::parse(text).unwrap());
        assert_eq!(shown("amqp://ana:secret@h/shop"), "amqp://h:5672");
        assert_eq!(shown("amqps://ana:secret@h/shop"), "amqps://h:5671");
        let in_clear = AmqpAddress::parse("amqp://h").unwrap().with_tls(TlsSettings::default());
        assert_eq!(in_clear.err(), Some(AmqpAddressError::InClear));
    }
}
