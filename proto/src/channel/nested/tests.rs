//! Two tunnels and a relay between them that does as it likes.
use proptest::prelude::*;
use rustls::{
    ConnectionTrafficSecrets,
    crypto::{ActiveKeyExchange, SupportedKxGroup, aws_lc_rs::kx_group},
};

use super::*;

fn identity(byte: u8) -> TunnelIdentity {
    TunnelIdentity::from_seed(&Zeroizing::new([byte; 32])).unwrap()
}

/// A dialling and an accepting tunnel in the middle of nothing, and the first flight.
fn pair() -> (Tunnel, Tunnel, Vec<u8>) {
    let (a, b) = (identity(1), identity(2));
    let (dialler, first) = Tunnel::dial(&a, b.public()).unwrap();
    (dialler, Tunnel::accept(&b, a.public()).unwrap(), first)
}

/// Every byte either side ever sent, as the relay saw it.
#[derive(Default)]
struct Relayed {
    to_acceptor: Vec<u8>,
    to_dialler: Vec<u8>,
}

fn established() -> (Tunnel, Tunnel, Relayed) {
    let (mut dialler, mut acceptor, mut flight) = pair();
    let mut relayed = Relayed::default();
    for _ in 0..4 {
        relayed.to_acceptor.extend(&flight);
        let answer = acceptor.feed(&flight).unwrap();
        assert!(answer.messages.is_empty());
        relayed.to_dialler.extend(&answer.send);
        flight = dialler.feed(&answer.send).unwrap().send;
    }
    assert!(dialler.is_established() && acceptor.is_established() && flight.is_empty());
    (dialler, acceptor, relayed)
}

fn only(fed: &Fed) -> Vec<u8> {
    assert_eq!(fed.messages.len(), 1);
    fed.messages[0].to_vec()
}

/// Every TLS record in a run of bytes: a header of 5 bytes with the length in its last two, and the body.
fn records(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some((header, after)) = rest.split_first_chunk::<5>() {
        let body = usize::from(u16::from_be_bytes([header[3], header[4]]));
        let start = bytes.len().strict_sub(rest.len());
        rest = &after[body..];
        found.push(start..bytes.len().strict_sub(rest.len()));
    }
    assert!(rest.is_empty());
    found
}

#[test]
fn messages_of_every_size_arrive_whole_in_both_directions() {
    let (mut dialler, mut acceptor, _) = established();
    for size in [0, 1, 3, 4, 5, 16_383, 16_384, 16_385, MAX_MESSAGE] {
        let message: Vec<u8> = (0..size).map(|i| u8::try_from(i % 251).unwrap()).collect();
        for direction in 0..2 {
            let bytes = dialler.send(&message).unwrap();
            let mut got = Vec::new();
            for piece in bytes.chunks(MAX_CHUNK) {
                got.extend(acceptor.feed(piece).unwrap().messages);
            }
            assert_eq!(got.len(), 1, "{size} {direction}");
            assert!(*got[0] == message);
            std::mem::swap(&mut dialler, &mut acceptor);
        }
    }
}

#[test]
fn what_is_sent_before_the_handshake_ends_arrives_after_it_and_in_order() {
    let (mut dialler, mut acceptor, first) = pair();
    for text in ["one", "two"] {
        assert_eq!(dialler.send(text.as_bytes()), Ok(Vec::new()));
    }
    assert_eq!(acceptor.send(b"back"), Ok(Vec::new()));
    let answer = acceptor.feed(&first).unwrap();
    let finish = dialler.feed(&answer.send).unwrap();
    let got = acceptor.feed(&finish.send).unwrap();
    assert_eq!(
        got.messages
            .iter()
            .map(|m| m.as_slice())
            .collect::<Vec<_>>(),
        [b"one", b"two"]
    );
    assert_eq!(only(&dialler.feed(&got.send).unwrap()), b"back");
}

#[test]
fn what_waits_for_the_handshake_is_bounded() {
    let (mut dialler, _, _) = pair();
    let piece = vec![0; MAX_MESSAGE];
    let mut kept = 0;
    while let Ok(nothing) = dialler.send(&piece) {
        assert!(nothing.is_empty());
        kept += 1;
    }
    assert_eq!(kept, 3);
    let small = dialler.send(b"still room for this");
    assert_eq!(small, Ok(Vec::new()));
}

