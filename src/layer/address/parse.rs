//! Parses the URL of a Redis as redis-py does, and refuses what that would silently misread.

use std::path::PathBuf;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use super::credentials::{Credentials, Password};
use super::location::Location;
use super::sentinels::Sentinels;
use crate::tls::{ClientCertificate, TlsSettings};

/// Where Redis listens if the URL does not say it.
const PORT: u16 = 6379;

/// Where sentinels listen if the URL does not say it.
const SENTINEL_PORT: u16 = 26_379;

/// What a scheme says about the connection.
struct Scheme {
    kind: Kind,
    is_encrypted: bool,
}

/// What a scheme leads to.
#[derive(Clone, Copy)]
enum Kind {
    Host,
    Socket,
    Sentinels,
}

/// The parts of a URL before anything is decoded.
struct Parts<'a> {
    user_info: Option<&'a str>,
    host: &'a str,
    /// With its slash.
    path: &'a str,
    query: Vec<(&'a str, String)>,
}

/// What a URL says.
pub(super) struct ParsedUrl {
    pub(super) location: Location,
    pub(super) credentials: Credentials,
    pub(super) database: Option<u8>,
    pub(super) tls: Option<TlsSettings>,
}

/// Errors never show more than the name of a part: any other may be a piece of a password.
pub(super) fn parse(url: &str) -> Result<ParsedUrl, String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let Scheme { kind, is_encrypted } = find_scheme(scheme)?;
    let mut parts = Parts::split(rest)?;
    let credentials = parts.credentials()?;
    let database = parts.option("db");
    let (location, in_path) = match kind {
        Kind::Socket => (Location::Socket(socket(&parts)?), None),
        Kind::Host => {
            let (host, port) = host_and_port(parts.host, PORT)?;
            (Location::Host(host, port), parts.path.strip_prefix('/'))
        }
        Kind::Sentinels => {
            let (sentinels, database) = sentinels(&mut parts)?;
            (Location::Sentinels(sentinels), database)
        }
    };
    let in_path = in_path.filter(|path| !path.is_empty());
    // As redis-py: the path counts where no query names the database.
    let database = match database.as_deref().or(in_path) {
        Some(text) => Some(number(text)?),
        None => None,
    };
    let tls = if is_encrypted { Some(tls(&mut parts)?) } else { None };
    parts.nothing_left()?;
    Ok(ParsedUrl { location, credentials, database, tls })
}

fn find_scheme(scheme: &str) -> Result<Scheme, String> {
    let (kind, is_encrypted) = match scheme {
        "redis" | "valkey" => (Kind::Host, false),
        "rediss" | "valkeys" => (Kind::Host, true),
        "redis+unix" | "valkey+unix" | "redis+socket" | "unix" => (Kind::Socket, false),
        "redis-sentinel" | "redis+sentinel" => (Kind::Sentinels, false),
        "rediss-sentinel" | "rediss+sentinel" => (Kind::Sentinels, true),
        _ => {
            let allowed = "\"redis\", \"rediss\", \"redis+unix\", \"redis-sentinel\" and \
                           \"rediss-sentinel\" are allowed";
            return Err(format!("scheme {scheme:?}; {allowed}"));
        }
    };
    Ok(Scheme { kind, is_encrypted })
}

impl<'a> Parts<'a> {
    fn split(rest: &'a str) -> Result<Self, String> {
        if rest.contains('#') {
            return Err("'#' in it; in a password it is written %23".to_owned());
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user_info, host) = match authority.rsplit_once('@') {
            Some((user_info, host)) => (Some(user_info), host),
            None => (None, authority),
        };
        // A password with '/' or '?' ends the part that names the host.
        if path.contains('@') || query.contains('@') {
            return Err("'@' behind the host; in a password '/' is written %2F".to_owned());
        }
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let query = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((name, decoded(value)?))
        });
        Ok(Self { user_info, host, path, query: query.collect::<Result<_, String>>()? })
    }

    /// Takes an option of the query.
    fn option(&mut self, name: &str) -> Option<String> {
        let at = self.query.iter().position(|(known, _)| *known == name)?;
        Some(self.query.remove(at).1)
    }

    fn credentials(&mut self) -> Result<Credentials, String> {
        let (user, password) = match self.user_info {
            Some(text) => {
                let (user, password) = text.split_once(':').unwrap_or((text, ""));
                (decoded(user)?, decoded(password)?)
            }
            None => Default::default(),
        };
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let user = given(user).or_else(|| self.option("username"));
        let password = given(password).or_else(|| self.option("password"));
        Ok(Credentials { user, password: password.map(Password::Text) })
    }

    /// An option that is ignored would be missed by whoever wrote it.
    fn nothing_left(&self) -> Result<(), String> {
        match self.query.first() {
            Some((name, _)) => {
                let known = "db, username, password and, of TLS, ssl_ca_certs, ssl_certfile, \
                             ssl_keyfile and ssl_cert_reqs=required are known; of sentinels \
                             sentinel_username, sentinel_password and sentinel_password_file";
                Err(format!("option {name:?} in it; {known}"))
            }
            None => Ok(()),
        }
    }
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| "a part is not UTF-8".to_owned())
}

