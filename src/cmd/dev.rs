//! `groupcast dev`: the gateway on this machine alone, with everything needed to try it printed.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use clap::Args;
use groupcast::Listeners;
use groupcast::config::Config;
use groupcast::group::{GroupName, GroupPattern};
use groupcast::identity::{self, ApiKeySettings, KeySettings, Right};
use groupcast::layer::{self, RedisSettings};
use groupcast::server::DevSettings;
use groupcast::telemetry::LogFormat;
use serde_json::json;

use super::language::Language;
use super::{ConfigFile, Failure, now, random, random_text, serve};

/// Try the gateway: one process, this machine only, nothing to configure
///
/// Makes keys for this run, prints the page to open, a token and a line that publishes. Routes,
/// grants and limits are taken from gateway.toml if there is one; its keys are not, but with
/// --backend.
///
/// With --backend everything that is no WebSocket goes on to that site, so that pages, cookies, CSRF
/// tokens and sockets have one origin, as they will behind a proxy; the connect hook and calls go
/// there too, as [backend] in gateway.toml says. With --redis, what Django and Celery group_send on
/// that Redis arrives.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  groupcast dev
  groupcast dev --port 9000 --api-port 9001 --sub ana
  groupcast dev --backend http://127.0.0.1:8000 --redis redis://127.0.0.1:6379")]
pub(super) struct Dev {
    #[command(flatten)]
    file: ConfigFile,
    /// Port for browsers; 0 = any that is free
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Port for back ends; 0 = any that is free
    #[arg(long, default_value_t = 8081)]
    api_port: u16,
    /// The site beside the gateway, such as Django's runserver
    #[arg(long, value_name = "URL", value_parser = parse_site)]
    backend: Option<String>,
    /// The Redis of Django's channel layer; without it everything stays in this process
    #[arg(long, value_name = "URL", value_parser = parse_redis)]
    redis: Option<RedisSettings>,
    /// Whose token is printed; it joins usuario_<SUB>
    #[arg(long, default_value = "7", value_parser = parse_sub)]
    sub: String,
}

/// A working day: nobody renews a token by hand.
const TOKEN_LIFETIME: u64 = 12 * 3600;

impl Dev {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let mut config = self.file.load()?;
        let key = KeySettings {
            id: "dev".to_owned(),
            algorithm: "HS256".to_owned(),
            material: random::<32>().map_err(Failure::start)?.to_vec(),
        };
        let group = format!("usuario_{}", self.sub);
        let token = self.token(&key, &group, &config.identity).map_err(Failure::start)?;
        let secret = random_text::<24>().map_err(Failure::start)?;
        self.adapt(&mut config, key, &secret);
        let path = config.server.routes.first().map(|route| route.path.clone());
        config.server.dev = Some(DevSettings {
            token: token.clone(),
            sub: self.sub.clone(),
            group: group.clone(),
            path: path.unwrap_or_default(),
            api_key: secret.clone(),
            site: self.backend.clone(),
        });
        let _log = config.log.start().map_err(Failure::start)?;
        let greeting = Banner { sub: self.sub, token, secret, group, site: self.backend };
        serve::run(config, |listeners| greeting.say(listeners))
    }

    /// Loopback, the keys of this run and logs out of the way of what is printed.
    fn adapt(&self, config: &mut Config, key: KeySettings, secret: &str) {
        config.server.public = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        config.server.api = SocketAddr::from((Ipv4Addr::LOCALHOST, self.api_port));
        config.log.format = LogFormat::Text;
        if self.backend.is_none() {
            // The site has the file's keys; nobody else needs them here.
            config.identity.keys.clear();
            config.identity.api_keys.clear();
        }
        config.identity.keys.push(key);
        config.identity.api_keys.push(ApiKeySettings {
            name: "dev".to_owned(),
            secret: secret.to_owned(),
            groups: vec![GroupPattern::parse("*").expect("'*' is a pattern")],
            allow: Right::ALL.to_vec(),
        });
        if let Some(site) = &self.backend
            && !config.backend.url.is_empty()
        {
            config.backend.url = format!("http://{site}");
        }
        if let Some(redis) = &self.redis {
            let channels = &mut config.channels.channels;
            if !channels.core && !channels.pubsub {
                channels.core = true;
                channels.groups = vec![GroupPattern::parse("*").expect("'*' is a pattern")];
            }
            let mut redis = redis.clone();
            config.channels.prepare(&mut redis);
            config.layer.kind = layer::Kind::Redis(redis);
        }
    }

    /// A token that may do whatever there is to try.
    fn token(
        &self,
        key: &KeySettings,
        group: &str,
        settings: &identity::Settings,
    ) -> Result<String, identity::IdentityError> {
        let mut claims = json!({
            "sub": self.sub,
            "exp": now() + TOKEN_LIFETIME,
            (settings.groups_claim.as_str()): [group],
            (settings.grants_claim.as_str()): {"join": "*", "send": "*", "presence": "*", "history": "*"},
        });
        for (name, accepted) in [("aud", &settings.audience), ("iss", &settings.issuer)] {
            if let Some(first) = accepted.first() {
                claims[name] = json!(first);
            }
        }
        identity::sign(key, &claims)
    }
}

/// What is printed once both doors are open.
struct Banner {
    sub: String,
    token: String,
    secret: String,
    group: String,
    site: Option<String>,
}

impl Banner {
    fn say(&self, listeners: &Listeners) -> io::Result<()> {
        let Self { sub, token, secret, group, site } = self;
        let language = Language::of_environment();
        let (public, api) = (listeners.public_addr()?, listeners.api_addr()?);
        let say = |english, spanish| language.pick(english, spanish);
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "{}",
            say(
                "Groupcast is up, on this machine only.",
                "Groupcast está en marcha, solo en esta máquina.",
            )
        )?;
        writeln!(out, "\n  {:<12} http://{public}/", say("Page", "Página"))?;
        if let Some(site) = site {
            writeln!(out, "  {:<12} http://{site}", say("Site", "Sitio"))?;
        }
        writeln!(
            out,
            "  {:<12} {sub}, {} {group}",
            say("User", "Usuario"),
            say("in group", "en el grupo")
        )?;
        writeln!(out, "  {:<12} {token}", "Token")?;
        writeln!(out, "\n{}\n", say("Publish an event:", "Publicar un evento:"))?;
        writeln!(out, "  curl http://{api}/groups/{group}/send \\")?;
        writeln!(out, "    -H 'Authorization: Bearer {secret}' \\")?;
        writeln!(out, "    -H 'Content-Type: application/json' \\")?;
        writeln!(out, "    -d '{{\"type\":\"aviso\",\"texto\":\"{}\"}}'", say("hello", "hola"))?;
        writeln!(out, "\n{}\n", say("Ctrl-C ends it.", "Ctrl-C lo termina."))?;
        out.flush()
    }
}

/// `host:port` of `http://host:port`.
fn parse_site(url: &str) -> Result<String, String> {
    let host = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    match host {
        Some(host) if !host.is_empty() && host.chars().all(legal) => Ok(host.to_owned()),
        _ => Err("http://host:port is required, such as http://127.0.0.1:8000".to_owned()),
    }
}

fn parse_redis(url: &str) -> Result<RedisSettings, String> {
    RedisSettings::new(url).map_err(|error| error.to_string())
}

fn parse_sub(sub: &str) -> Result<String, String> {
    match GroupName::parse(&format!("usuario_{sub}")) {
        Ok(_) if !sub.is_empty() => Ok(sub.to_owned()),
        _ => Err("letters, digits, '_', '.' and '-' make a group name; at most 91 of them".into()),
    }
}
