//! The address of a Redis as the layer uses it.

use std::fmt;
use std::path::PathBuf;

use super::credentials::{Credentials, Password};
use super::location::Location;
use super::parse::{ParsedUrl, parse};
use super::sentinels::Sentinels;
use crate::layer::LayerError;
use crate::tls::{self, TlsSettings};

/// The address of one server, or of the sentinels that know it, from a URL and the files beside it.
/// Never shown whole: it may hold passwords.
#[derive(Clone, PartialEq)]
pub struct RedisAddress {
    pub(in crate::layer) location: Location,
    pub(in crate::layer) credentials: Credentials,
    /// The database; `None` = 0, without asking for it.
    pub(in crate::layer) database: Option<u8>,
    /// `None` = in clear text.
    pub(in crate::layer) tls: Option<TlsSettings>,
}

impl RedisAddress {
    /// Reads a URL, as redis-py does where that is possible.
    ///
    /// # Errors
    /// [`LayerError::Url`], which shows no password.
    pub(crate) fn parse(url: &str) -> Result<Self, LayerError> {
        let ParsedUrl { location, credentials, database, tls } =
            parse(url).map_err(LayerError::Url)?;
        Ok(Self { location, credentials, database, tls })
    }

    /// What the sentinels are asked, if there are any.
    pub(in crate::layer) fn asked(&self) -> Option<&Sentinels> {
        match &self.location {
            Location::Sentinels(sentinels) => Some(sentinels),
            Location::Host(..) | Location::Socket(_) => None,
        }
    }

    /// The sentinels that know where the server is, if any do, as addresses of their own.
    pub(crate) fn sentinels(&self) -> Vec<Self> {
        let Location::Sentinels(sentinels) = &self.location else { return Vec::new() };
        let address = |(host, port): &(String, u16)| Self {
            location: Location::Host(host.clone(), *port),
            credentials: sentinels.credentials.clone(),
            database: None,
            tls: self.tls.clone(),
        };
        sentinels.nodes.iter().map(address).collect()
    }

    /// Whether connections are encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether both lead to the same database, as far as their texts show.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        self.location == other.location && self.database() == other.database()
    }

    /// The number of the database.
    pub(crate) fn database(&self) -> u8 {
        self.database.unwrap_or(0)
    }

    /// Logs in with what `file` holds at each connection, instead of a password in the URL.
    ///
    /// # Errors
    /// [`LayerError::Url`] if the URL has a password, too.
    pub(crate) fn with_password_file(mut self, file: PathBuf) -> Result<Self, LayerError> {
        if self.credentials.password.is_some() {
            let why = "it has a password, and there is a password file".to_owned();
            return Err(LayerError::Url(why));
        }
        self.credentials.password = Some(Password::File(file));
        Ok(self)
    }

    /// The files of TLS.
    ///
    /// # Errors
    /// [`LayerError::Url`] if the URL is none of TLS, or names files itself.
    pub(crate) fn with_tls(mut self, tls: TlsSettings) -> Result<Self, LayerError> {
        match &self.tls {
            Some(of_url) if *of_url == TlsSettings::default() => self.tls = Some(tls),
            Some(_) => {
                let why = "it names files of TLS, and so does the configuration".to_owned();
                return Err(LayerError::Url(why));
            }
            None => {
                let why = "there are settings of TLS, which begins with rediss://".to_owned();
                return Err(LayerError::Url(why));
            }
        }
        Ok(self)
    }

    /// Checks that the files can be used at this moment.
    ///
    /// # Errors
    /// What is wrong with the first, by its name.
    pub(crate) fn check_files(&self) -> Result<(), String> {
        self.credentials.password()?;
        if let Location::Sentinels(sentinels) = &self.location {
            sentinels.credentials.password()?;
        }
        match &self.tls {
            Some(tls) => tls::check(tls).map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }
}

/// The location alone.
impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.location.fmt(f)
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisAddress")
            .field("location", &self.location.to_string())
            .finish_non_exhaustive()
    }
}
