use super::super::*;

fn settings(name: &str, secret: &str) -> ApiKeySettings {
    ApiKeySettings {
        name: name.to_owned(),
        secret: secret.to_owned(),
        groups: vec![
            GroupPattern::parse("pedido.*").unwrap(),
            GroupPattern::parse("avisos").unwrap(),
        ],
        allow: vec![Right::Send, Right::SendUser],
    }
}

fn keys() -> ApiKeys {
    let all = [settings("django", "django-secret-0001"), settings("celery", "celery-secret-0001")];
    ApiKeys::new(&all).unwrap()
}

#[test]
fn a_secret_authenticates_only_its_own_key() {
    let keys = keys();
    let name = |bearer: &str| keys.authenticate(bearer).map(|key| key.name.as_str());
    assert_eq!(name("django-secret-0001"), Some("django"));
    assert_eq!(name("celery-secret-0001"), Some("celery"));
    for wrong in ["", "django-secret-000", "django-secret-00011", "Django-secret-0001", "django"] {
        assert_eq!(name(wrong), None, "{wrong:?}");
    }
    assert!(ApiKeys::new(&[]).unwrap().authenticate("").is_none());
}

#[test]
fn a_permission_applies_only_to_the_groups_of_its_key() {
    let keys = keys();
    let key = keys.authenticate("django-secret-0001").unwrap();
    let may = |right, group: &str| key.may(right, &GroupName::parse(group).unwrap());
    assert!(may(Right::Send, "pedido.42") && may(Right::Send, "avisos"));
    assert!(!may(Right::Send, "avisos2") && !may(Right::Send, "usuario_7"));
    assert!(!may(Right::Read, "avisos"));
    assert!(key.has_right(Right::SendUser) && !key.has_right(Right::SendAll));
}

#[test]
fn refuses_an_invalid_api_key_at_startup() {
    let refused = |all: &[ApiKeySettings]| ApiKeys::new(all).unwrap_err();
    let short = refused(&[settings("k", "fifteen-letters")]);
    assert_eq!(short, IdentityError::ShortApiSecret { key: "k".to_owned(), len: 15 });
    for secret in ["with a space in it", "with-a-newline-in\n", "con-eñe-0123456789"] {
        assert_eq!(
            refused(&[settings("k", secret)]),
            IdentityError::IllegalApiSecret("k".to_owned())
        );
    }
    let twice =
        refused(&[settings("k", "django-secret-0001"), settings("k", "django-secret-0002")]);
    assert_eq!(twice, IdentityError::DuplicateApiKey("k".to_owned()));
    let shared =
        refused(&[settings("a", "django-secret-0001"), settings("b", "django-secret-0001")]);
    assert_eq!(shared, IdentityError::SharedApiSecret("a".to_owned(), "b".to_owned()));
    assert!(!format!("{short} {twice} {shared}").contains("secret-0001"));
}

#[test]
fn never_shows_an_api_secret_or_its_digest() {
    let (keys, settings) = (keys(), settings("django", "django-secret-0001"));
    let shown = format!("{settings:?} {keys:?} {:?}", keys.authenticate("django-secret-0001"));
    assert!(shown.contains("django"));
    assert!(
        !shown.contains("django-secret") && !shown.to_lowercase().contains("digest"),
        "{shown}"
    );
}

#[test]
fn parses_the_names_of_permissions() {
    for right in Right::ALL {
        assert_eq!(right.as_str().parse(), Ok(right));
    }
    for operation in Operation::ALL {
        assert_eq!(operation.as_str().parse(), Ok(operation));
    }
    assert_eq!("Send".parse::<Right>(), Err(UnknownRight("Send".to_owned())));
    assert_eq!("sent".parse::<Operation>(), Err(UnknownOperation("sent".to_owned())));
}
