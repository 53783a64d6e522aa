use std::borrow::Cow;

use proptest::prelude::*;

use super::super::*;

fn lookup<'v>(values: &'v [(&str, &str)]) -> impl Fn(&str) -> Option<Cow<'v, str>> {
    |name| values.iter().find(|(known, _)| *known == name).map(|(_, value)| Cow::Borrowed(*value))
}

#[test]
fn fills_in_values_unchanged() {
    let template = Template::parse("sala_{empresa}.{sub}-x").unwrap();
    assert_eq!(template.names().collect::<Vec<_>>(), ["empresa", "sub"]);
    let name = template.fill(&lookup(&[("sub", "7"), ("empresa", "acme")])).unwrap();
    assert_eq!(name.as_str(), "sala_acme.7-x");
    let fixed = Template::parse("avisos").unwrap();
    assert_eq!(fixed.fill(&lookup(&[])).unwrap().as_str(), "avisos");
}

#[test]
fn refuses_an_invalid_template_with_the_cause() {
    let long = "x".repeat(100);
    let table = [
        ("", "template is empty"),
        ("usuario_{sub", "an unmatched brace"),
        ("usuario_sub}", "an unmatched brace"),
        ("usuario_{{sub}}", "names the variable \"{sub\""),
        ("usuario_{}", "names the variable \"\""),
        ("usuario_{a b}", "names the variable \"a b\""),
        ("{sub}{sala}", "without a character between them"),
        ("usuario {sub}", "holds ' '"),
        ("usuario_ñ", "holds 'ñ'"),
        ("usuario_{sub}\n", "holds '\\n'"),
        (&long, "100 characters beside its variables"),
    ];
    for (text, expected) in table {
        let name = Template::parse(text).unwrap_err();
        let pattern = PatternTemplate::parse(text).unwrap_err();
        assert!(name.to_string().contains(expected), "{text:?}: {name}");
        assert_eq!(name, pattern);
    }
}

#[test]
fn only_a_pattern_may_contain_a_star() {
    let star = Template::parse("pedido.{sub}.*").unwrap_err();
    assert_eq!(star.to_string(), "template \"pedido.{sub}.*\" holds '*'; it must name one group");
    let pattern = PatternTemplate::parse("pedido.{sub}.*").unwrap();
    assert_eq!(pattern.fill(&lookup(&[("sub", "7")])).unwrap().as_str(), "pedido.7.*");
}

#[test]
fn refuses_a_value_that_is_illegal_in_a_name() {
    let long = "x".repeat(100);
    for value in ["*", "7*", "", "a b", "{sub}", "ñ", "7\n", "a:b", "..*", &long] {
        let values = [("sub", value)];
        let name = Template::parse("usuario_{sub}").unwrap().fill(&lookup(&values));
        let Err(FillError::Value { template, variable, value: shown }) = name else {
            panic!("{value:?} was put in: {name:?}");
        };
        assert_eq!((&*template, &*variable), ("usuario_{sub}", "sub"));
        assert_eq!(shown, excerpt(value, EXCERPT));
        for text in ["usuario_{sub}", "usuario_{sub}*", "{sub}", "*{sub}"] {
            let pattern = PatternTemplate::parse(text).unwrap();
            assert!(pattern.fill(&lookup(&values)).is_err(), "{text} with {value:?}");
            for group in ["usuario_7", "usuario_8", "usuario_", value] {
                assert!(!pattern.matches(group, &lookup(&values)), "{text} with {value:?}");
            }
        }
    }
}

#[test]
fn refuses_missing_values_and_names_that_become_too_long() {
    let template = Template::parse("{a}_{b}").unwrap();
    let absent = template.fill(&lookup(&[("a", "1")])).unwrap_err();
    assert_eq!(absent.to_string(), "template \"{a}_{b}\" needs {b}, which is missing");
    let half = "x".repeat(50);
    let long = template.fill(&lookup(&[("a", &half), ("b", &half)])).unwrap_err();
    assert!(matches!(long, FillError::TooLong { len: 101, .. }), "{long}");
}

#[test]
fn an_error_shortens_a_long_value() {
    let long = "ñ".repeat(5000);
    let error = Template::parse("{sub}").unwrap().fill(&lookup(&[("sub", &long)])).unwrap_err();
    assert!(error.to_string().len() < 400, "{error}");
}

proptest! {
    /// Matching without an allocation, part by part, is the same as filling and then matching.
    #[test]
    fn matches_exactly_what_it_fills_in(
        text in r"(\{v\}|[ab*])(_?(\{w\}|[ab*]|a\{v\}b)){0,3}",
        v in "[ab*]{0,3}",
        w in "[ab]{1,3}",
        name in "[ab_]{0,8}",
    ) {
        let Ok(pattern) = PatternTemplate::parse(&text) else { return Ok(()) };
        let values = [("v", v.as_str()), ("w", w.as_str())];
        let filled = pattern.fill(&lookup(&values));
        let expected = filled.as_ref().is_ok_and(|filled| filled.matches(&name));
        prop_assert_eq!(pattern.matches(&name, &lookup(&values)), expected);
        if let Ok(filled) = filled {
            let stars = |text: &str| text.matches('*').count();
            prop_assert_eq!(stars(filled.as_str()), stars(&text));
            let exact = filled.as_str().replace('*', "");
            prop_assert!(pattern.matches(&exact, &lookup(&values)));
        }
    }
}