#[test]
fn a_message_above_the_limit_is_refused_and_harms_nothing() {
    let (mut dialler, mut acceptor, _) = established();
    let most = MAX_MESSAGE;
    let error = TunnelError::TooLarge {
        what: "message",
        size: most + 1,
        most,
    };
    assert_eq!(dialler.send(&vec![0; most + 1]), Err(error));
    let bytes = dialler.send(b"fine").unwrap();
    assert_eq!(only(&acceptor.feed(&bytes).unwrap()), b"fine");
}

#[test]
fn a75_a_length_of_two_to_the_31_ends_the_session_before_any_memory_is_taken() {
    let (mut dialler, mut acceptor, _) = established();
    dialler.tls.writer().write_all(&[0x80, 0, 0, 0]).unwrap();
    let one_more = dialler.tls.writer().write(b"x");
    assert_eq!(one_more.unwrap(), 1);
    let bytes = dialler.drain().unwrap();
    let failed = acceptor.feed(&bytes).unwrap_err();
    let expected = TunnelError::TooLarge {
        what: "message",
        size: 1 << 31,
        most: MAX_MESSAGE,
    };
    assert_eq!(failed.error, expected);
    assert!(acceptor.partial.capacity() < 64);
    assert_eq!(
        acceptor.feed(b"more").unwrap_err().error,
        TunnelError::Ended
    );
}

#[test]
fn a75_a_promised_message_takes_only_the_memory_of_what_has_come() {
    let (mut dialler, mut acceptor, _) = established();
    let length = u32::try_from(MAX_MESSAGE).unwrap();
    dialler
        .tls
        .writer()
        .write_all(&length.to_be_bytes())
        .unwrap();
    dialler.tls.writer().write_all(&[0; 1000]).unwrap();
    let bytes = dialler.drain().unwrap();
    assert!(acceptor.feed(&bytes).unwrap().messages.is_empty());
    assert!(acceptor.partial.capacity() < 4096);
}

#[test]
fn a75_a_chunk_above_the_limit_is_refused_and_harms_nothing() {
    let (mut dialler, mut acceptor, _) = established();
    let size = MAX_CHUNK + 1;
    let failed = acceptor.feed(&vec![0; size]).unwrap_err();
    assert_eq!(
        failed.error,
        TunnelError::TooLarge {
            what: "chunk",
            size,
            most: MAX_CHUNK
        }
    );
    let bytes = dialler.send(b"fine").unwrap();
    assert_eq!(only(&acceptor.feed(&bytes).unwrap()), b"fine");
}

#[test]
fn a71_a_peer_with_another_key_is_refused_by_either_side() {
    let (a, b, stranger) = (identity(1), identity(2), identity(3));
    // The relay leads the dialler to a node it did not ask for.
    let (mut dialler, first) = Tunnel::dial(&a, b.public()).unwrap();
    let mut wrong = Tunnel::accept(&stranger, a.public()).unwrap();
    dialler.send(b"secret").unwrap();
    let answer = wrong.feed(&first).unwrap();
    let failed = dialler.feed(&answer.send).unwrap_err();
    assert_eq!(failed.error, TunnelError::WrongPeer);
    assert!(!dialler.is_established() && dialler.is_ended());
    // Only an alert left, nothing of the waiting message.
    assert!(failed.send.len() < 64 && !failed.send.is_empty());

    // A stranger dials.
    let (mut dialler, first) = Tunnel::dial(&stranger, b.public()).unwrap();
    let mut acceptor = Tunnel::accept(&b, a.public()).unwrap();
    dialler.send(b"let me in").unwrap();
    let answer = acceptor.feed(&first).unwrap();
    let finish = dialler.feed(&answer.send).unwrap();
    let failed = acceptor.feed(&finish.send).unwrap_err();
    assert_eq!(failed.error, TunnelError::WrongPeer);
    // The stranger learns of it, and nothing else.
    let told = dialler.feed(&failed.send).unwrap_err();
    assert!(matches!(told.error, TunnelError::Tls(_)));
}

