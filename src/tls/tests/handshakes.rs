//! Handshakes with a server that asks for certificates.

use std::fs;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::authority::{Authority, Certified};
use crate::tls::provider::provider;
use crate::tls::{ClientCertificate, FollowedFiles, ServerName, TlsSettings, connector};

/// A server with a certificate of `own`, for clients with one of `clients`.
fn server(own: &Authority, clients: &Authority) -> TlsAcceptor {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(clients.certificate()).unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let Certified { certificate, key } = own.certify("redis");
    let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap());
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

fn settings(authority: &Authority, client: &Certified) -> TlsSettings {
    TlsSettings {
        ca_file: Some(authority.certificate()),
        certificate: Some(ClientCertificate {
            certificate_file: client.certificate.clone(),
            key_file: client.key.clone(),
        }),
        server_name: None,
    }
}

/// Whether both sides accept each other; if not, what either says.
async fn shakes_hands(
    connector: &TlsConnector,
    server: &TlsAcceptor,
    name: &'static str,
) -> Result<(), String> {
    let (near, far) = duplex(64 * 1024);
    let client = async {
        let mut stream = connector.connect(ServerName::try_from(name).unwrap(), near).await?;
        // In TLS 1.3 a refused certificate shows after the client's handshake.
        stream.read_u8().await
    };
    let server = async {
        let mut stream = server.accept(far).await?;
        stream.write_u8(7).await?;
        stream.flush().await
    };
    let (client, server) = tokio::join!(client, server);
    match (client, server) {
        (Ok(7), Ok(())) => Ok(()),
        (client, server) => Err(format!("{client:?} {server:?}")),
    }
}

#[tokio::test]
async fn introduces_itself_and_checks_the_servers_name() {
    let authority = Authority::new();
    let server = server(&authority, &authority);
    let ana = connector(&settings(&authority, &authority.certify("ana"))).unwrap();
    for name in ["localhost", "127.0.0.1", "redis"] {
        shakes_hands(&ana, &server, name).await.unwrap();
    }
    let error = shakes_hands(&ana, &server, "elsewhere").await.unwrap_err();
    assert!(error.contains("elsewhere") && error.contains("localhost"), "{error}");
    let bare = TlsSettings { ca_file: Some(authority.certificate()), ..TlsSettings::default() };
    let ana = connector(&bare).unwrap();
    assert!(shakes_hands(&ana, &server, "localhost").await.is_err(), "no certificate");
}

#[tokio::test]
async fn trusts_no_server_of_an_unknown_authority() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = server(&other, &authority);
    let ana = connector(&settings(&authority, &authority.certify("ana"))).unwrap();
    let error = shakes_hands(&ana, &server, "localhost").await.unwrap_err();
    assert!(error.contains("UnknownIssuer") || error.contains("BadSignature"), "{error}");
}

#[tokio::test]
async fn uses_what_the_files_held_at_the_latest_reload() {
    let (old, new) = (Authority::new(), Authority::new());
    let client = old.certify("ana");
    let followed = FollowedFiles::new(&settings(&old, &client), true).unwrap();
    let connector = followed.connector();
    shakes_hands(&connector, &server(&old, &old), "localhost").await.unwrap();
    fs::copy(new.certificate(), old.certificate()).unwrap();
    new.certify("ana").replace(&client);
    let rotated = server(&new, &new);
    assert!(shakes_hands(&connector, &rotated, "localhost").await.is_err(), "not read yet");
    followed.reload().unwrap();
    shakes_hands(&connector, &rotated, "localhost").await.unwrap();
    fs::write(&client.key, "").unwrap();
    assert!(followed.reload().unwrap_err().to_string().contains("is empty"));
    shakes_hands(&connector, &rotated, "localhost").await.expect("what was read last stays");
}

#[tokio::test]
async fn checks_another_name_than_the_client_asks_for() {
    let authority = Authority::new();
    let server = server(&authority, &authority);
    let settings = settings(&authority, &authority.certify("ana"));
    let followed = FollowedFiles::new(&settings, false).unwrap();
    followed.expect(ServerName::try_from("redis").unwrap());
    shakes_hands(&followed.connector(), &server, "elsewhere").await.unwrap();
    followed.expect(ServerName::try_from("moon").unwrap());
    assert!(shakes_hands(&followed.connector(), &server, "redis").await.is_err());
}
