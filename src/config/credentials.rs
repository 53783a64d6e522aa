//! Keys of tokens and back ends, and their grants.

use super::raw::{self, Keyword};
use super::secret::{self, HasSecret};
use super::{ConfigError, ReferenceContext};
use crate::group::GroupPattern;
use crate::identity::{
    self, ApiKeySettings, ApiKeys, GrantRule, KeySettings, Operation, PatternTemplate, Template,
    TemplateError, Verifier,
};

/// The settings of `identity`, checked by it, so that nothing is refused later at startup.
pub(super) fn identity(
    raw: &raw::Raw,
    claims: Vec<String>,
    context: &ReferenceContext,
) -> Result<identity::Settings, ConfigError> {
    let auth = &raw.auth;
    let keys = auth.key.iter().enumerate().map(|(index, key)| token_key(index, key, context));
    let api_keys = raw.api.key.iter().enumerate().map(|(index, key)| api_key(index, key, context));
    let settings = identity::Settings {
        keys: keys.collect::<Result<_, _>>()?,
        audience: auth.audience.clone(),
        issuer: auth.issuer.clone(),
        leeway: auth.leeway.0,
        groups_claim: auth.groups_claim.clone(),
        grants_claim: auth.grants_claim.clone(),
        claims,
        grants: grants(&raw.grant)?,
        api_keys: api_keys.collect::<Result<_, _>>()?,
    };
    Verifier::new(&settings).map_err(|error| ConfigError::text("auth", error))?;
    ApiKeys::new(&settings.api_keys).map_err(|error| ConfigError::text("api.key", error))?;
    Ok(settings)
}

fn token_key(
    index: usize,
    key: &raw::AuthKeyTable,
    context: &ReferenceContext,
) -> Result<KeySettings, ConfigError> {
    let at = format!("auth.key[{index}]");
    let secret = key.secret_keys();
    let material = match &key.public_key_file {
        None if key.algorithm.starts_with("HS") => secret.resolve(&at, context)?,
        Some(file) if !key.algorithm.starts_with("HS") && !secret.any() => {
            secret::read(&format!("{at}.public_key_file"), file, context)?
        }
        _ => {
            let problem = format!("has the wrong kind of key for {}", key.algorithm);
            let expected = "a secret for HS256 to HS512, public_key_file alone for any other";
            return Err(ConfigError::problem(at, problem, expected));
        }
    };
    Ok(KeySettings { id: key.id.clone(), algorithm: key.algorithm.clone(), material })
}

fn api_key(
    index: usize,
    key: &raw::ApiKeyTable,
    context: &ReferenceContext,
) -> Result<ApiKeySettings, ConfigError> {
    let at = format!("api.key[{index}]");
    let secret = String::from_utf8(key.secret_keys().resolve(&at, context)?).map_err(|_| {
        ConfigError::problem(&at, "has a secret that is not UTF-8", "visible ASCII")
    })?;
    if key.allow.is_empty() {
        let expected = "some of send, send_user, send_all, members, close, read, console, tasks";
        return Err(ConfigError::value(format!("{at}.allow"), "[]", expected));
    }
    let pattern = |(index, text): (usize, &String)| pattern(&format!("{at}.groups[{index}]"), text);
    Ok(ApiKeySettings {
        name: key.name.clone(),
        secret,
        groups: key.groups.iter().enumerate().map(pattern).collect::<Result<_, _>>()?,
        allow: key.allow.iter().map(|Keyword(right)| *right).collect(),
    })
}

/// The grants of every token. A `[[grant]]` becomes one rule for its groups and one for its calls,
/// both with its index in the file for explanations.
fn grants(grants: &[raw::GrantTable]) -> Result<Vec<GrantRule>, ConfigError> {
    let mut rules = Vec::new();
    for (index, grant) in grants.iter().enumerate() {
        let at = format!("grant[{index}]");
        let operations: Vec<_> = grant.allow.iter().map(|Keyword(operation)| *operation).collect();
        if operations.contains(&Operation::Call) {
            let expected = "join, send, presence, history; calls are granted by calls = [\"name\"]";
            return Err(ConfigError::value(format!("{at}.allow"), "[\"call\"]", expected));
        }
        let missing = match (operations.is_empty(), grant.groups.is_empty()) {
            (true, false) => Some(("has groups without allow", "both, such as allow = [\"join\"]")),
            (false, true) => {
                Some(("has allow without groups", "both, such as groups = [\"user_{sub}\"]"))
            }
            (true, true) if grant.calls.is_empty() => {
                Some(("is empty", "allow with groups, or calls, or both"))
            }
            _ => None,
        };
        if let Some((problem, expected)) = missing {
            return Err(ConfigError::problem(at, problem, expected));
        }
        if !operations.is_empty() {
            let names = patterns(&format!("{at}.groups"), &grant.groups)?;
            rules.push(GrantRule { origin: at.clone(), operations, names });
        }
        if !grant.calls.is_empty() {
            let names = patterns(&format!("{at}.calls"), &grant.calls)?;
            rules.push(GrantRule { origin: at, operations: vec![Operation::Call], names });
        }
    }
    Ok(rules)
}

fn patterns(at: &str, texts: &[String]) -> Result<Vec<PatternTemplate>, ConfigError> {
    parse_all(at, texts, PatternTemplate::parse)
}

/// Parses templates; an error names the index in the list.
pub(super) fn templates(at: &str, texts: &[String]) -> Result<Vec<Template>, ConfigError> {
    parse_all(at, texts, Template::parse)
}

fn parse_all<T>(
    at: &str,
    texts: &[String],
    parse: fn(&str) -> Result<T, TemplateError>,
) -> Result<Vec<T>, ConfigError> {
    let parse = |(index, text): (usize, &String)| {
        parse(text).map_err(|error| ConfigError::text(&format!("{at}[{index}]"), error))
    };
    texts.iter().enumerate().map(parse).collect()
}

/// Parses the pattern of `key`.
pub(super) fn pattern(key: &str, text: &str) -> Result<GroupPattern, ConfigError> {
    GroupPattern::parse(text).map_err(|error| ConfigError::text(key, error))
}
