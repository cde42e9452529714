//! Files that change while connections are open.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use proto::{
    channel::{
        config::{ConfigError, FileKind},
        dial,
        event::{Closed, Event, Part, Refusal},
        identity::Role,
        pki::Validity,
    },
    v1,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{
    fixture::{Pki, SERVER_NAME, Server, ask, event, month, now, options, refusal},
    strangers::{ask_with, config, config_with_list, handshake_at},
};

/// A node's open link.
struct Link {
    send: mpsc::Sender<v1::NodeFrame>,
    receive: Streaming<v1::CoordinatorFrame>,
}

impl Link {
    async fn open(target: dial::Target) -> Self {
        let channel = dial::connect(target).await.unwrap();
        let (send, frames) = mpsc::channel(4);
        let mut client = v1::node_link_client::NodeLinkClient::new(channel);
        let receive = client
            .link(ReceiverStream::new(frames))
            .await
            .unwrap()
            .into_inner();
        let mut link = Self { send, receive };
        assert!(link.works().await);
        link
    }

    /// Whether a frame still goes there and back.
    async fn works(&mut self) -> bool {
        let frame = v1::NodeFrame {
            version: 1,
            call_id: 7,
            body: Some(v1::node_frame::Body::Tunnel(v1::Tunnel::default())),
        };
        if self.send.send(frame).await.is_err() {
            return false;
        }
        let answer = timeout(Duration::from_secs(5), self.receive.message())
            .await
            .unwrap();
        matches!(answer, Ok(Some(frame)) if frame.call_id == 7)
    }

    /// Waits for the end of the link; says how long it took.
    async fn end(&mut self) -> Duration {
        let start = Instant::now();
        let answer = timeout(Duration::from_secs(10), self.receive.message()).await;
        assert!(!matches!(answer.unwrap(), Ok(Some(_))));
        start.elapsed()
    }
}

fn kept(event: &Event) -> Option<(Option<Part>, ConfigError)> {
    match event {
        Event::FilesKept { part, error } => Some((*part, error.clone())),
        _ => None,
    }
}

fn replaced(wanted: Part) -> impl FnMut(&Event) -> Option<()> {
    move |event| (*event == Event::FilesReplaced(wanted)).then_some(())
}

