//! `[[route]]`: paths that do not hide each other, the groups to join, the shapes of events.

use super::{ConfigError, credentials, raw};
use crate::identity::Template;
use crate::protocol::{EventShape, Shape};
use crate::server::{Allow, Route};

/// The checked routes.
pub(super) struct CheckedRoutes {
    /// In the file's order.
    pub(super) routes: Vec<Route>,
    /// What [`Route::shape`] refers to.
    pub(super) shapes: Vec<Shape>,
    /// Claims that `join` names, to be kept of each token.
    pub(super) claims: Vec<String>,
}

/// Checks the routes one by one and against each other.
pub(super) fn build(
    routes: &[raw::RouteTable],
    has_hook: bool,
) -> Result<CheckedRoutes, ConfigError> {
    if routes.is_empty() {
        let expected = "at least one; without the key there is \"/ws\"";
        return Err(ConfigError::value("route", "[]", expected));
    }
    let mut shapes = vec![Shape::verbatim()];
    let mut claims = Vec::new();
    let mut built: Vec<Route> = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let at = format!("route[{index}]");
        let parameters = parameters(&at, &route.path)?;
        if let Some(earlier) = built.iter().find(|earlier| covers(&earlier.path, &route.path)) {
            let expected = format!("a path that the earlier {:?} does not match", earlier.path);
            return Err(ConfigError::value(
                format!("{at}.path"),
                format!("{:?}", route.path),
                expected,
            ));
        }
        let join = credentials::templates(&format!("{at}.join"), &route.join)?;
        check_allow(&at, route.allow, &join, &parameters, has_hook)?;
        for name in join.iter().flat_map(Template::names) {
            if name != "sub" && !parameters.contains(&name) && !claims.iter().any(|c| c == name) {
                claims.push(name.to_owned());
            }
        }
        let shape = shape(&at, route)?;
        let known = shapes.iter().position(|known| *known == shape).unwrap_or_else(|| {
            shapes.push(shape);
            shapes.len() - 1
        });
        built.push(Route {
            path: route.path.clone(),
            join,
            allow: route.allow,
            call_errors: route.call_errors,
            welcome: route.welcome.as_ref().map(|table| welcome(&at, table)).transpose()?,
            shape: u16::try_from(known).map_err(|_| {
                ConfigError::value("route", routes.len(), "at most 65535 different event lists")
            })?,
        });
    }
    Ok(CheckedRoutes { routes: built, shapes, claims })
}

/// The names in braces of a path such as `/ws/chat/{room}/`.
fn parameters<'a>(at: &str, path: &'a str) -> Result<Vec<&'a str>, ConfigError> {
    let wrong = |expected: &str| {
        Err(ConfigError::value(format!("{at}.path"), format!("{path:?}"), expected))
    };
    let Some(rest) = path.strip_prefix('/') else {
        return wrong("a path that begins with '/'");
    };
    let mut names = Vec::new();
    for segment in rest.split('/') {
        match segment.strip_prefix('{').and_then(|open| open.strip_suffix('}')) {
            Some("sub") => return wrong("parameters not called {sub}, which is the token's"),
            Some(name) if is_name(name) && !names.contains(&name) => names.push(name),
            None if segment.chars().all(is_literal) => {}
            _ => {
                return wrong(
                    "segments of letters, digits and -._~, or one different {name} for a whole one",
                );
            }
        }
    }
    Ok(names)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// RFC 3986 section 2.3: characters that no proxy rewrites.
fn is_literal(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~')
}

/// Whether every path that `later` matches is taken by `earlier`.
fn covers(earlier: &str, later: &str) -> bool {
    let (mut earlier, mut later) = (earlier.split('/'), later.split('/'));
    loop {
        match (earlier.next(), later.next()) {
            (None, None) => return true,
            (Some(e), Some(l)) if e == l || (e.starts_with('{') && !l.is_empty()) => {}
            _ => return false,
        }
    }
}

/// A path parameter, which the browser chooses, may fill a group name only where the file allows
/// it.
fn check_allow(
    at: &str,
    allow: Allow,
    join: &[Template],
    parameters: &[&str],
    has_hook: bool,
) -> Result<(), ConfigError> {
    let from_url = join.iter().find(|template| template.names().any(|n| parameters.contains(&n)));
    let at = |name: &str| format!("{at}.{name}");
    match (allow, from_url) {
        (Allow::Hook, _) if !has_hook => {
            let expected = "\"token\" or \"anyone\", or set backend.url and backend.connect: there \
                           is no connect hook to ask";
            Err(ConfigError::value(at("allow"), "\"hook\"", expected))
        }
        (Allow::Token, Some(template)) => {
            let expected = "names without path parameters; or set allow = \"hook\" if the back end \
                           confirms them, allow = \"anyone\" if everybody with a token may join \
                           any group that the URL names";
            Err(ConfigError::value(at("join"), format!("\"{template}\""), expected))
        }
        (Allow::Anyone, None) => {
            let expected = "\"token\", since join uses no path parameter";
            Err(ConfigError::value(at("allow"), "\"anyone\"", expected))
        }
        _ => Ok(()),
    }
}

fn shape(at: &str, route: &raw::RouteTable) -> Result<Shape, ConfigError> {
    let Some(events) = &route.events else {
        return Ok(Shape::verbatim());
    };
    let events = events.iter().map(|(name, event)| {
        let (rename, keep, body) = (event.rename.clone(), event.keep.clone(), event.body.clone());
        (name.clone(), EventShape { rename, keep, body })
    });
    Shape::new(events.collect()).map_err(|error| ConfigError::text(&format!("{at}.events"), error))
}

/// The welcome as JSON text, its members in the order of the file.
fn welcome(at: &str, table: &toml::Table) -> Result<String, ConfigError> {
    if let Some(key) = table.iter().find_map(|(key, value)| not_json(key, value)) {
        let key = format!("{at}.welcome.{key}");
        return Err(ConfigError::problem(key, "is not finite", "a number that JSON can write"));
    }
    Ok(serde_json::to_string(table).expect("tables with JSON's values are serializable"))
}

/// The key of the first number that JSON cannot write. Dates have become text by now.
fn not_json(key: &str, value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::Float(number) if !number.is_finite() => Some(key.to_owned()),
        toml::Value::Array(items) => items.iter().find_map(|item| not_json(key, item)),
        toml::Value::Table(table) => table
            .iter()
            .find_map(|(name, value)| not_json(name, value).map(|rest| format!("{key}.{rest}"))),
        _ => None,
    }
}