#[test]
fn a71_a_copied_certificate_is_no_use_without_its_key() {
    let (a, b, stranger) = (identity(1), identity(2), identity(3));
    let key = rustls::sign::CertifiedKey::new(a.key.cert.clone(), stranger.key.key.clone());
    let forged = TunnelIdentity {
        key: Arc::new(key),
        public: *a.public(),
    };
    let (mut dialler, first) = Tunnel::dial(&forged, b.public()).unwrap();
    let mut acceptor = Tunnel::accept(&b, a.public()).unwrap();
    let answer = acceptor.feed(&first).unwrap();
    let finish = dialler.feed(&answer.send).unwrap();
    let failed = acceptor.feed(&finish.send).unwrap_err();
    assert!(matches!(failed.error, TunnelError::Tls(_)));
    assert!(!acceptor.is_established());
}

#[test]
fn a71_more_than_one_certificate_is_refused() {
    let (a, b) = (identity(1), identity(2));
    let chain = [a.key.cert.clone(), b.key.cert.clone()].concat();
    let key = rustls::sign::CertifiedKey::new(chain, a.key.key.clone());
    let padded = TunnelIdentity {
        key: Arc::new(key),
        public: *a.public(),
    };
    let (mut dialler, first) = Tunnel::dial(&padded, b.public()).unwrap();
    let mut acceptor = Tunnel::accept(&b, a.public()).unwrap();
    let answer = acceptor.feed(&first).unwrap();
    let finish = dialler.feed(&answer.send).unwrap();
    assert_eq!(
        acceptor.feed(&finish.send).unwrap_err().error,
        TunnelError::WrongPeer
    );
}

#[test]
fn two_diallers_end_with_an_error_and_two_acceptors_stay_silent() {
    let (a, b) = (identity(1), identity(2));
    let (mut left, from_left) = Tunnel::dial(&a, b.public()).unwrap();
    let (mut right, from_right) = Tunnel::dial(&b, a.public()).unwrap();
    assert!(matches!(
        left.feed(&from_right).unwrap_err().error,
        TunnelError::Tls(_)
    ));
    assert!(matches!(
        right.feed(&from_left).unwrap_err().error,
        TunnelError::Tls(_)
    ));
    let mut waiting = Tunnel::accept(&a, b.public()).unwrap();
    assert!(waiting.send(b"m").unwrap().is_empty() && !waiting.is_established());
}

#[test]
fn a71_a_first_flight_reflected_to_its_sender_gets_nowhere() {
    let (a, b) = (identity(1), identity(2));
    let (mut dialler, first) = Tunnel::dial(&a, b.public()).unwrap();
    // The relay plays both sides of node 1 against each other.
    let mut acceptor = Tunnel::accept(&a, b.public()).unwrap();
    let answer = acceptor.feed(&first).unwrap();
    assert_eq!(
        dialler.feed(&answer.send).unwrap_err().error,
        TunnelError::WrongPeer
    );
    assert!(!acceptor.is_established());
}

#[test]
fn another_protocol_name_is_refused() {
    let (a, b) = (identity(1), identity(2));
    for offered in [vec![b"h2".to_vec()], Vec::new()] {
        let mut config = Arc::unwrap_or_clone(client_config(&a, b.public()).unwrap());
        config.alpn_protocols = offered;
        let name = ServerName::try_from("peer").unwrap();
        let mut dialler = Tunnel::new(
            ClientConnection::new(Arc::new(config), name)
                .unwrap()
                .into(),
        );
        let mut acceptor = Tunnel::accept(&b, a.public()).unwrap();
        let first = dialler.drain().unwrap();
        let end = acceptor.feed(&first).and_then(|answer| {
            let mut finish = Vec::new();
            dialler.tls.read_tls(&mut answer.send.as_slice()).unwrap();
            dialler.tls.process_new_packets().unwrap();
            finish.extend(dialler.drain().unwrap());
            acceptor.feed(&finish)
        });
        assert_eq!(end.unwrap_err().error, TunnelError::WrongProtocol);
    }
}

