//! `groupcast dev`: its options, and its output once the gateway listens.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use groupcast::Listeners;
use groupcast::dev::{Options, Session, SiteAddress};
use groupcast::group::GroupName;
use groupcast::layer::RedisSettings;

use super::language::Language;
use super::{ConfigFile, Failure, serve};

/// Try the gateway on this machine, without any configuration
///
/// Creates keys for this run, and prints a page to open, a token and a curl command that publishes.
/// Routes, grants and limits come from gateway.toml if it exists; its keys only with --backend.
///
/// With --backend, all requests except WebSockets are forwarded to that site, so that pages,
/// cookies, CSRF tokens and WebSockets share one origin, as behind a proxy. The connect hook and
/// calls go there, too, as configured under [backend]. With --redis, the gateway receives what
/// Django and Celery send to groups over that Redis.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  groupcast dev
  groupcast dev --port 9000 --api-port 9001 --sub ana
  groupcast dev --backend http://127.0.0.1:8000 --redis redis://127.0.0.1:6379")]
pub(super) struct Dev {
    #[command(flatten)]
    file: ConfigFile,
    /// Port for browsers; 0 = any free port
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Port for back ends; 0 = any free port
    #[arg(long, default_value_t = 8081)]
    api_port: u16,
    /// Address of the site, such as Django's runserver
    #[arg(long, value_name = "URL")]
    backend: Option<SiteAddress>,
    /// A further name of this machine that requests may use as Host; may be repeated
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// The Redis of Django's channel layer [default: none, events stay in this process]
    #[arg(long, value_name = "URL", value_parser = parse_redis)]
    redis: Option<RedisSettings>,
    /// Subject of the printed token, which joins user_<SUB>
    #[arg(long, default_value = "7", value_parser = parse_sub)]
    sub: String,
}

impl Dev {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let mut config = self.file.load()?;
        let options = Options {
            public_port: self.port,
            api_port: self.api_port,
            sub: self.sub,
            site: self.backend,
            hosts: self.hosts,
            redis: self.redis,
        };
        let session = Session::start(&options, &mut config).map_err(Failure::start)?;
        let _log = config.log.start().map_err(Failure::start)?;
        serve::block_on(async {
            let stop = super::signals::stop().map_err(Failure::start)?;
            let listeners = Listeners::bind(&config).map_err(Failure::start)?;
            print(&session, &listeners).map_err(Failure::start)?;
            let run = groupcast::run_dev(config, listeners, session, stop);
            run.await.map_err(Failure::start)
        })
    }
}

fn print(session: &Session, listeners: &Listeners) -> io::Result<()> {
    let Session { token, sub, group, api_key, site, .. } = session;
    let language = Language::of_environment();
    let (public, api) = (listeners.public_addr()?, listeners.api_addr()?);
    let pick = |english, spanish| language.pick(english, spanish);
    let mut out = io::stdout().lock();
    let heading = pick(
        "Groupcast is running, on this machine only.",
        "Groupcast está en marcha, solo en esta máquina.",
    );
    writeln!(out, "{heading}")?;
    writeln!(out, "\n  {:<12} http://{public}/", pick("Page", "Página"))?;
    if let Some(site) = site {
        writeln!(out, "  {:<12} http://{site}", pick("Site", "Sitio"))?;
    }
    let joined = pick("in group", "en el grupo");
    writeln!(out, "  {:<12} {sub}, {joined} {group}", pick("User", "Usuario"))?;
    writeln!(out, "  {:<12} {token}", "Token")?;
    writeln!(out, "\n{}\n", pick("Publish an event:", "Publicar un evento:"))?;
    writeln!(out, "  curl http://{api}/groups/{group}/send \\")?;
    writeln!(out, "    -H 'Authorization: Bearer {api_key}' \\")?;
    writeln!(out, "    -H 'Content-Type: application/json' \\")?;
    writeln!(out, "    -d '{{\"type\":\"aviso\",\"texto\":\"{}\"}}'", pick("hello", "hola"))?;
    writeln!(out, "\n{}\n", pick("Press Ctrl-C to stop.", "Pulsa Ctrl-C para detenerlo."))?;
    out.flush()
}

fn parse_redis(url: &str) -> Result<RedisSettings, String> {
    RedisSettings::new(url).map_err(|error| error.to_string())
}

fn parse_sub(sub: &str) -> Result<String, String> {
    match GroupName::parse(&format!("user_{sub}")) {
        Ok(_) if !sub.is_empty() => Ok(sub.to_owned()),
        _ => Err("expected 1 to 91 letters, digits, '_', '.' or '-'".into()),
    }
}
