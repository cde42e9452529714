//! Clients that do not go by the rules of `dial`.
use std::{net::SocketAddr, sync::Arc};

use hyper_util::rt::TokioIo;
use policy::id::ClusterId;
use proto::channel::{
    config::{Trust, provider},
    identity::{Leaf, Role},
    pki::{Authority, Issued},
};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::Endpoint;

use super::fixture::{Pki, SERVER_NAME, Server, ask, cluster};

/// A TLS client that checks the server as it should but presents whatever it likes.
pub(crate) fn config(pki: &Pki, server: &Server, own: Option<(&str, &str)>) -> ClientConfig {
    let list = std::fs::read(pki.path("crl.pem")).unwrap();
    config_with_list(pki, server, own, &list)
}

/// The same, with a revocation list of its own.
pub(crate) fn config_with_list(
    pki: &Pki,
    server: &Server,
    own: Option<(&str, &str)>,
    list: &[u8],
) -> ClientConfig {
    let trust = Trust::parse(pki.ca.cert_pem().as_bytes(), list, UnixTime::now()).unwrap();
    let verifier = trust.server_verifier(&cluster(), &[server.pin]).unwrap();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![cert], key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

pub(crate) async fn handshake(
    server: &Server,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    handshake_at(server.addr, config).await
}

pub(crate) async fn handshake_at(
    addr: SocketAddr,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(SERVER_NAME).unwrap();
    let tcp = TcpStream::connect(addr).await?;
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
}

/// Asks one question over a TLS client of one's own making.
pub(crate) async fn ask_with(server: &Server, config: ClientConfig) -> Result<String, String> {
    let addr = server.addr;
    let connector = TlsConnector::from(Arc::new(config));
    let channel = Endpoint::from_static("http://stranger").connect_with_connector_lazy(
        tower::service_fn(move |_| {
            let connector = connector.clone();
            async move {
                let tcp = TcpStream::connect(addr).await?;
                let name = ServerName::try_from(SERVER_NAME).unwrap();
                connector.connect(name, tcp).await.map(TokioIo::new)
            }
        }),
    );
    ask(channel).await
}

/// Names and uses that the authority of this system would not put together.
pub(crate) fn odd(
    ca: &Authority,
    uris: &[&str],
    usage: ExtendedKeyUsagePurpose,
) -> (String, String) {
    let der = CertificateDer::from_pem_slice(ca.cert_pem().as_bytes()).unwrap();
    let issuer = Issuer::from_ca_cert_der(&der, KeyPair::from_pem(&ca.key_pem()).unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let cert = odd_params(uris, usage).signed_by(&key, &issuer).unwrap();
    (cert.pem(), key.serialize_pem())
}

/// A member's certificate by somebody who has only the name of the authority.
pub(crate) fn namesake(ca: &Authority, role: Role) -> (String, String) {
    let der = CertificateDer::from_pem_slice(ca.cert_pem().as_bytes()).unwrap();
    let issuer =
        Issuer::from_ca_cert_der(&der, KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap())
            .unwrap();
    let key = KeyPair::generate().unwrap();
    let uri = format!("quorate://demo/{role}");
    let params = odd_params(&[&uri], ExtendedKeyUsagePurpose::ClientAuth);
    (
        params.signed_by(&key, &issuer).unwrap().pem(),
        key.serialize_pem(),
    )
}

fn odd_params(uris: &[&str], usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::new([SERVER_NAME.to_owned()]).unwrap();
    params.extended_key_usages = vec![usage];
    for uri in uris {
        params
            .subject_alt_names
            .push(SanType::URI((*uri).try_into().unwrap()));
    }
    params
}

/// The same names and the same key as a real certificate, signed by the holder instead of the authority.
pub(crate) fn self_signed(like: &Issued, role: Role) -> (String, String) {
    let uri = format!("quorate://demo/{role}");
    let mut params = odd_params(&[&uri], ExtendedKeyUsagePurpose::ClientAuth);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, format!("{role} of demo"));
    let key = KeyPair::from_pem(&like.key_pem).unwrap();
    let cert = params.self_signed(&key).unwrap();
    let read = Leaf::read(cert.der(), &ClusterId::parse("demo").unwrap()).unwrap();
    assert_eq!((read.role, read.pin), (role, like.leaf.pin));
    (cert.pem(), key.serialize_pem())
}
