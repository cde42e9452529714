//! What a hostile client can make the server spend.
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use proto::{
    channel::{acceptor::Limits, dial, event::Refusal, identity::Role},
    limits, v1,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, body::Body, transport::Channel};
use tower::{Service as _, ServiceExt as _};

use super::{
    fixture::{Pki, Server, options, refusal},
    strangers::{config, handshake},
};

async fn limited(pki: &Pki, limits: Limits) -> Server {
    let (files, issued) = pki.member("coordinator", Role::Coordinator);
    let mut options = options(files);
    options.limits = limits;
    Server::start_with(options, issued.leaf.pin).await
}

#[tokio::test]
async fn a75_a_handshake_that_stalls_is_given_up() {
    let pki = Pki::new();
    let limit = Duration::from_millis(300);
    let server = limited(
        &pki,
        Limits {
            handshake: limit,
            ..Limits::default()
        },
    )
    .await;
    let mut events = server.monitor.events();
    let start = Instant::now();
    let mut silent = TcpStream::connect(server.addr).await.unwrap();
    // The beginning of a client hello, and then nothing.
    silent
        .write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01])
        .await
        .unwrap();
    assert_eq!(refusal(&mut events).await, Refusal::Deadline);
    let mut end = [0; 16];
    let closed = timeout(Duration::from_secs(5), silent.read(&mut end))
        .await
        .unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)));
    assert!(start.elapsed() >= limit);
}

#[tokio::test]
async fn a75_a_thousand_half_open_connections_are_bounded_and_members_still_get_in() {
    let pki = Pki::new();
    let most = 32;
    let limits = Limits {
        handshake: Duration::from_secs(60),
        handshakes: most,
        ..Limits::default()
    };
    let server = limited(&pki, limits).await;
    let mut events = server.monitor.events();
    let mut open = Vec::new();
    let mut evicted = 0;
    for number in 1..=1000 {
        let mut stalled = TcpStream::connect(server.addr).await.unwrap();
        stalled.write_all(&[0x16]).await.unwrap();
        open.push(stalled);
        // Every connection above the limit pushes one out.
        if number > most {
            assert_eq!(refusal(&mut events).await, Refusal::Evicted);
            evicted += 1;
        }
        // Those were closed by the server; closing them here too keeps the test below its own file limit.
        if open.len() > 200 {
            let mut oldest = open.remove(0);
            let mut end = [0; 1];
            let closed = timeout(Duration::from_secs(5), oldest.read(&mut end))
                .await
                .unwrap();
            assert!(matches!(closed, Ok(0) | Err(_)));
        }
    }
    assert_eq!(evicted, 1000 - most);
    let start = Instant::now();
    assert_eq!(
        server.ask(pki.member("node", Role::Node(1)).0).await,
        Ok("node/1".to_owned())
    );
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a75_connections_are_capped_per_key_and_in_total() {
    let pki = Pki::new();
    let limits = Limits {
        connections: 3,
        per_identity: 2,
        ..Limits::default()
    };
    let server = limited(&pki, limits).await;
    let mut events = server.monitor.events();
    let (one, issued) = pki.member("one", Role::Node(1));
    let mut held = Vec::new();
    for _ in 0..2 {
        let channel = dial::connect(server.target(one.clone())).await.unwrap();
        assert_eq!(
            super::fixture::ask(channel.clone()).await,
            Ok("node/1".to_owned())
        );
        held.push(channel);
    }
    assert!(server.ask(one.clone()).await.is_err());
    assert_eq!(
        refusal(&mut events).await,
        Refusal::TooManyOfIdentity(issued.leaf.pin)
    );
    // The greedy key does not keep another one out; the total does.
    let two = dial::connect(server.target(pki.member("two", Role::Node(2)).0))
        .await
        .unwrap();
    assert_eq!(
        super::fixture::ask(two.clone()).await,
        Ok("node/2".to_owned())
    );
    let mut events = server.monitor.events();
    assert!(
        server
            .ask(pki.member("three", Role::Node(3)).0)
            .await
            .is_err()
    );
    assert_eq!(refusal(&mut events).await, Refusal::TooManyInTotal);
    // A place is free again as soon as a connection is gone.
    held.clear();
    let free = async {
        while server.monitor.peers().len() > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), free).await.unwrap();
    assert_eq!(server.ask(one).await, Ok("node/1".to_owned()));
}

/// Sends bytes as the body of a call, past every check of the generated client.
async fn raw_call(channel: &mut Channel, path: &str, body: Body) -> Option<Code> {
    let request = http_request(path, body);
    let service = channel.ready().await.unwrap();
    let response = timeout(Duration::from_secs(10), service.call(request))
        .await
        .unwrap()
        .unwrap();
    let status = response
        .headers()
        .get("grpc-status")?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    Some(Code::from_i32(status))
}