#[tokio::test]
async fn a72_a_node_revoked_while_connected_loses_its_connection_and_nobody_else_does() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    let mut events = server.monitor.events();
    let (files, issued) = pki.member("one", Role::Node(1));
    let mut one = Link::open(server.target(files.clone())).await;
    let mut two = Link::open(server.target(pki.member("two", Role::Node(2)).0)).await;
    pki.publish(std::slice::from_ref(&issued.leaf.serial), 2);
    assert!(one.end().await < Duration::from_secs(3));
    let (peer, why) = event(&mut events, |event| match event {
        Event::ConnectionClosed { peer, why } => Some((peer.clone(), why.clone())),
        _ => None,
    })
    .await;
    assert_eq!(
        (peer.role, peer.serial),
        (Role::Node(1), issued.leaf.serial)
    );
    assert!(
        matches!(why, Closed::NoLongerAdmitted(Refusal::Certificate(text)) if text.contains("Revoked"))
    );
    assert!(two.works().await);
    assert_eq!(server.monitor.peers().len(), 1);
    // It does not come back either.
    let own = Some((issued.cert_pem.as_str(), issued.key_pem.as_str()));
    assert!(ask_with(&server, config(&pki, &server, own)).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a72_a_revocation_during_handshakes_leaves_no_connection_behind() {
    let pki = Pki::new();
    let (files, coordinator) = pki.member("coordinator", Role::Coordinator);
    let mut options = options(files);
    options.limits.per_identity = 1000;
    let server = Server::start_with(options, coordinator.leaf.pin).await;
    let mut events = server.monitor.events();
    for number in 2..5 {
        let (_, issued) = pki.member("one", Role::Node(1));
        let own = Some((issued.cert_pem.as_str(), issued.key_pem.as_str()));
        let client = config(&pki, &server, own);
        let replaced_yet = Arc::new(AtomicBool::new(false));
        let attempts: Vec<_> = (0..4)
            .map(|_| {
                let (client, addr) = (client.clone(), server.addr);
                let stop = replaced_yet.clone();
                tokio::spawn(async move {
                    let mut held = Vec::new();
                    while !stop.load(Ordering::Relaxed) && held.len() < 200 {
                        held.extend(handshake_at(addr, client.clone()).await);
                    }
                    held
                })
            })
            .collect();
        pki.publish(std::slice::from_ref(&issued.leaf.serial), number);
        event(&mut events, replaced(Part::Trust)).await;
        replaced_yet.store(true, Ordering::Relaxed);
        let mut held = Vec::new();
        for attempt in attempts {
            held.extend(attempt.await.unwrap());
        }
        // Some were closed by the sweep after the swap, and those whose handshake began before it by themselves.
        let gone = async {
            while !server.monitor.peers().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(5), gone)
            .await
            .expect("nobody revoked is connected");
        assert!(!held.is_empty());
    }
}

#[tokio::test]
async fn a72_an_expired_revocation_list_admits_nobody_and_closes_what_is_open() {
    let pki = Pki::new();
    let until = now() + 3;
    let short = pki
        .ca
        .crl(
            &[],
            2,
            Validity {
                from: now() - 60,
                until,
            },
        )
        .unwrap();
    pki.write("crl.pem", short.as_bytes());
    let server = Server::start(&pki).await;
    let mut events = server.monitor.events();
    let (_, issued) = pki.member("one", Role::Node(1));
    let own = Some((issued.cert_pem.as_str(), issued.key_pem.as_str()));
    // A client that has a longer list for itself.
    let long = pki.ca.crl(&[], 2, month()).unwrap();
    let client = config_with_list(&pki, &server, own, long.as_bytes());
    let mut link = Link::open(server.target(pki.files("one", &issued))).await;
    let end = link.end().await;
    assert!(now() >= until && end < Duration::from_secs(5), "{end:?}");
    event(&mut events, |event| {
        (*event == Event::TrustExpired { next_update: until }).then_some(())
    })
    .await;
    assert!(ask_with(&server, client).await.is_err());
    let why = refusal(&mut events).await;
    assert!(
        matches!(&why, Refusal::Certificate(text) if text.contains("expired")),
        "{why:?}"
    );
    // A new list repairs it without a restart.
    pki.publish(&[], 3);
    event(&mut events, replaced(Part::Trust)).await;
    assert_eq!(
        server.ask(pki.files("one", &issued)).await,
        Ok("node/1".to_owned())
    );
}

#[tokio::test]
async fn a72_a_bad_revocation_list_leaves_the_good_one_in_force() {
    let pki = Pki::new();
    let (_, revoked) = pki.member("bad", Role::Node(1));
    pki.publish(std::slice::from_ref(&revoked.leaf.serial), 5);
    let server = Server::start(&pki).await;
    let mut events = server.monitor.events();
    let (node, _) = pki.member("two", Role::Node(2));
    let own = Some((revoked.cert_pem.as_str(), revoked.key_pem.as_str()));
    let client = config(&pki, &server, own);
    let mut link = Link::open(server.target(node)).await;
    let garbage = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    let older = pki.ca.crl(&[], 4, month()).unwrap();
    let foreign = Pki::new().ca.crl(&[], 6, month()).unwrap();
    for (bytes, expected) in [
        ("", ConfigError::Empty(FileKind::Crl)),
        (garbage, ConfigError::Malformed(FileKind::Crl)),
        (&older, ConfigError::CrlRolledBack),
        (&foreign, ConfigError::CrlForeign),
    ] {
        pki.write("crl.pem", bytes.as_bytes());
        assert_eq!(
            event(&mut events, kept).await,
            (Some(Part::Trust), expected)
        );
        assert!(link.works().await);
        assert!(ask_with(&server, client.clone()).await.is_err());
        let why = refusal(&mut events).await;
        assert!(
            matches!(&why, Refusal::Certificate(text) if text.contains("Revoked")),
            "{why:?}"
        );
    }
    std::fs::remove_file(pki.path("crl.pem")).unwrap();
    let (part, error) = event(&mut events, kept).await;
    assert!(
        part.is_none()
            && matches!(
                error,
                ConfigError::Unreadable {
                    file: FileKind::Crl,
                    ..
                }
            )
    );
    assert!(link.works().await);
}

#[tokio::test]
async fn an_authority_is_succeeded_by_another_without_a_restart() {
    let (pki, next) = (Pki::new(), Pki::new());
    let server = Server::start(&pki).await;
    let mut events = server.monitor.events();
    let lists = |pki: &Pki| pki.ca.crl(&[], 2, month()).unwrap();
    let mut old = Link::open(server.target(pki.member("old", Role::Node(1)).0)).await;
    // Both for a while. One of the two files arrives first, and waits for the other.
    pki.write(
        "ca.pem",
        format!("{}{}", pki.ca.cert_pem(), next.ca.cert_pem()).as_bytes(),
    );
    let missing = (Some(Part::Trust), ConfigError::CrlMissing(2));
    assert_eq!(event(&mut events, kept).await, missing);
    pki.write(
        "crl.pem",
        format!("{}{}", lists(&pki), lists(&next)).as_bytes(),
    );
    event(&mut events, replaced(Part::Trust)).await;
    assert!(old.works().await);
    let issued = next.ca.issue(Role::Node(2), &[], month()).unwrap();
    let mut new = Link::open(server.target(pki.files("new", &issued))).await;
    // Then the new one alone: whoever still has an old certificate is out.
    let coordinator = next
        .ca
        .issue(Role::Coordinator, &[SERVER_NAME], month())
        .unwrap();
    pki.files("coordinator", &coordinator);
    event(&mut events, replaced(Part::Credential)).await;
    pki.write("ca.pem", next.ca.cert_pem().as_bytes());
    pki.write("crl.pem", lists(&next).as_bytes());
    event(&mut events, replaced(Part::Trust)).await;
    old.end().await;
    assert!(
        server
            .monitor
            .peers()
            .iter()
            .all(|peer| peer.role == Role::Node(2))
    );
    // The new member's connection was made to the old certificate of the coordinator, so the member itself left it.
    new.end().await;
    let mut target = server.target(pki.files("new", &issued));
    target.pins = vec![coordinator.leaf.pin];
    assert!(Link::open(target).await.works().await);
}

#[tokio::test]
async fn a_problem_that_lasts_is_reported_once() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    let mut events = server.monitor.events();
    pki.write("crl.pem", b"");
    event(&mut events, kept).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(events.try_recv().is_err());
}

