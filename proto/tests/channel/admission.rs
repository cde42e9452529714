//! Which certificates are let in.
use std::{os::unix::fs::PermissionsExt as _, process::Stdio, time::Duration};

use proto::{
    channel::{
        acceptor,
        config::{ConfigError, FileKind, Files},
        dial::{self, DialError},
        event::Refusal,
        identity::{IdentityError, Role, RoleKind, SpkiPin},
        pki::{Authority, Validity},
    },
    v1,
};
use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use tokio::{net::TcpListener, time::timeout};
use tokio_stream::StreamExt as _;
use tonic::transport::Endpoint;

use super::{
    fixture::{Pki, SERVER_NAME, Server, ask, month, now, options, refusal},
    strangers::{ask_with, config, handshake, namesake, odd, self_signed},
};

#[tokio::test]
async fn every_member_role_is_admitted_and_named() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    for role in [Role::Client, Role::Operator, Role::Node(3)] {
        let (files, issued) = pki.member("member", role);
        assert_eq!(server.ask(files).await, Ok(role.to_string()));
        let peer = server.seen.lock().unwrap().pop().unwrap();
        assert_eq!(
            (peer.role, peer.pin, peer.serial),
            (role, issued.leaf.pin, issued.leaf.serial)
        );
    }
}

/// Presents `own` and says why the server refused; no request may have come through.
async fn refused(pki: &Pki, server: &Server, own: Option<(&str, &str)>) -> Refusal {
    let mut events = server.monitor.events();
    let answer = ask_with(server, config(pki, server, own)).await;
    assert!(answer.is_err(), "{answer:?}");
    assert!(server.seen.lock().unwrap().is_empty());
    assert!(server.monitor.peers().is_empty());
    refusal(&mut events).await
}

fn certificate(why: &Refusal) -> &str {
    match why {
        Refusal::Certificate(text) => text,
        _ => panic!("not refused for its certificate: {why:?}"),
    }
}

#[tokio::test]
async fn a72_no_certificate_is_refused() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    assert!(certificate(&refused(&pki, &server, None).await).contains("no certificates"));
}

#[tokio::test]
async fn a72_a_self_signed_certificate_with_the_right_names_and_key_is_refused() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    let (_, issued) = pki.member("node", Role::Node(1));
    let (cert, key) = self_signed(&issued, Role::Node(1));
    let why = refused(&pki, &server, Some((&cert, &key))).await;
    assert!(certificate(&why).contains("UnknownIssuer"), "{why:?}");
}

#[tokio::test]
async fn a72_a_certificate_of_another_authority_is_refused() {
    let (pki, other) = (Pki::new(), Pki::new());
    let server = Server::start(&pki).await;
    let issued = other.ca.issue(Role::Node(1), &[], month()).unwrap();
    let own = Some((issued.cert_pem.as_str(), issued.key_pem.as_str()));
    let why = refused(&pki, &server, own).await;
    assert!(certificate(&why).contains("UnknownIssuer"), "{why:?}");
    let (cert, key) = namesake(&pki.ca, Role::Node(1));
    let why = refused(&pki, &server, Some((&cert, &key))).await;
    assert!(certificate(&why).contains("BadSignature"), "{why:?}");
}

#[tokio::test]
async fn a72_expired_and_not_yet_valid_certificates_are_refused() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    for (from, until, word) in [
        (now() - 7200, now() - 60, "expired"),
        (now() + 60, now() + 7200, "not valid yet"),
    ] {
        let issued = pki
            .ca
            .issue(Role::Node(1), &[], Validity { from, until })
            .unwrap();
        let why = refused(&pki, &server, Some((&issued.cert_pem, &issued.key_pem))).await;
        assert!(certificate(&why).contains(word), "{why:?}");
        // Our own dialler does not even try.
        let error = dial::connect(server.target(pki.files("stale", &issued)))
            .await
            .unwrap_err();
        let expected = ConfigError::CertificateNotValidNow {
            serial: issued.leaf.serial.to_string(),
            not_before: from,
            not_after: until,
        };
        assert_eq!(error, DialError::Files(expected));
    }
}

