//! Who is let in: wrong certificates against the live coordinator.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use client::{Client, Error, Fix, Options, Retry};
use policy::id::ClusterId;
use proto::{
    channel::{
        config::Files,
        dial::{self, Target},
        identity::{Leaf, Role, SpkiPin},
        pki::{self, Authority, Validity},
    },
    v1::{Hello, HelloProof, NodeFrame, node_frame::Body, node_link_client::NodeLinkClient},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;

use crate::world::{World, bare};

fn validity() -> Validity {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock")
        .as_secs();
    Validity::days(now, 7)
}

/// An identity directory issued by this authority.
fn issue(authority: &Authority, role: Role, dir: &Path) -> PathBuf {
    let issued = authority
        .issue(role, &[], validity())
        .expect("a certificate");
    std::fs::create_dir_all(dir).expect("a directory");
    std::fs::write(dir.join("tls.pem"), &issued.cert_pem).expect("written");
    cli::people::write_secret(&dir.join("tls.key"), issued.key_pem.as_bytes()).expect("written");
    dir.to_owned()
}

/// Options that present this identity. What this side trusts are copies in `trust`, so that it is the coordinator's
/// judgement that is tested: this side finds nothing wrong.
fn options(cluster: &Path, identity: &Path, trust: &Path) -> Options {
    let mut options = Options::beside(cluster, "client");
    options.tls.ca = trust.join("ca.pem");
    options.tls.crl = trust.join("crl.pem");
    options.tls.cert = identity.join("tls.pem");
    options.tls.key = identity.join("tls.key");
    options
}

/// A trust directory of these authorities, with empty revocation lists.
fn trust(dir: &Path, authorities: &[&Authority]) -> PathBuf {
    std::fs::create_dir_all(dir).expect("a directory");
    let ca: String = authorities.iter().map(|a| a.cert_pem()).collect();
    let crl: String = authorities
        .iter()
        .map(|a| a.crl(&[], 1, validity()).expect("a list"))
        .collect();
    std::fs::write(dir.join("ca.pem"), ca).expect("written");
    std::fs::write(dir.join("crl.pem"), crl).expect("written");
    dir.to_owned()
}

fn is_turned_away(error: &Error) -> bool {
    matches!(
        error,
        Error::Fix(Fix::NotAuthorised { .. }) | Error::Retry(Retry::Unreachable { .. })
    )
}

async fn attempt(options: &Options) -> Result<(), Error> {
    Client::connect(options)
        .await?
        .cluster_info()
        .await
        .map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn a72_only_a_certificate_of_this_cluster_and_the_right_role_gets_in() {
    let (cluster, dir) = bare().await;
    let layout = cluster.layout();
    let file = layout.cluster();
    attempt(&Options::beside(&file, "client"))
        .await
        .expect("the right one gets in");

    let id = ClusterId::parse(cluster.id()).expect("an id");
    let other = pki::make_ca(&id, validity()).expect("another authority");
    let strange = issue(&other, Role::Client, &dir.path().join("strange"));
    let ca = read_authority(layout.ca().as_path(), &id);
    let both = trust(&dir.path().join("both"), &[&ca, &other]);
    let refused = attempt(&options(&file, &strange, &both))
        .await
        .expect_err("another authority");
    assert!(is_turned_away(&refused), "{refused:?}");

    let foreign_id = ClusterId::parse("c-other").expect("an id");
    let foreign = Authority::from_pem(
        &foreign_id,
        ca.cert_pem(),
        &std::fs::read_to_string(layout.ca().join("ca.key")).expect("the key"),
    )
    .expect("the same authority, for another cluster's names");
    let foreign = issue(&foreign, Role::Client, &dir.path().join("foreign"));
    let refused = attempt(&options(&file, &foreign, &layout.ca()))
        .await
        .expect_err("another cluster");
    assert!(
        matches!(refused, Error::Fix(Fix::Config { .. })),
        "this side does not even dial: {refused:?}"
    );

    let client = cluster.client("client").await.expect("a client");
    let refused = client
        .create_key("k", "ed25519", 2, |_| ())
        .await
        .expect_err("no operator");
    assert!(
        matches!(refused, Error::Fix(Fix::NotAuthorised { .. })),
        "{refused:?}"
    );
    let refused = client.keys().await.expect_err("no operator");
    assert!(
        matches!(refused, Error::Fix(Fix::NotAuthorised { .. })),
        "{refused:?}"
    );

    for identity in ["client", "operator"] {
        let code = link(&cluster, &layout.identity(identity), hello(&cluster, 1)).await;
        assert_eq!(code, Code::PermissionDenied, "{identity} is no node");
    }
    no_certificate(&cluster).await;
    plain_text(&cluster).await;
    attempt(&Options::beside(&file, "client"))
        .await
        .expect("and still gets in");
}

fn read_authority(dir: &Path, id: &ClusterId) -> Authority {
    let read = |name| std::fs::read_to_string(dir.join(name)).expect("a file");
    Authority::from_pem(id, &read("ca.pem"), &read("ca.key")).expect("the authority")
}

/// TLS as it should be, but nothing to show for oneself.
async fn no_certificate(cluster: &cli::local::LocalCluster) {
    let entry = &cluster.made().cluster.coordinator;
    let mut roots = RootCertStore::empty();
    let ca =
        CertificateDer::from_pem_file(cluster.layout().ca().join("ca.pem")).expect("the authority");
    roots.add(ca).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = tokio::net::TcpStream::connect(&entry.addr)
        .await
        .expect("a connection");
    let name = ServerName::try_from(entry.server_name.clone()).expect("a name");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    // The client is done before the server has judged it, so the refusal shows at the first read.
    if let Ok(mut tls) = connector.connect(name, tcp).await {
        let mut answer = Vec::new();
        let read = tls.read_to_end(&mut answer).await;
        let error = read.expect_err("an alert").to_string();
        assert!(error.contains("CertificateRequired"), "{error}");
    }
}

async fn plain_text(cluster: &cli::local::LocalCluster) {
    let addr = &cluster.made().cluster.coordinator.addr;
    let mut tcp = tokio::net::TcpStream::connect(addr)
        .await
        .expect("a connection");
    tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .expect("sent");
    let mut answer = Vec::new();
    let _reset = tcp.read_to_end(&mut answer).await;
    // At most a TLS alert (type 21), never an HTTP/2 frame.
    assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a72_a_certificate_revoked_while_connected_is_cut_off() {
    let (cluster, dir) = bare().await;
    let file = cluster.layout().cluster();
    let id = ClusterId::parse(cluster.id()).expect("an id");
    let ca = read_authority(&cluster.layout().ca(), &id);
    let stolen = issue(&ca, Role::Client, &dir.path().join("stolen"));
    let before = trust(&dir.path().join("before"), &[&ca]);
    let client = Client::connect(&options(&file, &stolen, &before))
        .await
        .expect("still good");
    client.cluster_info().await.expect("still good");

    let pem = std::fs::read(stolen.join("tls.pem")).expect("the certificate");
    let der = CertificateDer::from_pem_slice(&pem).expect("a certificate");
    let leaf = Leaf::read(&der, &id).expect("its names");
    let crl = ca.crl(&[leaf.serial], 2, validity()).expect("a list");
    let path = cluster.layout().ca().join("crl.pem");
    std::fs::write(path.with_extension("new"), crl).expect("written");
    std::fs::rename(path.with_extension("new"), &path).expect("put in place");

    let mut cut = None;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if let Err(error) = client.cluster_info().await {
            cut = Some(error);
            break;
        }
    }
    let error = cut.expect("cut off within five seconds");
    assert!(is_turned_away(&error), "{error:?}");
    let refused = attempt(&options(&file, &stolen, &before))
        .await
        .expect_err("and not let in again");
    assert!(is_turned_away(&refused), "{refused:?}");
    attempt(&Options::beside(&file, "client"))
        .await
        .expect("others go on");
}

fn hello(cluster: &cli::local::LocalCluster, index: u16) -> Hello {
    let node = cluster.made().cluster.node(index).expect("a node");
    let identity = mpc_core::identity::IdentityPublic::from_bytes(&node.identity).expect("a key");
    Hello {
        cluster_id: cluster.id().to_owned(),
        node_id: identity.node_id().as_bytes().to_vec().into(),
        index: u32::from(index),
        boot_id: vec![1; 16].into(),
        software: "test".to_owned(),
    }
}

/// Opens a node's link with this identity, says this hello and a false proof; gives the code it ends with.
async fn link(cluster: &cli::local::LocalCluster, identity: &Path, hello: Hello) -> Code {
    let entry = &cluster.made().cluster.coordinator;
    let ca = cluster.layout().ca();
    let files = Files {
        ca: ca.join("ca.pem"),
        crl: ca.join("crl.pem"),
        cert: identity.join("tls.pem"),
        key: identity.join("tls.key"),
    };
    let id = ClusterId::parse(cluster.id()).expect("an id");
    let pins = entry
        .pins
        .iter()
        .map(|pin| SpkiPin::from_bytes(*pin))
        .collect();
    let target = Target::new(files, id, &entry.addr, &entry.server_name, pins);
    let channel = dial::connect(target).await.expect("the channel opens");
    let frame = |body| NodeFrame {
        version: 1,
        call_id: 0,
        body: Some(body),
    };
    let frames = vec![
        frame(Body::Hello(hello)),
        frame(Body::HelloProof(HelloProof {
            signature: vec![2; 64].into(),
        })),
    ];
    // The stream stays open after the false proof, as a hostile node's would.
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    for frame in frames {
        sender.send(frame).await.expect("room");
    }
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut answers = match NodeLinkClient::new(channel).link(stream).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => return status.code(),
    };
    let end = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            match answers.message().await {
                Ok(Some(_challenge)) => {}
                Ok(None) => return Code::Ok,
                Err(status) => return status.code(),
            }
        }
    });
    end.await.expect("the link is ended")
}

#[tokio::test(flavor = "multi_thread")]
async fn a71_node_3_cannot_speak_as_node_1() {
    let mut world = World::new(1_000_000, 1_000_000).await;
    let node_3 = world.cluster.layout().node(3);
    let code = link(&world.cluster, &node_3, hello(&world.cluster, 1)).await;
    assert_eq!(code, Code::PermissionDenied, "its certificate says 3");
    let code = link(&world.cluster, &node_3, hello(&world.cluster, 3)).await;
    assert_eq!(code, Code::PermissionDenied, "its proof is false");

    // Whoever was there is still there, and signs.
    let info = world.client.cluster_info().await.expect("the cluster");
    assert!(
        info.nodes.iter().filter(|n| n.connected).count() >= 2,
        "{info:?}"
    );
    let prepared = world.order("after", 1000).await;
    world.client.submit(&prepared).await.expect("accepted");
    let end = world
        .client
        .wait(prepared.id(), crate::world::PATIENCE)
        .await
        .expect("signed");
    world.assert_signed(&end);
}