#[tokio::test]
async fn the_server_certificate_is_replaced_without_dropping_a_connection() {
    let pki = Pki::new();
    let (files, old) = pki.member("coordinator", Role::Coordinator);
    let server = Server::start_with(options(files), old.leaf.pin).await;
    let mut events = server.monitor.events();
    let (node, _) = pki.member("node", Role::Node(1));
    let mut link = Link::open(server.target(node.clone())).await;
    let new = pki
        .ca
        .issue(Role::Coordinator, &[SERVER_NAME], month())
        .unwrap();
    // Half of a pair is not used, and completed later without another sign.
    pki.write("coordinator.pem", new.cert_pem.as_bytes());
    assert_eq!(
        event(&mut events, kept).await,
        (Some(Part::Credential), ConfigError::KeyMismatch)
    );
    assert_eq!(server.ask(node.clone()).await, Ok("node/1".to_owned()));
    pki.write("coordinator.key", new.key_pem.as_bytes());
    event(&mut events, replaced(Part::Credential)).await;
    assert!(link.works().await);
    // New connections see the new key: the old pin refuses it, the new one takes it.
    assert!(dial::connect(server.target(node.clone())).await.is_err());
    let mut target = server.target(node);
    target.pins = vec![old.leaf.pin, new.leaf.pin];
    assert_eq!(
        ask(dial::connect(target).await.unwrap()).await,
        Ok("node/1".to_owned())
    );
    assert!(link.works().await);
}

#[tokio::test]
async fn a_replaced_certificate_of_another_role_or_authority_is_not_used() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    let mut events = server.monitor.events();
    let (node, _) = pki.member("node", Role::Node(1));
    pki.files(
        "coordinator",
        &pki.ca.issue(Role::Operator, &[], month()).unwrap(),
    );
    let mut last = event(&mut events, kept).await;
    if last.1 == ConfigError::KeyMismatch {
        last = event(&mut events, kept).await;
    }
    assert!(
        matches!(last, (Some(Part::Credential), ConfigError::Identity(_))),
        "{last:?}"
    );
    assert_eq!(server.ask(node).await, Ok("node/1".to_owned()));
}

#[tokio::test]
async fn a_connection_ends_with_its_certificate() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    let until = now() + 2;
    let issued = pki
        .ca
        .issue(
            Role::Node(1),
            &[],
            Validity {
                from: now() - 60,
                until,
            },
        )
        .unwrap();
    let mut link = Link::open(server.target(pki.files("short", &issued))).await;
    let end = link.end().await;
    assert!(now() > until && end < Duration::from_secs(5), "{end:?}");
    assert!(server.monitor.peers().is_empty());
}

#[tokio::test]
async fn a_dialler_leaves_a_coordinator_that_was_revoked() {
    let (pki, theirs) = (Pki::new(), tempfile::tempdir().unwrap());
    let (files, coordinator) = pki.member("coordinator", Role::Coordinator);
    let server = Server::start_with(options(files), coordinator.leaf.pin).await;
    // The node has its own copy of the list; the coordinator goes on with the one it likes better.
    let (mut node, _) = pki.member("node", Role::Node(1));
    node.crl = theirs.path().join("crl.pem");
    std::fs::copy(pki.path("crl.pem"), &node.crl).unwrap();
    let mut link = Link::open(server.target(node.clone())).await;
    let list = pki.ca.crl(&[coordinator.leaf.serial], 2, month()).unwrap();
    super::fixture::replace(&node.crl, list.as_bytes());
    assert!(link.end().await < Duration::from_secs(3));
    assert!(dial::connect(server.target(node)).await.is_err());
}

#[tokio::test]
async fn a_renewed_client_certificate_is_used_at_the_next_connection() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    let (files, old) = pki.member("node", Role::Node(1));
    let channel = dial::connect(server.target(files)).await.unwrap();
    assert_eq!(ask(channel.clone()).await, Ok("node/1".to_owned()));
    let (_, new) = pki.member("node", Role::Node(1));
    assert_eq!(server.monitor.close(old.leaf.pin), 1);
    let again = async {
        // The first request may still meet the old connection.
        while ask(channel.clone()).await.is_err() {}
    };
    timeout(Duration::from_secs(10), again).await.unwrap();
    let seen: Vec<_> = server
        .seen
        .lock()
        .unwrap()
        .iter()
        .map(|peer| peer.pin)
        .collect();
    assert_eq!(seen, [old.leaf.pin, new.leaf.pin]);
}