#[tokio::test]
async fn a72_the_right_authority_and_the_wrong_role_is_refused() {
    let pki = Pki::new();
    let (files, issued) = pki.member("coordinator", Role::Coordinator);
    let mut options = options(files);
    options.roles = vec![RoleKind::Node];
    let server = Server::start_with(options, issued.leaf.pin).await;
    for role in [Role::Client, Role::Operator] {
        let (_, issued) = pki.member("member", role);
        let why = refused(&pki, &server, Some((&issued.cert_pem, &issued.key_pem))).await;
        assert_eq!(why, Refusal::Identity(IdentityError::Role { found: role }));
    }
    // A coordinator's certificate is for servers only, and not admitted as a client even where its role would be.
    let why = refused(&pki, &server, Some((&issued.cert_pem, &issued.key_pem))).await;
    assert!(certificate(&why).contains("extended key"), "{why:?}");
    let (cert, key) = odd(&pki.ca, &["quorate://demo/coordinator"], ClientAuth);
    let why = refused(&pki, &server, Some((&cert, &key))).await;
    assert_eq!(
        why,
        Refusal::Identity(IdentityError::Role {
            found: Role::Coordinator
        })
    );
    // The accepted role is accepted.
    assert_eq!(
        server.ask(pki.member("node", Role::Node(2)).0).await,
        Ok("node/2".to_owned())
    );
}

#[tokio::test]
async fn a72_names_that_leave_a_choice_or_name_nothing_are_refused() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    let cases: [(&[&str], IdentityError); 8] = [
        (&[], IdentityError::NoRole),
        (&["https://demo/node/1"], IdentityError::NoRole),
        (&["quorate://demo"], IdentityError::NoRole),
        (
            &["quorate://demo/node/1", "quorate://demo/operator"],
            IdentityError::Several,
        ),
        (&["quorate://other/node/1"], IdentityError::ForeignCluster),
        (
            &["quorate://demo/node/0"],
            IdentityError::Malformed("node index"),
        ),
        (
            &["quorate://demo/node/01"],
            IdentityError::Malformed("node index"),
        ),
        (
            &["quorate://demo/root"],
            IdentityError::Malformed("unknown role"),
        ),
    ];
    for (uris, expected) in cases {
        let (cert, key) = odd(&pki.ca, uris, ClientAuth);
        let why = refused(&pki, &server, Some((&cert, &key))).await;
        assert_eq!(why, Refusal::Identity(expected), "{uris:?}");
    }
}

#[tokio::test]
async fn a72_a_certificate_of_a_cluster_that_shares_the_authority_is_refused() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    let other = policy::id::ClusterId::parse("other").unwrap();
    let shared = Authority::from_pem(&other, pki.ca.cert_pem(), &pki.ca.key_pem()).unwrap();
    let issued = shared.issue(Role::Node(1), &[], month()).unwrap();
    let why = refused(&pki, &server, Some((&issued.cert_pem, &issued.key_pem))).await;
    assert_eq!(why, Refusal::Identity(IdentityError::ForeignCluster));
}

#[tokio::test]
async fn a72_a_revoked_certificate_is_refused() {
    let pki = Pki::new();
    let (_, issued) = pki.member("node", Role::Node(1));
    pki.publish(std::slice::from_ref(&issued.leaf.serial), 2);
    let server = Server::start(&pki).await;
    let why = refused(&pki, &server, Some((&issued.cert_pem, &issued.key_pem))).await;
    assert!(certificate(&why).contains("Revoked"), "{why:?}");
    assert_eq!(
        server.ask(pki.member("two", Role::Node(2)).0).await,
        Ok("node/2".to_owned())
    );
}

#[tokio::test]
async fn a72_the_newest_of_several_lists_counts_wherever_it_stands() {
    let pki = Pki::new();
    let (_, issued) = pki.member("node", Role::Node(1));
    let old = pki.ca.crl(&[], 1, month()).unwrap();
    let new = pki.ca.crl(&[issued.leaf.serial], 2, month()).unwrap();
    for lists in [format!("{old}{new}"), format!("{new}{old}")] {
        pki.write("crl.pem", lists.as_bytes());
        let server = Server::start(&pki).await;
        let own = Some((issued.cert_pem.as_str(), issued.key_pem.as_str()));
        let why = refused(&pki, &server, own).await;
        assert!(certificate(&why).contains("Revoked"), "{why:?}");
    }
}

