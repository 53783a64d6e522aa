use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::*;
use super::support::*;

fn parameters(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn templates(texts: &[&str]) -> Vec<Template> {
    texts.iter().map(|text| Template::parse(text).unwrap()).collect()
}

fn names(groups: &[GroupName]) -> Vec<&str> {
    groups.iter().map(GroupName::as_str).collect()
}

#[test]
fn nothing_is_allowed_by_default() {
    let identity = identity(&settings(), json!({}));
    for operation in Operation::ALL {
        for name in ["usuario_7", "7", "*", ""] {
            assert!(!Policy::default().may(&identity, operation, name), "{operation} {name}");
        }
    }
}

#[test]
fn a_group_named_after_the_sub_is_that_users_alone() {
    let policy = Policy::new(&[rule(&[Operation::Join], &["usuario_{sub}"])]);
    let seven = identity(&settings(), json!({}));
    assert!(policy.may(&seven, Operation::Join, "usuario_7"));
    for other in ["usuario_77", "usuario_8", "usuario_", "usuario_7 ", "Usuario_7", "xusuario_7"] {
        assert!(!policy.may(&seven, Operation::Join, other), "{other}");
    }
    assert!(!policy.may(&seven, Operation::Send, "usuario_7"));
    for sub in ["*", "7*", "*7"] {
        let trickster = identity(&settings(), json!({ "sub": sub }));
        assert!(!policy.may(&trickster, Operation::Join, "usuario_7"), "{sub}");
    }
}

#[test]
fn a_tokens_groups_and_grants_allow() {
    let grants = json!({ "join": ["pedido.*"], "send": "sala_1", "call": ["*"], "presence": [] });
    let identity = identity(&settings(), json!({ "groups": ["avisos"], "grants": grants }));
    let may = |operation, name| Policy::default().may(&identity, operation, name);
    assert!(may(Operation::Join, "avisos") && !may(Operation::Send, "avisos"));
    assert!(may(Operation::Join, "pedido.42") && !may(Operation::Join, "pedido_42"));
    assert!(may(Operation::Send, "sala_1") && !may(Operation::Send, "sala_12"));
    assert!(may(Operation::Call, "marcar_leida"));
    assert!(!may(Operation::Presence, "avisos") && !may(Operation::History, "avisos"));
}

#[test]
fn joins_the_groups_of_token_and_route_once_each() {
    let settings = Settings { claims: vec!["empresa".to_owned()], ..settings() };
    let extra = json!({ "groups": ["avisos", "usuario_7", "avisos"], "empresa": "acme" });
    let identity = identity(&settings, extra);
    let joins = templates(&["usuario_{sub}", "chat_{sala}", "empresa_{empresa}", "chat_{sala}"]);
    let groups = identity.groups_on_connect(&joins, &parameters(&[("sala", "1")])).unwrap();
    assert_eq!(names(&groups), ["avisos", "usuario_7", "chat_1", "empresa_acme"]);
}

#[test]
fn a_parameter_precedes_a_claim_but_never_the_sub() {
    let settings = Settings { claims: vec!["sala".to_owned()], ..settings() };
    let identity = identity(&settings, json!({ "sala": "claim" }));
    let joins = templates(&["{sub}_{sala}"]);
    let path = parameters(&[("sub", "8"), ("sala", "path")]);
    assert_eq!(names(&identity.groups_on_connect(&joins, &path).unwrap()), ["7_path"]);
    assert_eq!(names(&identity.groups_on_connect(&joins, &[]).unwrap()), ["7_claim"]);
}

#[test]
fn refuses_a_parameter_that_makes_an_illegal_name() {
    let identity = identity(&settings(), json!({}));
    let joins = templates(&["chat_{sala}"]);
    for value in ["", "*", "a/b", "a b", "ñ"] {
        let refused = identity.groups_on_connect(&joins, &parameters(&[("sala", value)]));
        assert!(matches!(refused, Err(FillError::Value { .. })), "{value:?}");
    }
    let absent = identity.groups_on_connect(&joins, &[]).unwrap_err();
    assert!(matches!(absent, FillError::Absent { .. }), "{absent}");
}

#[test]
fn a_renewed_token_decides_which_memberships_remain() {
    let policy = Policy::new(&[rule(&[Operation::Join], &["usuario_{sub}"])]);
    let renewed = identity(&settings(), json!({ "grants": { "join": "pedido.42" } }));
    let on_connect = renewed.groups_on_connect(&templates(&["avisos_{sub}"]), &[]).unwrap();
    let holds =
        |name: &str| policy.may_still_hold(&renewed, &on_connect, &GroupName::parse(name).unwrap());
    assert!(holds("usuario_7") && holds("pedido.42") && holds("avisos_7"));
    assert!(!holds("pedido.43") && !holds("usuario_8") && !holds("avisos_8"));
}

#[test]
fn an_explanation_shows_every_grant_that_was_checked() {
    let rules = [
        rule(&[Operation::Send], &["sala_*"]),
        rule(&[Operation::Join, Operation::History], &["sede_{sede}", "usuario_{sub}"]),
        rule(&[Operation::Join], &["usuario_*"]),
    ];
    let numbered =
        (0..).zip(rules).map(|(n, rule)| GrantRule { origin: format!("grant[{n}]"), ..rule });
    let policy = Policy::new(&numbered.collect::<Vec<_>>());
    let extra = json!({ "groups": ["avisos"], "grants": { "join": "pedido.*" } });
    let identity = identity(&settings(), extra);
    let yes = policy.explain(&identity, Operation::Join, "usuario_7");
    let expected = "\
yes: \"7\" join \"usuario_7\"
  group in the token \"avisos\": does not match
  grant in the token \"pedido.*\": does not match
  configured grant[1] \"sede_{sede}\" (template \"sede_{sede}\" needs {sede}, \
which is missing): does not match
  configured grant[1] \"usuario_{sub}\" = \"usuario_7\": allows
  configured grant[2] \"usuario_*\": would allow";
    assert_eq!(yes.to_string(), expected);

    let nothing = policy.explain(&identity, Operation::Presence, "avisos");
    let expected = "\
no: \"7\" presence \"avisos\"
  neither the token nor the configuration grants presence on anything";
    assert_eq!(nothing.to_string(), expected);

    let illegal = policy.explain(&identity, Operation::Send, "sala 1");
    assert!(illegal.to_string().contains("note: group name \"sala 1\" holds ' '"), "{illegal}");
}

/// The decision in its plainest form: every text filled in by replacement.
fn may_naively(
    rules: &[(Operation, &str)],
    sub: &str,
    extra: &Value,
    asked: (Operation, &str),
) -> bool {
    let legal = |text: &str| !text.is_empty() && text.chars().all(crate::group::is_legal);
    let matches = |pattern: &str| GroupPattern::parse(pattern).is_ok_and(|p| p.matches(asked.1));
    let strings = |value: &Value| -> Vec<String> {
        value.as_array().map_or(Vec::new(), |all| {
            all.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
        })
    };
    let by_rule = rules.iter().any(|(operation, template)| {
        let fillable = !template.contains("{sub}") || legal(sub);
        *operation == asked.0 && fillable && matches(&template.replace("{sub}", sub))
    });
    let by_group = asked.0 == Operation::Join
        && strings(&extra["groups"]).iter().any(|group| group == asked.1);
    let by_grant = strings(&extra["grants"][asked.0.as_str()]).iter().any(|text| matches(text));
    by_rule || by_group || by_grant
}

proptest! {
    #[test]
    fn an_explanation_agrees_with_the_decision(
        rules in proptest::collection::vec(
            (
                0..5usize,
                proptest::sample::select(vec![
                    "a_{sub}", "{sub}*", "a*", "{sub}", "b_{sub}.*", "*",
                ]),
            ),
            0..5,
        ),
        sub in proptest::sample::select(vec!["a", "b", "ab", "*", "a b", "a_b"]),
        groups in proptest::collection::vec("[ab]{1,2}", 0..3),
        grants in proptest::collection::btree_map(
            proptest::sample::select(vec!["join", "send", "call"]),
            proptest::collection::vec("[ab*]{1,3}", 0..3),
            0..3,
        ),
        operation in 0..5usize,
        name in "[ab_.]{1,5}",
    ) {
        let rules: Vec<_> =
            rules.into_iter().map(|(place, text)| (Operation::ALL[place], text)).collect();
        let configured: Vec<_> =
            rules.iter().map(|(operation, text)| rule(&[*operation], &[*text])).collect();
        let policy = Policy::new(&configured);
        let extra = json!({ "sub": sub, "groups": groups, "grants": grants });
        let identity = identity(&settings(), extra.clone());
        let operation = Operation::ALL[operation];

        let decision = policy.may(&identity, operation, &name);
        let explanation = policy.explain(&identity, operation, &name);
        prop_assert_eq!(decision, may_naively(&rules, sub, &extra, (operation, &name)));
        prop_assert_eq!(explanation.allowed, decision);
        prop_assert_eq!(explanation.to_string().starts_with("yes"), decision);
        prop_assert_eq!(explanation.to_string().contains(": allows"), decision);
        let total = policy.candidates(&identity, operation).count();
        prop_assert_eq!(explanation.checked.len(), total);
    }
}