#[test]
fn a77_changing_any_byte_of_a_record_ends_the_session_without_plaintext() {
    let message = b"a share of a key that nobody may read";
    let (mut dialler, _, _) = established();
    let length = dialler.send(message).unwrap().len();
    assert_eq!(records(&dialler.send(message).unwrap()).len(), 1);
    for position in 0..length {
        let (mut dialler, mut acceptor, _) = established();
        let mut bytes = dialler.send(message).unwrap();
        bytes[position] ^= 0x10;
        let tampered = acceptor.feed(&bytes);
        match (position, tampered) {
            // RFC 8446 section 5.1: the version bytes of a record are ignored; the content is still authentic.
            (1 | 2, Ok(fed)) => assert_eq!(only(&fed), message),
            // A longer length waits for bytes that never come; whatever comes next does not decrypt.
            (3 | 4, Ok(fed)) => {
                assert!(fed.messages.is_empty());
                let next = dialler.send(&vec![7; 20_000]).unwrap();
                assert!(acceptor.feed(&next).is_err());
            }
            (_, Err(failed)) => {
                assert!(
                    matches!(failed.error, TunnelError::Tls(_)),
                    "{position} {failed:?}"
                );
                assert_eq!(acceptor.feed(&bytes).unwrap_err().error, TunnelError::Ended);
            }
            (_, Ok(fed)) => panic!("position {position} was accepted: {fed:?}"),
        }
    }
}

/// Runs a handshake in which the relay flips a bit of flight number `which`; says whether it was still completed.
fn tampered_handshake(which: usize, position: usize) -> bool {
    let (mut dialler, mut acceptor, mut flight) = pair();
    acceptor.send(b"secret").unwrap();
    for number in 0..4 {
        if number == which {
            flight[position] ^= 1;
        }
        let receiver = if number % 2 == 0 {
            &mut acceptor
        } else {
            &mut dialler
        };
        match receiver.feed(&flight) {
            Ok(fed) if fed.messages.is_empty() => flight = fed.send,
            Ok(_) => return true,
            Err(_) => return false,
        }
    }
    dialler.is_established() && acceptor.is_established()
}

#[test]
fn a77_changing_the_handshake_never_leads_to_a_session() {
    let (mut dialler, mut acceptor, first) = pair();
    let answer = acceptor.feed(&first).unwrap().send;
    let finish = dialler.feed(&answer).unwrap().send;
    let mut tried = 0;
    for (which, flight, step) in [(0, first, 11), (1, answer, 11), (2, finish, 5)] {
        for record in records(&flight) {
            // Type and version of an encrypted record are not looked at, so changing them changes nothing; whatever
            // has a meaning is covered: the length, and samples of the rest.
            let header = [3, 4].map(|offset| record.start + offset);
            let body = (record.start + 5..record.end).step_by(step);
            for position in header.into_iter().chain(body).chain([record.end - 1]) {
                assert!(
                    !tampered_handshake(which, position),
                    "flight {which} position {position}"
                );
                tried += 1;
            }
        }
    }
    assert!(tried > 200);
    // The same run without a relay's hand does complete.
    assert!(tampered_handshake(usize::MAX, 0));
}

#[test]
fn a77_a_repeated_dropped_or_reordered_record_ends_the_session() {
    let flights = |dialler: &mut Tunnel| -> Vec<Vec<u8>> {
        (0..3).map(|n| dialler.send(&[n; 40]).unwrap()).collect()
    };
    for order in [
        &[0, 0][..],
        &[1],
        &[0, 2],
        &[1, 0, 2],
        &[0, 1, 0],
        &[2, 1, 0],
    ] {
        let (mut dialler, mut acceptor, _) = established();
        let sent = flights(&mut dialler);
        let mut got = Vec::new();
        let mut end = None;
        for number in order {
            match acceptor.feed(&sent[*number]) {
                Ok(fed) => got.extend(fed.messages),
                Err(failed) => {
                    end = Some(failed.error);
                    break;
                }
            }
        }
        assert!(matches!(end, Some(TunnelError::Tls(_))), "{order:?}");
        // Only an unbroken beginning was handed out.
        assert!(
            got.iter().zip(0..).all(|(m, n)| m.as_slice() == [n; 40]),
            "{order:?}"
        );
    }
}

