//! Keys of tokens and back ends, and what they are good for.

use super::raw::{self, Word};
use super::secret::{self, Given};
use super::{ConfigError, Place};
use crate::group::GroupPattern;
use crate::identity::{
    self, ApiKeySettings, ApiKeys, GrantRule, KeySettings, Operation, PatternTemplate, Template,
    TemplateError, Verifier,
};

/// The identity room's settings, tried out: what it would refuse at the start is refused here.
pub(super) fn identity(
    raw: &raw::Raw,
    claims: Vec<String>,
    place: &Place,
) -> Result<identity::Settings, ConfigError> {
    let auth = &raw.auth;
    let keys = auth.key.iter().enumerate().map(|(index, key)| token_key(index, key, place));
    let api_keys = raw.api.key.iter().enumerate().map(|(index, key)| api_key(index, key, place));
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

fn token_key(index: usize, key: &raw::AuthKey, place: &Place) -> Result<KeySettings, ConfigError> {
    let at = format!("auth.key[{index}]");
    let given = Given {
        key: &at,
        secret: &key.secret,
        secret_file: &key.secret_file,
        secret_env: &key.secret_env,
    };
    let material = match &key.public_key_file {
        None if key.algorithm.starts_with("HS") => given.resolve(place)?,
        Some(file) if !key.algorithm.starts_with("HS") && !given.any() => {
            secret::read(&format!("{at}.public_key_file"), file, place)?
        }
        _ => {
            let found = format!("for {} with other key material", key.algorithm);
            let allowed = "a secret for HS256 to HS512, or public_key_file alone for any other";
            return Err(ConfigError::value(at, found, allowed));
        }
    };
    Ok(KeySettings { id: key.id.clone(), algorithm: key.algorithm.clone(), material })
}

fn api_key(index: usize, key: &raw::ApiKey, place: &Place) -> Result<ApiKeySettings, ConfigError> {
    let at = format!("api.key[{index}]");
    let given = Given {
        key: &at,
        secret: &key.secret,
        secret_file: &key.secret_file,
        secret_env: &key.secret_env,
    };
    let secret = String::from_utf8(given.resolve(place)?)
        .map_err(|_| ConfigError::value(&at, "a secret that is not UTF-8", "visible ASCII"))?;
    if key.allow.is_empty() {
        let allowed = "some of send, send_user, send_all, members, close, read";
        return Err(ConfigError::value(format!("{at}.allow"), "empty", allowed));
    }
    let pattern = |(place, text): (usize, &String)| pattern(&format!("{at}.groups[{place}]"), text);
    Ok(ApiKeySettings {
        name: key.name.clone(),
        secret,
        groups: key.groups.iter().enumerate().map(pattern).collect::<Result<_, _>>()?,
        allow: key.allow.iter().map(|Word(right)| *right).collect(),
    })
}

/// What every token may do. A `[[grant]]` is one rule for its groups and one for its calls, both
/// with its place in the file for explanations.
fn grants(grants: &[raw::Grant]) -> Result<Vec<GrantRule>, ConfigError> {
    let mut rules = Vec::new();
    for (index, grant) in grants.iter().enumerate() {
        let at = format!("grant[{index}]");
        let operations: Vec<_> = grant.allow.iter().map(|Word(operation)| *operation).collect();
        if operations.contains(&Operation::Call) {
            let allowed =
                "join, send, presence, history; calls = [\"name\"] grants calls by itself";
            return Err(ConfigError::value(format!("{at}.allow"), "\"call\"", allowed));
        }
        let missing = match (operations.is_empty(), grant.groups.is_empty()) {
            (true, false) => {
                Some(("groups without allow", "both: allow = [\"join\"] says what for"))
            }
            (false, true) => {
                Some(("allow without groups", "both: groups = [\"usuario_{sub}\"] says on which"))
            }
            (true, true) if grant.calls.is_empty() => {
                Some(("empty", "allow with groups, or calls, or both"))
            }
            _ => None,
        };
        if let Some((found, allowed)) = missing {
            return Err(ConfigError::value(at, found, allowed));
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

/// Checked templates, each error naming its place in the list.
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

/// A checked pattern.
pub(super) fn pattern(key: &str, text: &str) -> Result<GroupPattern, ConfigError> {
    GroupPattern::parse(text).map_err(|error| ConfigError::text(key, error))
}
