//! Ways to one server: TLS, sockets, passwords and databases, and their change while it runs.

use std::fs;
use std::path::Path;

use super::*;
use crate::tls::tests::authority::{Authority, Certified};
use crate::tls::{ClientCertificate, TlsSettings};

/// A server that speaks TLS on a port of its own, beside the one that tests ask at.
struct EncryptedRedis {
    server: RedisServer,
    authority: Authority,
    port: u16,
}

/// Free at this moment; nothing else asks for it by number.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl EncryptedRedis {
    /// One that asks its clients for a certificate.
    fn start() -> Self {
        let authority = Authority::new();
        let Certified { certificate, key } = authority.certify("redis");
        let port = free_port();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let options = [
            ("--tls-port", port.to_string()),
            ("--tls-cert-file", text(&certificate)),
            ("--tls-key-file", text(&key)),
            ("--tls-ca-cert-file", text(&authority.certificate())),
            ("--tls-auth-clients", "yes".to_owned()),
        ];
        let options: Vec<_> = options.iter().flat_map(|(name, value)| [*name, value]).collect();
        let server = RedisServer::start_with(&options).unwrap();
        Self { server, authority, port }
    }

    fn settings(&self, host: &str, client: Option<&Certified>) -> RedisSettings {
        self.settings_at(&format!("rediss://{host}:{}", self.port), client)
    }

    fn settings_at(&self, url: &str, client: Option<&Certified>) -> RedisSettings {
        let tls = TlsSettings {
            ca_file: Some(self.authority.certificate()),
            certificate: client.map(|client| ClientCertificate {
                certificate_file: client.certificate.clone(),
                key_file: client.key.clone(),
            }),
            server_name: None,
        };
        let address = RedisAddress::parse(url).unwrap();
        RedisSettings::at(address.with_tls(tls).unwrap())
    }
}

/// That an event goes through `instance`.
async fn carries(instance: &mut Instance) {
    instance.subscribe(&["sala_1"]).await;
    instance.send("sala_1", "a").await;
    assert_eq!(instance.next_text_after_gaps().await, event_text("a"));
}

/// Waits until Redis, or the way to it, refuses with these words.
async fn refuses(instance: &Instance, words: &str) {
    until(words, || instance.layer.refusal().is_some_and(|found| found.contains(words))).await;
}

fn renew(server: &RedisServer) {
    server.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
    server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
}

#[tokio::test]
async fn speaks_tls_and_introduces_itself() {
    let redis = EncryptedRedis::start();
    let client = redis.authority.certify("ana");
    for host in ["localhost", "127.0.0.1"] {
        let settings = redis.settings(host, Some(&client));
        carries(&mut over(&redis.server, |default| *default = settings).await).await;
    }
}

#[tokio::test]
async fn speaks_tls_with_sentinels_and_with_the_primary_that_they_name() {
    let redis = EncryptedRedis::start();
    let client = redis.authority.certify("ana");
    let Certified { certificate, key } = redis.authority.certify("sentinel");
    let port = free_port();
    let configuration = format!(
        "tls-port {port}\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\n\
         sentinel monitor mymaster 127.0.0.1 {} 1\n",
        certificate.display(),
        key.display(),
        redis.authority.certificate().display(),
        redis.port
    );
    let _sentinel = RedisServer::sentinel(&configuration).unwrap();
    let url = format!("rediss-sentinel://localhost:{port}/mymaster");
    let settings = redis.settings_at(&url, Some(&client));
    carries(&mut over(&redis.server, |default| *default = settings).await).await;
    let url = url.replace("mymaster", "another");
    let settings = redis.settings_at(&url, Some(&client));
    let astray = over_unready(&redis.server, |default| *default = settings);
    refuses(&astray, "no primary called \"another\"").await;
}