#[test]
fn a76_records_of_another_session_or_direction_do_not_open() {
    let (mut dialler, mut acceptor, _) = established();
    let (mut other, _, _) = established();
    assert!(
        acceptor
            .feed(&other.send(b"from another session").unwrap())
            .is_err()
    );
    let (_, mut acceptor_two, relayed) = established();
    assert!(acceptor_two.feed(&relayed.to_acceptor).is_err());
    let own = dialler.send(b"reflected").unwrap();
    assert!(dialler.feed(&own).is_err());
}

#[test]
fn a77_no_key_and_nonce_repeat_in_ten_thousand_messages_each_way() {
    let (a, b) = (identity(1), identity(2));
    let mut client = Arc::unwrap_or_clone(client_config(&a, b.public()).unwrap());
    let mut server = Arc::unwrap_or_clone(server_config(&b, a.public()).unwrap());
    client.enable_secret_extraction = true;
    server.enable_secret_extraction = true;
    let name = ServerName::try_from("peer").unwrap();
    let mut dialler = Tunnel::new(
        ClientConnection::new(Arc::new(client), name)
            .unwrap()
            .into(),
    );
    let mut acceptor = Tunnel::new(ServerConnection::new(Arc::new(server)).unwrap().into());
    let mut flight = dialler.drain().unwrap();
    for _ in 0..2 {
        let answer = acceptor.feed(&flight).unwrap();
        flight = dialler.feed(&answer.send).unwrap().send;
    }
    let mut sealed = [0_u64; 2];
    for number in 0..10_000_u32 {
        let message = number.to_be_bytes();
        for count in &mut sealed {
            let bytes = dialler.send(&message).unwrap();
            *count += u64::try_from(records(&bytes).len()).unwrap();
            assert_eq!(only(&acceptor.feed(&bytes).unwrap()), message);
            std::mem::swap(&mut dialler, &mut acceptor);
        }
    }
    let secrets = |tunnel: Tunnel| match tunnel.tls {
        Connection::Client(tls) => tls.dangerous_extract_secrets().unwrap(),
        Connection::Server(tls) => tls.dangerous_extract_secrets().unwrap(),
    };
    let (dialler, acceptor) = (secrets(dialler), secrets(acceptor));
    // One key and one starting vector per direction; the nonce is that vector xor the record number, and the numbers
    // have counted every record since the handshake exactly once.
    assert_eq!([dialler.tx.0, acceptor.tx.0], sealed);
    assert_eq!([dialler.rx.0, acceptor.rx.0], [sealed[1], sealed[0]]);
    let there = parts(&dialler.tx.1);
    let back = parts(&acceptor.tx.1);
    assert_ne!(there.0, back.0);
    assert_ne!(there.1, back.1);
    assert_eq!((there, back), (parts(&acceptor.rx.1), parts(&dialler.rx.1)));
}

/// Key and starting vector of one direction.
fn parts(secrets: &ConnectionTrafficSecrets) -> (Vec<u8>, Vec<u8>) {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
            (key.as_ref().to_vec(), iv.as_ref().to_vec())
        }
        _ => panic!("an unexpected cipher suite"),
    }
}

#[test]
fn the_relay_sees_neither_messages_nor_who_talks() {
    let (mut dialler, mut acceptor, mut relayed) = established();
    let message = b"the 5th coefficient is 0xfeedfacecafebeef";
    for _ in 0..20 {
        let bytes = dialler.send(message).unwrap();
        assert_eq!(only(&acceptor.feed(&bytes).unwrap()), message);
        relayed.to_acceptor.extend(bytes);
        let bytes = acceptor.send(message).unwrap();
        assert_eq!(only(&dialler.feed(&bytes).unwrap()), message);
        relayed.to_dialler.extend(bytes);
    }
    for seen in [&relayed.to_acceptor, &relayed.to_dialler] {
        assert!(seen.len() > 20 * message.len());
        for secret in [
            &message[4..12],
            identity(1).public(),
            identity(2).public(),
            b"quorate node",
        ] {
            assert!(!seen.windows(secret.len()).any(|window| window == secret));
        }
    }
}

