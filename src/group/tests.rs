use proptest::prelude::*;

use super::*;

#[test]
fn keeps_legal_names_as_written() {
    for name in ["usuario_7", "pedido.42", "a", "A-Z", &"x".repeat(99)] {
        assert_eq!(GroupName::parse(name).map(|n| n.to_string()), Ok(name.to_owned()));
    }
}

#[test]
fn refuses_illegal_names_with_the_cause() {
    assert_eq!(GroupName::parse(""), Err(NameError::Empty));
    assert_eq!(GroupName::parse(&"x".repeat(100)), Err(NameError::TooLong(100)));
    for (name, found) in [
        ("a b", ' '),
        ("año", 'ñ'),
        ("a\n", '\n'),
        ("a:b", ':'),
        ("\u{661}", '\u{661}'),
        ("a*", '*'),
    ] {
        let expected = NameError::Illegal { name: name.to_owned(), found };
        assert_eq!(GroupName::parse(name), Err(expected));
    }
}

#[test]
fn a_pattern_matches_the_whole_name() {
    let matches = |pattern: &str, name: &str| GroupPattern::parse(pattern).unwrap().matches(name);
    assert!(matches("*", "usuario_7"));
    assert!(matches("usuario_*", "usuario_7"));
    assert!(matches("usuario_*", "usuario_"));
    assert!(matches("a*b*c", "a-b-b-c"));
    assert!(!matches("usuario_7", "usuario_77"));
    assert!(!matches("usuario_7", "xusuario_7"));
    assert!(!matches("*_7", "usuario_77"));
}

/// The textbook recursive definition, against which the loop is held.
fn matches_naively(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.first(), name.first()) {
        (None, None) => true,
        (Some(b'*'), _) => {
            matches_naively(&pattern[1..], name)
                || (!name.is_empty() && matches_naively(pattern, &name[1..]))
        }
        (Some(p), Some(n)) if p == n => matches_naively(&pattern[1..], &name[1..]),
        _ => false,
    }
}

proptest! {
    #[test]
    fn matches_as_the_recursive_definition_does(
        pattern in "[ab*]{1,8}",
        name in "[ab]{0,10}",
    ) {
        let expected = matches_naively(pattern.as_bytes(), name.as_bytes());
        prop_assert_eq!(GroupPattern::parse(&pattern).unwrap().matches(&name), expected);
    }
}

#[test]
fn refuses_a_name_of_dots_alone() {
    for name in [".", "..", "...", &".".repeat(99)] {
        assert_eq!(GroupName::parse(name), Err(NameError::Dots(name.to_owned())));
    }
    for name in [".a", "a..", "-.", "._."] {
        assert!(GroupName::parse(name).is_ok(), "{name}");
    }
}