#[tokio::test]
async fn says_why_tls_fails() {
    let redis = EncryptedRedis::start();
    let settings = redis.settings("localhost", None);
    let bare = over_unready(&redis.server, |default| *default = settings);
    refuses(&bare, "TLS").await;
    let other = Authority::new();
    let mut settings = redis.settings("localhost", None);
    let tls = TlsSettings { ca_file: Some(other.certificate()), ..TlsSettings::default() };
    settings.address.tls = Some(tls);
    let distrusting = over_unready(&redis.server, |default| *default = settings);
    refuses(&distrusting, "InvalidCertificate").await;
    let client = redis.authority.certify("ana");
    let mut settings = redis.settings("localhost", Some(&client));
    settings.address.tls.as_mut().unwrap().server_name = Some("elsewhere".to_owned());
    let astray = over_unready(&redis.server, |default| *default = settings);
    refuses(&astray, "elsewhere").await;
}

#[tokio::test]
async fn follows_a_rotation_of_certificates() {
    let redis = EncryptedRedis::start();
    let client = redis.authority.certify("ana");
    let settings = redis.settings("localhost", Some(&client));
    let mut one = over(&redis.server, |default| *default = settings).await;
    let new = Authority::new();
    let Certified { certificate, key } = new.certify("redis");
    let [certificate, key] = [&certificate, &key].map(|path| path.to_str().unwrap());
    let ca = new.certificate();
    let set = ["CONFIG", "SET", "tls-cert-file", certificate, "tls-key-file", key];
    let set = set.into_iter().chain(["tls-ca-cert-file", ca.to_str().unwrap()]);
    assert_eq!(redis.server.ask(&set.collect::<Vec<_>>()), "+OK\r\n");
    renew(&redis.server);
    refuses(&one, "TLS").await;
    fs::copy(new.certificate(), redis.authority.certificate()).unwrap();
    new.certify("ana").replace(&client);
    one.delivering().await;
    assert_eq!(one.layer.refusal(), None);
    carries(&mut one).await;
}

#[tokio::test]
async fn follows_a_rotation_of_the_password() {
    let server = RedisServer::start();
    let set = |passwords: [&str; 2]| {
        let user = ["ACL", "SETUSER", "groupcast", "on", "~*", "&*", "+@all"];
        let words = user.into_iter().chain(passwords).collect::<Vec<_>>();
        assert_eq!(server.ask(&words), "+OK\r\n");
    };
    set([">first", ">first"]);
    let file = server.folder.join("password");
    fs::write(&file, "first\n").unwrap();
    let url = server.url().replace("://", "://groupcast@");
    let address = RedisAddress::parse(&url).unwrap().with_password_file(file.clone()).unwrap();
    let mut one = over(&server, |default| *default = RedisSettings::at(address)).await;
    set(["<first", ">\"two words\""]);
    renew(&server);
    refuses(&one, "WRONGPASS").await;
    fs::write(&file, "\"two words\"\n").unwrap();
    one.delivering().await;
    assert_eq!(one.layer.refusal(), None);
    fs::remove_file(&file).unwrap();
    renew(&server);
    refuses(&one, file.to_str().unwrap()).await;
    fs::write(&file, "\"two words\"").unwrap();
    one.delivering().await;
    carries(&mut one).await;
}

#[tokio::test]
async fn connects_by_a_socket_and_selects_the_database() {
    let folder = std::env::temp_dir().join(format!("groupcast-socket-{}", std::process::id()));
    let socket = folder.to_str().unwrap();
    let server = RedisServer::start_with(&["--unixsocket", socket]).unwrap();
    for (url, found) in [
        (format!("redis+unix://{socket}?db=3"), "db=3"),
        (format!("unix://{socket}"), "db=0"),
        (format!("{}/3", server.url()), "db=3"),
    ] {
        let mut one = over(&server, |it| *it = RedisSettings::new(&url).unwrap()).await;
        carries(&mut one).await;
        let clients = server.ask(&["CLIENT", "LIST", "TYPE", "pubsub"]);
        assert!(clients.contains(found), "{url}: {clients}");
    }
}
