//! Addresses, as redis-py reads them.

use std::fs;
use std::path::PathBuf;

use super::RedisAddress;
use crate::tls::TlsSettings;

fn parse(url: &str) -> RedisAddress {
    RedisAddress::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// The error of a URL, which must not show what is secret in it.
fn refused(url: &str) -> String {
    let error = RedisAddress::parse(url).expect_err(url).to_string();
    assert!(!error.contains("secret"), "{error}");
    error
}

fn login(url: &str) -> (Option<String>, Option<String>) {
    let credentials = parse(url).credentials;
    let password = credentials.password().unwrap();
    (credentials.user, password)
}

#[test]
fn reads_host_port_and_database() {
    for (url, place, database) in [
        ("redis://redis", "redis:6379", 0),
        ("valkey://redis:7000/", "redis:7000", 0),
        ("redis://127.0.0.1/3", "127.0.0.1:6379", 3),
        ("redis://127.0.0.1?db=3", "127.0.0.1:6379", 3),
        ("redis://127.0.0.1/2?db=3", "127.0.0.1:6379", 3),
        ("redis://[::1]:7000/3", "[::1]:7000", 3),
        ("rediss://[::1]", "[::1]:6379", 0),
        ("redis+unix:///run/redis.sock", "/run/redis.sock", 0),
        ("unix:///run/a%20b.sock?db=3", "/run/a b.sock", 3),
        ("redis+socket://:secret@/run/redis.sock?db=3", "/run/redis.sock", 3),
    ] {
        let address = parse(url);
        assert_eq!((address.to_string().as_str(), address.database()), (place, database), "{url}");
        assert_eq!(address.is_encrypted(), url.starts_with("rediss"));
    }
}

#[test]
fn reads_credentials_with_any_character() {
    let some = |text: &str| Some(text.to_owned());
    for (url, user, password) in [
        ("redis://host", None, None),
        ("redis://:word@host", None, some("word")),
        ("redis://ana:word@host", some("ana"), some("word")),
        ("redis://ana@host", some("ana"), None),
        ("redis://ana:a:b@c@host", some("ana"), some("a:b@c")),
        ("redis://:a+b%2F%3F%23%40%25%20%C3%B1@host", None, some("a+b/?#@% ñ")),
        ("redis://host?username=ana&password=a%26b", some("ana"), some("a&b")),
        ("redis+unix://ana:word@/run/redis.sock", some("ana"), some("word")),
    ] {
        assert_eq!(login(url), (user, password), "{url}");
    }
}

#[test]
fn refuses_parts_of_a_url_that_would_be_ignored_or_misread() {
    for url in [
        "redis://127.0.0.1/3?timeout=5",
        "redis://:secret@127.0.0.1#3",
        "redis://127.0.0.1/3/4",
        "redis://127.0.0.1/three",
        "redis://127.0.0.1/256",
        "redis:///3",
        "redis://:secret@/3",
        "redis://host:secret",
        "redis://:a/secret@host",
        "redis://:a?secret@host",
        "redis://:%ff@host",
        "redis://one,two",
        "redis+unix://host/run/redis.sock",
        "redis+unix://",
        "http://host",
        "redis-cluster://host",
        "host:6379",
    ] {
        refused(url);
    }
    assert!(refused("redis://host/secret").contains("redis://host:6379/3"));
    assert!(refused("redis://host?timeout=5").contains("\"timeout\""));
}

#[test]
fn reads_sentinels_and_the_name_of_their_primary() {
    for (url, place, database) in [
        ("redis-sentinel://one/mymaster", "mymaster of the sentinels one:26379", 0),
        (
            "redis+sentinel://one:1,[::1],two:3/my%20master/5",
            "my master of the sentinels one:1, [::1]:26379, two:3",
            5,
        ),
        ("rediss-sentinel://ana:secret@one/m?db=4", "m of the sentinels one:26379", 4),
    ] {
        let address = parse(url);
        assert_eq!((address.to_string().as_str(), address.database()), (place, database), "{url}");
        assert_eq!(address.is_encrypted(), url.starts_with("rediss"));
    }
    let url = "rediss-sentinel://ana:word@one,two/m?sentinel_username=bea&sentinel_password=a%26b";
    assert_eq!(login(url), (Some("ana".to_owned()), Some("word".to_owned())));
    for sentinel in parse(url).sentinels() {
        let credentials = &sentinel.credentials;
        assert_eq!(credentials.user.as_deref(), Some("bea"));
        assert_eq!(credentials.password().unwrap().as_deref(), Some("a&b"));
        assert!(sentinel.is_encrypted() && sentinel.database.is_none());
    }
    assert!(refused("redis-sentinel://one,two").contains("/mymaster"));
    for url in [
        "redis-sentinel:///mymaster",
        "redis-sentinel://one,/mymaster",
        "redis-sentinel://one/mymaster/three",
        "redis-sentinel://one/m?sentinel_password=secret&sentinel_password_file=/a",
        "redis://one?sentinel_password=secret",
    ] {
        refused(url);
    }
    let file = "redis-sentinel://one/m?sentinel_password_file=/no-such-file";
    assert!(parse(file).check_files().unwrap_err().contains("/no-such-file"));
}

#[test]
fn reads_the_files_of_tls_as_redis_py_names_them() {
    let url = "rediss://host?ssl_cert_reqs=required&ssl_ca_certs=/ca.pem&ssl_certfile=/a.pem\
               &ssl_keyfile=/a.key";
    let tls = parse(url).tls.unwrap();
    assert_eq!(tls.ca_file.unwrap().to_str(), Some("/ca.pem"));
    assert_eq!(tls.certificate.unwrap().key_file.to_str(), Some("/a.key"));
    assert!(refused("rediss://host?ssl_cert_reqs=none").contains("always checked"));
    assert!(refused("rediss://host?ssl_certfile=/a.pem").contains("ssl_keyfile"));
    assert!(refused("redis://host?ssl_ca_certs=/a.pem").contains("ssl_ca_certs"));
}

#[test]
fn a_password_is_in_one_place_and_files_of_tls_are_for_tls() {
    let file = || PathBuf::from("/run/secrets/redis");
    parse("redis://ana@host").with_password_file(file()).unwrap();
    let error = parse("redis://:secret@host").with_password_file(file()).unwrap_err();
    assert!(error.to_string().contains("password file"), "{error}");
    let tls = || TlsSettings { ca_file: Some(file()), ..TlsSettings::default() };
    parse("rediss://host").with_tls(tls()).unwrap();
    let error = parse("redis://host").with_tls(tls()).unwrap_err();
    assert!(error.to_string().contains("rediss://"), "{error}");
    parse("rediss://host?ssl_ca_certs=/a.pem").with_tls(tls()).unwrap_err();
}

#[test]
fn a_password_file_is_read_each_time_without_its_line_end() {
    let file = std::env::temp_dir().join(format!("groupcast-password-{}", std::process::id()));
    let address = parse("redis://host").with_password_file(file.clone()).unwrap();
    for (text, password) in [("first\n", "first"), (" second \r\n", " second ")] {
        fs::write(&file, text).unwrap();
        assert_eq!(address.credentials.password().unwrap().as_deref(), Some(password));
    }
    fs::write(&file, "\n").unwrap();
    assert!(address.check_files().unwrap_err().contains("is empty"));
    fs::remove_file(&file).unwrap();
    let error = address.check_files().unwrap_err();
    assert!(error.contains(file.to_str().unwrap()), "{error}");
}
