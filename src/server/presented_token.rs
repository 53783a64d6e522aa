//! Finds the token of a handshake, and whether browsers send it automatically.

use axum::http::header::{AUTHORIZATION, COOKIE, HeaderMap};

use super::Settings;

/// A token found in a handshake.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PresentedToken {
    pub(super) token: String,
    /// Whether browsers send it automatically for any page, so that the origin must be checked.
    pub(super) ambient: bool,
}

/// Looks at `Authorization`, then the configured cookie, then the configured query parameter.
pub(super) fn find(
    settings: &Settings,
    headers: &HeaderMap,
    query: &str,
) -> Option<PresentedToken> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some((scheme, token)) = bearer.and_then(|value| value.split_once(' '))
        && scheme.eq_ignore_ascii_case("bearer")
    {
        return Some(PresentedToken { token: token.trim().to_owned(), ambient: false });
    }
    if !settings.token_cookie.is_empty()
        && let Some(token) = cookie(headers, &settings.token_cookie)
    {
        return Some(PresentedToken { token, ambient: true });
    }
    let name = &settings.token_parameter;
    if name.is_empty() {
        return None;
    }
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    // A JWT consists of characters that URLs do not encode.
    let (_, token) = pairs.find(|(key, _)| key == name)?;
    Some(PresentedToken { token: token.to_owned(), ambient: false })
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| key.trim() == name)?;
    Some(value.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            token_cookie: "ws_token".to_owned(),
            token_parameter: "token".to_owned(),
            ..Settings::default()
        }
    }

    fn found(name: &'static str, value: &'static str, query: &str) -> Option<(String, bool)> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        find(&settings(), &headers, query).map(|found| (found.token, found.ambient))
    }

    #[test]
    fn finds_a_token_where_enabled() {
        let token = |ambient| Some(("a.b.c".to_owned(), ambient));
        assert_eq!(found("authorization", "Bearer a.b.c", ""), token(false));
        assert_eq!(found("authorization", "bearer  a.b.c", ""), token(false));
        assert_eq!(found("cookie", "x=1; ws_token=a.b.c; y=2", ""), token(true));
        assert_eq!(found("cookie", "x=1", "v=2&token=a.b.c"), token(false));
    }

    #[test]
    fn ignores_a_token_where_not_enabled() {
        let mut headers = HeaderMap::new();
        headers.insert("cookie", "ws_token=a.b.c".parse().unwrap());
        assert_eq!(find(&Settings::default(), &headers, "token=a.b.c"), None);
        assert_eq!(found("authorization", "Basic abc", ""), None);
        assert_eq!(found("cookie", "xws_token=a.b.c", ""), None);
    }
}