#[tokio::test]
async fn a_dialler_says_what_is_wrong_with_its_own_files_also_later() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    let (coordinator, _) = pki.member("second", Role::Coordinator);
    let found = Role::Coordinator;
    let expected = DialError::Files(ConfigError::Identity(IdentityError::Role { found }));
    let error = dial::connect(server.target(coordinator.clone()))
        .await
        .unwrap_err();
    assert_eq!(error, expected);
    let lazy = dial::connect_lazy(server.target(coordinator));
    let mut client = v1::quorate_client::QuorateClient::new(lazy);
    let status = client.get_cluster(v1::ClusterQuery {}).await.unwrap_err();
    assert_eq!(DialError::find(&status), Some(&expected));
    // Nobody there.
    let mut target = server.target(pki.member("node", Role::Node(1)).0);
    target.addr = "127.0.0.1:1".to_owned();
    let error = dial::connect(target.clone()).await.unwrap_err();
    assert!(matches!(error, DialError::Connect { .. }), "{error:?}");
    // Somebody there who never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    target.addr = silent.local_addr().unwrap().to_string();
    target.deadline = Duration::from_millis(200);
    let error = dial::connect(target.clone()).await.unwrap_err();
    assert_eq!(
        error,
        DialError::TimedOut {
            addr: target.addr,
            deadline: target.deadline
        }
    );
}

#[tokio::test]
async fn a72_plain_http2_is_refused() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    let mut events = server.monitor.events();
    let plain = Endpoint::from_shared(format!("http://{}", server.addr))
        .unwrap()
        .connect_lazy();
    assert!(ask(plain).await.is_err());
    assert!(matches!(refusal(&mut events).await, Refusal::Tls(_)));
    assert!(server.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a72_a_client_that_does_not_ask_for_http2_is_refused() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    let (_, issued) = pki.member("node", Role::Node(1));
    for offered in [
        Vec::new(),
        vec![b"http/1.1".to_vec()],
        vec![b"quorate-peer/1".to_vec()],
    ] {
        let mut events = server.monitor.events();
        let mut config = config(&pki, &server, Some((&issued.cert_pem, &issued.key_pem)));
        config.alpn_protocols = offered;
        // Without any name the client's side of the handshake may end well before the server hangs up.
        let _ = handshake(&server, config).await;
        assert_eq!(refusal(&mut events).await, Refusal::NoHttp2);
    }
}

/// Runs OpenSSL's client with the node's certificate and returns everything it says, and whether it was let in.
async fn openssl(files: &Files, server: &Server, flags: &[&str]) -> Option<(bool, String)> {
    let mut command = tokio::process::Command::new("openssl");
    command
        .args([
            "s_client",
            "-brief",
            "-alpn",
            "h2",
            "-servername",
            SERVER_NAME,
            "-connect",
        ])
        .arg(server.addr.to_string())
        .args(flags)
        .arg("-CAfile")
        .arg(&files.ca)
        .arg("-cert")
        .arg(&files.cert)
        .arg("-key")
        .arg(&files.key)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(Duration::from_secs(20), command.output())
        .await
        .ok()?
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Some((output.status.success(), said))
}

#[tokio::test]
async fn a72_tls_12_is_refused_and_another_implementation_of_tls_13_is_not() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    let (files, _) = pki.member("node", Role::Node(1));
    let mut events = server.monitor.events();
    let Some((admitted, said)) = openssl(&files, &server, &["-tls1_2"]).await else {
        println!("skipped: there is no openssl program here");
        return;
    };
    assert!(!admitted, "{said}");
    assert!(matches!(refusal(&mut events).await, Refusal::Tls(_)));
    let (admitted, said) = openssl(&files, &server, &["-tls1_3"]).await.unwrap();
    assert!(admitted && said.contains("TLSv1.3"), "{said}");
}