#[test]
fn a_session_is_closed_in_good_order_from_either_side() {
    let (mut dialler, mut acceptor, _) = established();
    let mut last = dialler.send(b"last").unwrap();
    last.extend(dialler.close());
    let fed = acceptor.feed(&last).unwrap();
    assert!(fed.closed && acceptor.is_ended());
    assert_eq!(fed.messages[0].as_slice(), b"last");
    assert_eq!(acceptor.send(b"late"), Err(TunnelError::Ended));
    assert_eq!(dialler.send(b"late"), Err(TunnelError::Ended));
    assert!(dialler.close().is_empty() && acceptor.close().is_empty());
}

#[test]
fn an_end_inside_a_message_is_told_apart_from_a_close() {
    let (mut dialler, mut acceptor, _) = established();
    dialler.tls.writer().write_all(&[0, 0, 0, 9, 1, 2]).unwrap();
    let mut bytes = dialler.drain().unwrap();
    bytes.extend(dialler.close());
    assert_eq!(
        acceptor.feed(&bytes).unwrap_err().error,
        TunnelError::Truncated
    );
}

#[test]
fn a_close_that_the_relay_makes_up_closes_nothing() {
    let alert = [21, 3, 3, 0, 2, 1, 0];
    let (_, mut acceptor, _) = established();
    assert!(matches!(
        acceptor.feed(&alert).unwrap_err().error,
        TunnelError::Tls(_)
    ));
    // Before any key is agreed on it is passed over: it closes nothing.
    let (mut dialler, mut acceptor, first) = pair();
    assert!(!dialler.feed(&alert).unwrap().closed && !dialler.is_ended());
    let answer = acceptor.feed(&first).unwrap();
    acceptor
        .feed(&dialler.feed(&answer.send).unwrap().send)
        .unwrap();
    assert!(acceptor.is_established() && dialler.is_established());
}

#[test]
fn only_tls_13_and_the_hybrid_key_exchange_are_spoken() {
    let (dialler, acceptor, _) = established();
    for tunnel in [dialler, acceptor] {
        assert_eq!(
            tunnel.tls.protocol_version(),
            Some(rustls::ProtocolVersion::TLSv1_3)
        );
        let group = tunnel.tls.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
        assert_eq!(
            tunnel.tls.handshake_kind(),
            Some(rustls::HandshakeKind::Full)
        );
    }
}

#[test]
fn nothing_secret_is_in_debug_output() {
    let (mut dialler, mut acceptor, _) = established();
    let fed = acceptor
        .feed(&dialler.send(b"\x2a\x2a\x2a\x2a").unwrap())
        .unwrap();
    let seed = format!("{:?}", [1_u8; 4]).replace(['[', ']'], "");
    for text in [
        format!("{fed:?}"),
        format!("{dialler:?}"),
        format!("{:?}", identity(1)),
    ] {
        assert!(!text.contains("42, 42") && !text.contains(&seed), "{text}");
    }
}

/// Public keys whose product with every secret is zero or of small order: RFC 7748 section 7, and the same values with
/// the top bit set, which the exchange ignores.
fn low_order_points() -> Vec<[u8; 32]> {
    let p_minus_19 = |low: u8| {
        let mut point = [0xff; 32];
        (point[0], point[31]) = (low, 0x7f);
        point
    };
    let small = |low: u8| {
        let mut point = [0; 32];
        point[0] = low;
        point
    };
    let order_8 = [
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ];
    let order_8 = order_8.map(|text| text.parse::<super::super::identity::SpkiPin>().unwrap());
    let mut points = vec![
        small(0),
        small(1),
        p_minus_19(0xec),
        p_minus_19(0xed),
        p_minus_19(0xee),
    ];
    points.extend(order_8.iter().map(|point| *point.as_bytes()));
    for index in 0..points.len() {
        let mut point = points[index];
        point[31] |= 0x80;
        points.push(point);
    }
    points
}

