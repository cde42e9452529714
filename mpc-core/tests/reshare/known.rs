//! What is known already spares work and changes no verdict.

use mpc_core::id::Purpose;
use mpc_core::known::Known;
use mpc_core::reshare::{Certificate, Prepared, Request};

use crate::world::World;

#[test]
fn whatever_is_known_every_encoding_means_the_same_and_every_changed_byte_is_refused_alike() {
    for purpose in [Purpose::Ed25519, Purpose::Ecdsa] {
        let mut world = World::new(purpose, 2, 3, 4);
        let request = world.request(&[1, 2], &[1, 2, 4], 2, 0);
        let mut stage = world.start(&request);
        stage.run();
        let stored = &stage.stores[&world.id(1)];
        let (prepared, certificate) = (&stored[1].bytes, &stored[2].bytes);
        let new = Prepared::dangerous_from_bytes(prepared).unwrap();
        let roster = world.roster(&[1, 2, 3, 4]);
        let all = Known::NOTHING
            .roster(&roster)
            .package(&world.base)
            .package(new.package());

        let plain = Certificate::decode(certificate).unwrap();
        assert_eq!(
            Certificate::decode_known(certificate, &all),
            Ok(plain.clone())
        );
        assert_eq!(
            Certificate::key_of(certificate),
            Ok(plain.request().key_id())
        );
        for at in 0..certificate.len() {
            let mut changed = certificate.to_vec();
            changed[at] ^= 1;
            assert_eq!(
                Certificate::decode_known(&changed, &all),
                Certificate::decode(&changed),
                "byte {at}"
            );
        }
        let bytes = request.encode();
        assert_eq!(Request::decode_known(&bytes, &all).as_ref(), Ok(&request));
        assert_eq!(Request::key_of(&bytes), Ok(request.key_id()));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(
                Request::decode_known(&changed, &all),
                Request::decode(&changed),
                "byte {at}"
            );
        }
        let again = Prepared::dangerous_from_bytes_known(prepared, &all).unwrap();
        assert_eq!(again.package(), new.package());
        for at in (0..prepared.len()).step_by(7) {
            let mut changed = prepared.to_vec();
            changed[at] ^= 1;
            let (one, other) = (
                Prepared::dangerous_from_bytes_known(&changed, &all).map(drop),
                Prepared::dangerous_from_bytes(&changed).map(drop),
            );
            assert_eq!(one, other, "byte {at}");
        }
    }
}

#[test]
fn another_record_of_the_same_key_is_no_substitute() {
    let mut world = World::new(Purpose::Ed25519, 2, 3, 3);
    world.reshare(&[1, 2], &[1, 2, 3], 2);
    let request = world.request(&[1, 2], &[1, 2, 3], 2, 0);
    let base = world.base.clone();
    let known = Known::NOTHING.package(&base);
    let read = Request::decode_known(&request.encode(), &known).unwrap();
    assert_eq!(read, request);
    assert_ne!(*read.active(), base);
}