fn host_and_port(authority: &str, default: u16) -> Result<(String, u16), String> {
    if authority.contains(',') {
        let why = "several servers; one is allowed, or the sentinels of one, by redis-sentinel://";
        return Err(why.to_owned());
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("'[' without ']'")?;
            (host, port.strip_prefix(':').unwrap_or(port))
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let port = match port {
        "" => default,
        port => port.parse().map_err(|_| "the port is no number from 1 to 65535")?,
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if host.is_empty() || !host.chars().all(legal) || port == 0 {
        return Err("no host; redis://host:6379 has one".to_owned());
    }
    Ok((host.to_owned(), port))
}

/// The sentinels, and what the path says of the database: `/mymaster/3`.
fn sentinels<'a>(parts: &mut Parts<'a>) -> Result<(Sentinels, Option<&'a str>), String> {
    let nodes = parts.host.split(',').map(|node| host_and_port(node, SENTINEL_PORT));
    let nodes = nodes.collect::<Result<_, _>>().map_err(|_| {
        "a sentinel without a legal host or port; redis-sentinel://one:26379,two:26379/mymaster \
         has two"
    })?;
    let path = parts.path.strip_prefix('/').unwrap_or_default();
    let (service, database) = match path.split_once('/') {
        Some((service, database)) => (service, Some(database)),
        None => (path, None),
    };
    let service = decoded(service)?;
    if service.is_empty() {
        let why = "no name of a primary; it is the path, as in redis-sentinel://host/mymaster";
        return Err(why.to_owned());
    }
    let password = parts.option("sentinel_password").map(Password::Text);
    let file = parts.option("sentinel_password_file").map(|path| Password::File(path.into()));
    if password.is_some() && file.is_some() {
        let why = "sentinel_password and sentinel_password_file in it; one is allowed";
        return Err(why.to_owned());
    }
    let user = parts.option("sentinel_username");
    let credentials = Credentials { user, password: password.or(file) };
    Ok((Sentinels { nodes, service, credentials, known: Arc::default() }, database))
}

fn socket(parts: &Parts<'_>) -> Result<PathBuf, String> {
    let path = decoded(parts.path)?;
    if !parts.host.is_empty() || path.len() < 2 {
        return Err("no path; redis+unix:///run/redis.sock has one".to_owned());
    }
    Ok(PathBuf::from(path))
}

fn number(text: &str) -> Result<u8, String> {
    text.parse().map_err(|_| {
        "the database is no number; it is the path, as in redis://host:6379/3, or db=3".to_owned()
    })
}

/// The options with which redis-py names the files.
fn tls(parts: &mut Parts<'_>) -> Result<TlsSettings, String> {
    match parts.option("ssl_cert_reqs").as_deref() {
        None | Some("required" | "CERT_REQUIRED") => {}
        Some(_) => {
            let why = "ssl_cert_reqs other than required in it; the server's certificate is always \
                       checked, against a CA file where the system does not know its authority";
            return Err(why.to_owned());
        }
    }
    let [certificate, key] =
        ["ssl_certfile", "ssl_keyfile"].map(|name| parts.option(name).map(PathBuf::from));
    let certificate = match (certificate, key) {
        (Some(certificate_file), Some(key_file)) => {
            Some(ClientCertificate { certificate_file, key_file })
        }
        (None, None) => None,
        _ => return Err("one of ssl_certfile and ssl_keyfile without the other".to_owned()),
    };
    let ca_file = parts.option("ssl_ca_certs").map(PathBuf::from);
    Ok(TlsSettings { ca_file, certificate, server_name: None })
}