fn http_request(path: &str, body: Body) -> tonic::codegen::http::Request<Body> {
    tonic::codegen::http::Request::builder()
        .method("POST")
        .uri(format!("http://coordinator{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap()
}

#[tokio::test]
async fn a75_a_length_of_two_gigabytes_is_refused_from_its_prefix() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    let node = pki.member("node", Role::Node(1)).0;
    let mut channel = dial::connect(server.target(node.clone())).await.unwrap();
    let start = Instant::now();
    for path in [
        "/quorate.v1.Quorate/Submit",
        "/quorate.v1.Quorate/GetCluster",
    ] {
        // No compression, a length of 0x7f7f7f7f, and not one byte of content.
        let body = Body::new("\0\x7f\x7f\x7f\x7f".to_owned());
        let code = raw_call(&mut channel, path, body).await;
        assert_eq!(code, Some(Code::OutOfRange), "{path}");
    }
    assert!(start.elapsed() < Duration::from_secs(5));
    // Compressed messages are not unpacked.
    let body = Body::new("\x01\0\0\0\x01x".to_owned());
    assert_eq!(
        raw_call(&mut channel, "/quorate.v1.Quorate/Submit", body).await,
        Some(Code::Internal)
    );
    // The same connection still serves.
    assert_eq!(super::fixture::ask(channel).await, Ok("node/1".to_owned()));
}

#[tokio::test]
async fn a75_a_message_above_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    let client = pki.member("client", Role::Client).0;
    let channel = dial::connect(server.target(client)).await.unwrap();
    let mut quorate =
        v1::quorate_client::QuorateClient::new(channel).max_decoding_message_size(limits::ANSWER);
    for (size, code) in [
        (limits::REQUEST - 4, None),
        (limits::REQUEST + 1, Some(Code::OutOfRange)),
    ] {
        let request = v1::SubmitRequest {
            signed_intent: vec![1; size].into(),
        };
        let answer = quorate.submit(request).await;
        assert_eq!(
            answer.as_ref().err().map(tonic::Status::code),
            code,
            "{size}"
        );
        if let Ok(answer) = answer {
            assert_eq!(answer.into_inner().signed_intent.len(), size);
        }
    }
}

#[tokio::test]
async fn a75_one_connection_cannot_open_streams_without_end() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    let channel = dial::connect(server.target(pki.member("node", Role::Node(1)).0))
        .await
        .unwrap();
    let mut held = Vec::new();
    let mut opened = 0;
    for _ in 0..200 {
        let mut link = v1::node_link_client::NodeLinkClient::new(channel.clone());
        let (send, frames) = tokio::sync::mpsc::channel::<v1::NodeFrame>(1);
        let frames = tokio_stream::wrappers::ReceiverStream::new(frames);
        let open = timeout(Duration::from_secs(2), link.link(frames)).await;
        match open {
            Ok(Ok(answers)) => {
                opened += 1;
                held.push((send, answers));
            }
            Ok(Err(_)) | Err(_) => break,
        }
    }
    assert_eq!(opened, 64);
    // Another member is not held up by it.
    assert_eq!(
        server.ask(pki.member("two", Role::Node(2)).0).await,
        Ok("node/2".to_owned())
    );
}

#[tokio::test]
async fn a74_noise_on_the_port_leaves_a_members_link_alone() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    let channel = dial::connect(server.target(pki.member("node", Role::Node(1)).0))
        .await
        .unwrap();
    let mut events = server.monitor.events();
    let noise: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        &[0; 4096],
        &[0xff; 4096],
        &[0x16, 0x03, 0x03, 0xff, 0xff],
    ];
    for bytes in noise {
        let mut stranger = TcpStream::connect(server.addr).await.unwrap();
        stranger.write_all(bytes).await.unwrap();
        stranger.shutdown().await.unwrap();
        let why = refusal(&mut events).await;
        assert!(matches!(why, Refusal::Tls(_) | Refusal::Io(_)), "{why:?}");
        assert_eq!(
            super::fixture::ask(channel.clone()).await,
            Ok("node/1".to_owned())
        );
    }
    assert_eq!(server.monitor.peers().len(), 1);
}

#[tokio::test]
async fn a74_a_member_that_speaks_no_http2_harms_only_itself() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    let channel = dial::connect(server.target(pki.member("node", Role::Node(1)).0))
        .await
        .unwrap();
    let (_, issued) = pki.member("odd", Role::Node(2));
    for bytes in [
        vec![0; 70_000],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x09\0\0\0\0\x01".to_vec(),
    ] {
        let own = config(&pki, &server, Some((&issued.cert_pem, &issued.key_pem)));
        let mut odd = handshake(&server, own).await.unwrap();
        // The server may hang up while this is still being sent.
        let _ = odd.write_all(&bytes).await;
        let mut rest = Vec::new();
        let _ = timeout(Duration::from_secs(5), odd.read_to_end(&mut rest))
            .await
            .unwrap();
        assert_eq!(
            super::fixture::ask(channel.clone()).await,
            Ok("node/1".to_owned())
        );
    }
}

#[tokio::test]
async fn the_hybrid_key_exchange_is_preferred_and_nothing_is_resumed() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    let (_, issued) = pki.member("node", Role::Node(1));
    let mut own = config(&pki, &server, Some((&issued.cert_pem, &issued.key_pem)));
    // This client would resume and send early data if it were given the chance.
    own.enable_early_data = true;
    let own = Arc::new(own);
    for _ in 0..2 {
        let mut tls = handshake(&server, (*own).clone()).await.unwrap();
        // Give a ticket the time to arrive.
        let _ = timeout(Duration::from_millis(100), tls.read(&mut [0; 64])).await;
        let (_, session) = tls.get_ref();
        assert_eq!(session.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(session.tls13_tickets_received(), 0);
        let group = session.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    }
}
