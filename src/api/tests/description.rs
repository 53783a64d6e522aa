//! The description is complete: every route, every reference, every kind of problem.

use std::collections::HashSet;

use super::*;
use crate::http::ProblemKind;

#[tokio::test]
async fn serves_the_description_without_a_key() {
    let gateway = gateway().await;
    let request = Request::builder().uri("/openapi.json").body(Body::empty());
    let answer = gateway.call(request.expect("legal")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json, *DOCUMENT);
    assert_eq!(answer.json["openapi"], "3.1.0");
}

#[test]
fn describes_every_route_and_no_other() {
    let source = include_str!("../mod.rs");
    let routes: HashSet<&str> = source
        .lines()
        .filter_map(|l| l.trim().strip_prefix(".route(\"")?.split('"').next())
        .collect();
    let described: HashSet<&str> =
        DOCUMENT["paths"].as_object().expect("paths").keys().map(String::as_str).collect();
    assert_eq!(routes, described);
}

#[tokio::test]
async fn every_path_allows_exactly_the_described_methods() {
    let gateway = gateway().await;
    for (template, item) in DOCUMENT["paths"].as_object().expect("paths") {
        let path = template.replace("{name}", "a").replace("{member}", "user:7");
        let path = path.replace("{sub}", "7").replace("{id}", "k3f5a2bq-17");
        let answer = gateway.call(empty(request("BREW", &path))).await;
        let allowed: HashSet<String> = answer
            .header("allow")
            .expect("allow")
            .split(',')
            .map(str::to_ascii_lowercase)
            .collect();
        let mut described: HashSet<String> =
            item.as_object().expect("methods").keys().cloned().collect();
        if described.contains("get") {
            described.insert("head".to_owned());
        }
        assert_eq!(allowed, described, "{template}");
    }
}

#[test]
fn every_reference_resolves() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    references(&DOCUMENT, &mut found);
    assert!(found.len() > 20, "{found:?}");
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("within the document");
        assert!(DOCUMENT.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_problem_has_a_distinct_code_and_a_description() {
    let mut codes = HashSet::new();
    let words: String = ["/users/{sub}/send", "/batch", "/broadcast", "/tasks/{id}/retry"]
        .iter()
        .map(|path| &DOCUMENT["paths"][path]["post"])
        .chain([&DOCUMENT["paths"]["/console/log"]["get"]])
        .flat_map(|operation| operation["responses"].as_object())
        .flat_map(|responses| {
            responses.values().map(|response| response["description"].to_string())
        })
        .collect();
    for kind in ProblemKind::ALL {
        assert!(codes.insert(kind.code()), "{} is there twice", kind.code());
        let of_websockets =
            matches!(kind, ProblemKind::UpgradeRequired | ProblemKind::BadHandshake);
        assert!(of_websockets || words.contains(&format!("`{}`", kind.code())), "{}", kind.code());
    }
}

#[test]
fn problems_have_the_described_members() {
    let schema = &DOCUMENT["components"]["schemas"]["Problem"];
    let required: HashSet<_> =
        schema["required"].as_array().expect("required").iter().filter_map(Value::as_str).collect();
    assert_eq!(required, HashSet::from(["type", "title", "status", "detail", "code"]));
}