#[test]
fn a78_low_order_keys_are_refused_by_the_key_exchange() {
    let start =
        |group: &dyn SupportedKxGroup| -> Box<dyn ActiveKeyExchange> { group.start().unwrap() };
    let points = low_order_points();
    assert_eq!(points.len(), 14);
    for point in points {
        assert!(
            start(kx_group::X25519).complete(&point).is_err(),
            "{point:02x?}"
        );
        // The classical half of the hybrid comes last (draft-ietf-tls-ecdhe-mlkem section 4).
        let honest = start(kx_group::X25519MLKEM768);
        let mut share = honest.pub_key().to_vec();
        let at = share.len() - 32;
        share[at..].copy_from_slice(&point);
        assert!(
            kx_group::X25519MLKEM768.start_and_complete(&share).is_err(),
            "{point:02x?}"
        );
    }
    // The same calls accept an honest key.
    let honest = start(kx_group::X25519);
    assert!(start(kx_group::X25519).complete(honest.pub_key()).is_ok());
}

#[test]
fn a78_a_handshake_with_a_zero_key_share_is_refused_by_both_sides() {
    let (a, b) = (identity(1), identity(2));
    let classical = |config: &mut ClientConfig| {
        let mut provider = Arc::unwrap_or_clone(provider());
        provider.kx_groups = vec![kx_group::X25519];
        let own = a.clone();
        *config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned::new(b.public())))
            .with_client_cert_resolver(Arc::new(Own(own.key)));
        config.alpn_protocols = vec![ALPN.to_vec()];
    };
    let start = || {
        let mut config = Arc::unwrap_or_clone(client_config(&a, b.public()).unwrap());
        classical(&mut config);
        let name = ServerName::try_from("peer").unwrap();
        let mut dialler = Tunnel::new(
            ClientConnection::new(Arc::new(config), name)
                .unwrap()
                .into(),
        );
        let first = dialler.drain().unwrap();
        (dialler, Tunnel::accept(&b, a.public()).unwrap(), first)
    };
    // group x25519 (0x001d), 32 bytes
    let mark = [0x00, 0x1d, 0x00, 0x20];
    let zeroed = |flight: &[u8]| {
        let mut flight = flight.to_vec();
        let at = flight.windows(4).position(|window| window == mark).unwrap() + 4;
        flight[at..at + 32].fill(0);
        flight
    };
    let (_, mut acceptor, first) = start();
    assert!(matches!(
        acceptor.feed(&zeroed(&first)).unwrap_err().error,
        TunnelError::Tls(_)
    ));
    let (mut dialler, mut acceptor, first) = start();
    let answer = acceptor.feed(&first).unwrap().send;
    assert!(matches!(
        dialler.feed(&zeroed(&answer)).unwrap_err().error,
        TunnelError::Tls(_)
    ));
    // Unchanged, the same flights lead to a session.
    let (mut dialler, mut acceptor, first) = start();
    let answer = acceptor.feed(&first).unwrap().send;
    let finish = dialler.feed(&answer).unwrap().send;
    acceptor.feed(&finish).unwrap();
    assert!(acceptor.is_established());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a73_no_bytes_make_a_tunnel_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), stage in 0..4) {
        let mut tunnel = match stage {
            0 => pair().0,
            1 => pair().1,
            2 => established().0,
            _ => established().1,
        };
        for chunk in bytes.chunks(97) {
            let fed = tunnel.feed(chunk);
            prop_assert!(fed.is_err() || fed.unwrap().messages.is_empty());
        }
    }

    #[test]
    fn messages_arrive_however_the_bytes_are_cut(
        sizes in proptest::collection::vec(0_usize..3000, 1..12),
        cut in 1_usize..2500,
    ) {
        let (mut dialler, mut acceptor, _) = established();
        let messages: Vec<Vec<u8>> = sizes.iter().zip(0..).map(|(size, n)| vec![n; *size]).collect();
        let mut bytes = Vec::new();
        for message in &messages {
            bytes.extend(dialler.send(message).unwrap());
        }
        let mut got = Vec::new();
        for piece in bytes.chunks(cut) {
            got.extend(acceptor.feed(piece).unwrap().messages.iter().map(|m| m.to_vec()));
        }
        prop_assert_eq!(got, messages);
    }
}
