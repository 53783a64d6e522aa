//! `groupcast token`: a token signed with a configured key.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use groupcast::config::parse_period;
use groupcast::group::{GroupName, GroupPattern};
use groupcast::identity::{self, KeySettings, Operation, Verifier};
use serde_json::{Map, Value, json};

use super::{ConfigFile, Failure};
use groupcast::clock::unix_seconds;

/// Print a token that the gateway accepts, signed with a configured HS key
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  groupcast token --sub 7
  groupcast token --sub 7 --groups user_7,room_1 --expires 15m
  groupcast token --sub 7 --grant join=order.* --grant send=room_1 --claim tenant=north")]
pub(super) struct Token {
    #[command(flatten)]
    file: ConfigFile,
    /// The user whose token it is
    #[arg(long)]
    sub: String,
    /// Groups that the gateway joins on connect, separated by commas
    #[arg(long, value_delimiter = ',', value_parser = parse_group, value_name = "NAME,…")]
    groups: Vec<String>,
    /// A grant in addition to those of the configuration; may be repeated
    #[arg(long = "grant", value_parser = parse_grant, value_name = "OPERATION=PATTERN")]
    grants: Vec<(Operation, String)>,
    /// How long the token is valid
    #[arg(long, value_parser = parse_expires, default_value = "1h", value_name = "TIME")]
    expires: Duration,
    /// A further claim; the value is JSON, or text if it is not; may be repeated
    #[arg(long = "claim", value_parser = parse_claim, value_name = "NAME=VALUE")]
    claims: Vec<(String, Value)>,
    /// Id of the key to sign with [default: the first HS key]
    #[arg(long, value_name = "ID")]
    key: Option<String>,
}

impl Token {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let settings = self.file.load()?.identity;
        let key = self.signing_key(&settings).map_err(Failure::configuration)?;
        let claims = self.claims(&settings);
        let token = identity::sign(key, &claims).map_err(Failure::start)?;
        // A --claim may have replaced one that the gateway requires.
        let verifier = Verifier::new(&settings).map_err(Failure::configuration)?;
        if let Err(refusal) = verifier.verify(&token, unix_seconds()) {
            return Err(Failure::start(format!("the gateway would refuse this token: {refusal}")));
        }
        println!("{token}");
        Ok(ExitCode::SUCCESS)
    }

    fn signing_key<'a>(&self, settings: &'a identity::Settings) -> Result<&'a KeySettings, String> {
        let shared = |key: &&KeySettings| key.algorithm.starts_with("HS");
        let wanted = |key: &&KeySettings| self.key.as_ref().is_none_or(|id| *id == key.id);
        settings.keys.iter().filter(shared).find(wanted).ok_or_else(|| match &self.key {
            Some(id) => format!("auth.key has no HS key with the id {id:?}"),
            None => "auth.key has no HS key, and the gateway has no private keys".to_owned(),
        })
    }

    fn claims(self, settings: &identity::Settings) -> Map<String, Value> {
        let mut claims = Map::new();
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        put("sub", json!(self.sub));
        put("iat", json!(unix_seconds()));
        put("exp", json!(unix_seconds() + self.expires.as_secs()));
        for (name, accepted) in [("aud", &settings.audience), ("iss", &settings.issuer)] {
            if let Some(first) = accepted.first() {
                put(name, json!(first));
            }
        }
        if !self.groups.is_empty() {
            put(&settings.groups_claim, json!(self.groups));
        }
        let mut grants = Map::new();
        for (operation, pattern) in self.grants {
            let patterns = grants.entry(operation.as_str()).or_insert_with(|| json!([]));
            patterns.as_array_mut().expect("a list, as set above").push(json!(pattern));
        }
        if !grants.is_empty() {
            put(&settings.grants_claim, Value::Object(grants));
        }
        for (name, value) in self.claims {
            put(&name, value);
        }
        claims
    }
}

fn parse_group(text: &str) -> Result<String, String> {
    GroupName::parse(text).map(|name| name.to_string()).map_err(|error| error.to_string())
}

fn parse_grant(text: &str) -> Result<(Operation, String), String> {
    let (operation, pattern) =
        text.split_once('=').ok_or("expected OPERATION=PATTERN, such as join=order.*")?;
    let operation = operation.parse::<Operation>().map_err(|error| error.to_string())?;
    GroupPattern::parse(pattern).map_err(|error| error.to_string())?;
    Ok((operation, pattern.to_owned()))
}

pub(super) fn parse_claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, such as tenant=north")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

fn parse_expires(text: &str) -> Result<Duration, String> {
    let period = parse_period(text).filter(|period| *period >= Duration::from_secs(1));
    period.ok_or_else(|| "expected a time of at least a second, such as 15m or 1h".to_owned())
}