#[tokio::test]
async fn a72_a_server_whose_key_is_not_pinned_is_refused() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    let (files, _) = pki.member("node", Role::Node(1));
    for pins in [vec![], vec![SpkiPin::from_bytes([7; 32])]] {
        let mut target = server.target(files.clone());
        target.pins = pins;
        let error = dial::connect(target).await.unwrap_err();
        let why = Refusal::Identity(IdentityError::Unpinned { found: server.pin });
        assert_eq!(
            error,
            DialError::Refused {
                addr: server.addr.to_string(),
                why
            }
        );
    }
    assert!(server.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a72_a_server_that_is_not_the_coordinator_asked_for_is_refused() {
    let pki = Pki::new();
    let (_, issued) = pki.member("coordinator", Role::Coordinator);
    let (node, _) = pki.member("node", Role::Node(1));
    let server =
        Server::start_with(options(pki.files("coordinator", &issued)), issued.leaf.pin).await;
    // Another name.
    let mut target = server.target(node.clone());
    target.server_name = "elsewhere.test".to_owned();
    let error = dial::connect(target).await.unwrap_err();
    assert!(
        matches!(&error, DialError::Refused { why: Refusal::Certificate(text), .. } if text.contains("not valid for name")),
        "{error:?}"
    );
    // Another authority: what this one says about the pinned key does not count.
    let other = Pki::new();
    let error = dial::connect(server.target(other.member("node", Role::Node(1)).0))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            DialError::Refused {
                why: Refusal::Certificate(_),
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a71_the_index_a_node_claims_does_not_change_who_it_is() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    let (files, issued) = pki.member("node", Role::Node(3));
    let channel = dial::connect(server.target(files)).await.unwrap();
    let hello = v1::Hello {
        cluster_id: "demo".to_owned(),
        index: 1,
        ..Default::default()
    };
    let claim = v1::NodeFrame {
        version: 1,
        body: Some(v1::node_frame::Body::Hello(hello)),
        ..Default::default()
    };
    let mut link = v1::node_link_client::NodeLinkClient::new(channel);
    let mut answers = link
        .link(tokio_stream::iter([claim]))
        .await
        .unwrap()
        .into_inner();
    while answers.next().await.is_some() {}
    let peer = server.seen.lock().unwrap().pop().unwrap();
    assert_eq!((peer.role, peer.pin), (Role::Node(3), issued.leaf.pin));
}

#[tokio::test]
async fn a71_a_client_cannot_open_a_node_link() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    let channel = dial::connect(server.target(pki.member("client", Role::Client).0))
        .await
        .unwrap();
    let mut link = v1::node_link_client::NodeLinkClient::new(channel);
    let status = link.link(tokio_stream::iter([])).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
}

#[tokio::test]
async fn a72_files_that_would_admit_too_much_or_nobody_are_refused_at_the_start() {
    let pki = Pki::new();
    let (good, issued) = pki.member("coordinator", Role::Coordinator);
    let start = async |files: Files| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        acceptor::accept(listener, options(files)).map(drop)
    };
    let with_crl = |name: &str, bytes: &[u8]| {
        pki.write(name, bytes);
        Files {
            crl: pki.path(name),
            ..good.clone()
        }
    };
    let crl = |from, until| pki.ca.crl(&[], 1, Validity { from, until }).unwrap();
    assert_eq!(start(good.clone()).await, Ok(()));
    // rustls would take no list at all for "do not check".
    let empty = Err(ConfigError::Empty(FileKind::Crl));
    assert_eq!(start(with_crl("none", b"")).await, empty);
    assert_eq!(start(with_crl("text", b"nothing to see here")).await, empty);
    let expired = crl(now() - 600, now() - 5);
    assert!(matches!(
        start(with_crl("old", expired.as_bytes())).await,
        Err(ConfigError::CrlExpired { next_update }) if next_update < now()
    ));
    let future = crl(now() + 600, now() + 1200);
    assert!(matches!(
        start(with_crl("early", future.as_bytes())).await,
        Err(ConfigError::CrlNotYetValid { .. })
    ));
    let foreign = Pki::new().ca.crl(&[], 9, month()).unwrap();
    assert_eq!(
        start(with_crl("foreign", foreign.as_bytes())).await,
        Err(ConfigError::CrlForeign)
    );
    // Two authorities, one list: certificates of the second could not be judged.
    let both = format!("{}{}", pki.ca.cert_pem(), Pki::new().ca.cert_pem());
    pki.write("both.pem", both.as_bytes());
    let files = Files {
        ca: pki.path("both.pem"),
        ..good.clone()
    };
    assert_eq!(start(files).await, Err(ConfigError::CrlMissing(2)));
    // Key of another certificate.
    let (other, _) = pki.member("other", Role::Coordinator);
    let files = Files {
        key: other.key,
        ..good.clone()
    };
    assert_eq!(start(files).await, Err(ConfigError::KeyMismatch));
    // Own certificate of another authority, or revoked.
    let abroad = Pki::new();
    let stranger = abroad
        .ca
        .issue(Role::Coordinator, &[SERVER_NAME], month())
        .unwrap();
    let files = pki.files("stranger", &stranger);
    assert!(matches!(
        start(files).await,
        Err(ConfigError::CertificateRefused(_))
    ));
    let revoking = pki.ca.crl(&[issued.leaf.serial], 2, month()).unwrap();
    let files = with_crl("revoking", revoking.as_bytes());
    assert!(matches!(
        start(files).await,
        Err(ConfigError::CertificateRefused(_))
    ));
    // A certificate for another end of the channel.
    let (node, _) = pki.member("node", Role::Node(1));
    let found = Role::Node(1);
    assert_eq!(
        start(node).await,
        Err(ConfigError::Identity(IdentityError::Role { found }))
    );
    // A key that everybody may read.
    let (exposed, _) = pki.member("exposed", Role::Coordinator);
    let everybody = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(&exposed.key, everybody).unwrap();
    assert_eq!(
        start(exposed).await,
        Err(ConfigError::KeyExposed { mode: 0o644 })
    );
    // A file that is not there.
    let files = Files {
        crl: pki.path("absent"),
        ..good
    };
    assert!(matches!(
        start(files).await,
        Err(ConfigError::Unreadable {
            file: FileKind::Crl,
            kind: std::io::ErrorKind::NotFound,
            ..
        })
    ));
}

