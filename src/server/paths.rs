//! Which route a path belongs to, and the values of its parameters.

use super::settings::Route;

/// A route's path, split into segments.
#[derive(Debug)]
pub(super) struct RoutePath(Vec<Segment>);

#[derive(Debug)]
enum Segment {
    Literal(String),
    Parameter(String),
}

/// Values of a route's parameters, by name.
pub(super) type Parameters = Vec<(String, String)>;

impl RoutePath {
    pub(super) fn new(route: &Route) -> Self {
        let segment = |text: &str| match text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
            Some(name) => Segment::Parameter(name.to_owned()),
            None => Segment::Literal(text.to_owned()),
        };
        Self(route.path.split('/').map(segment).collect())
    }

    /// The parameters' values if the whole of `path` is this route; a parameter is never empty.
    ///
    /// Compared as received: characters that need percent-encoding are illegal in group names, so
    /// nothing that needs decoding can match.
    pub(super) fn matches(&self, path: &str) -> Option<Parameters> {
        let mut parameters = Parameters::new();
        let mut segments = self.0.iter();
        for part in path.split('/') {
            match segments.next()? {
                Segment::Literal(text) if text == part => {}
                Segment::Parameter(name) if !part.is_empty() => {
                    parameters.push((name.clone(), part.to_owned()));
                }
                Segment::Literal(_) | Segment::Parameter(_) => return None,
            }
        }
        segments.next().is_none().then_some(parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Allow;
    use super::*;

    fn matches(route: &str, path: &str) -> Option<Parameters> {
        let route = Route {
            path: route.to_owned(),
            join: Vec::new(),
            allow: Allow::Token,
            call_errors: false,
            welcome: None,
            shape: 0,
        };
        RoutePath::new(&route).matches(path)
    }

    #[test]
    fn matches_a_path_as_a_whole() {
        assert_eq!(matches("/ws", "/ws"), Some(vec![]));
        assert_eq!(matches("/ws", "/ws/"), None);
        assert_eq!(matches("/ws/avisos/", "/ws/avisos/"), Some(vec![]));
        assert_eq!(matches("/ws/avisos/", "/ws/avisos/x"), None);
        assert_eq!(matches("/ws/avisos/", "/ws"), None);
    }

    #[test]
    fn a_parameter_is_one_segment_and_never_empty() {
        let sala = |value: &str| Some(vec![("sala".to_owned(), value.to_owned())]);
        assert_eq!(matches("/ws/chat/{sala}/", "/ws/chat/lobby/"), sala("lobby"));
        assert_eq!(matches("/ws/chat/{sala}/", "/ws/chat//"), None);
        assert_eq!(matches("/ws/chat/{sala}/", "/ws/chat/a/b/"), None);
    }
}