#[tokio::test]
async fn a_server_certificate_for_clients_is_refused_by_the_dialler() {
    let pki = Pki::new();
    let (files, issued) = pki.member("coordinator", Role::Coordinator);
    // A role other than coordinator on a certificate that may otherwise serve: made by hand.
    let (cert, key) = odd(&pki.ca, &["quorate://demo/operator"], ServerAuth);
    pki.write("odd.pem", cert.as_bytes());
    pki.write("odd.key", key.as_bytes());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = Server::start_with(options(files), issued.leaf.pin).await;
    let pin = SpkiPin::of(&rustls_pem(&cert)).unwrap();
    tokio::spawn(impostor(listener, cert, key));
    let mut target = server.target(pki.member("node", Role::Node(1)).0);
    target.addr = addr.to_string();
    target.pins = vec![pin];
    let error = dial::connect(target).await.unwrap_err();
    let why = Refusal::Identity(IdentityError::Role {
        found: Role::Operator,
    });
    assert_eq!(
        error,
        DialError::Refused {
            addr: addr.to_string(),
            why
        }
    );
}

fn rustls_pem(cert: &str) -> rustls::pki_types::CertificateDer<'static> {
    rustls::pki_types::pem::PemObject::from_pem_slice(cert.as_bytes()).unwrap()
}

/// A TLS server that asks for nothing and presents a certificate of the authority.
async fn impostor(listener: TcpListener, cert: String, key: String) {
    let key = rustls::pki_types::pem::PemObject::from_pem_slice(key.as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(proto::channel::config::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![rustls_pem(&cert)], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    while let Ok((tcp, _)) = listener.accept().await {
        let _ = acceptor.accept(tcp).await;
    }
}
