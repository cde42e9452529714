//! Messages between nodes: no panic, one encoding, and whatever member 3 puts its name to can only ever accuse member 3.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mpc_core::envelope::{Envelope, Kind};
use mpc_core::evidence;
use mpc_core::frost::{verify_share, wire};
use mpc_core::{Abort, Error, Misuse, Strength};
use quorate_fuzz::committee::{CHEAT, Key, PURPOSES, SIGNED, Signing, cheat, committee, index};
use quorate_fuzz::forge;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(envelope) = Envelope::open(&committee().roster, bytes) {
        let author = committee().identity_of(&envelope.header().from);
        assert_eq!(envelope.as_bytes(), bytes);
        assert_eq!(
            Envelope::seal(author, envelope.header(), envelope.body()),
            bytes
        );
    }
    for key in PURPOSES.map(Key::of) {
        let signing = Signing::of(key.purpose);
        let Some(signed) = forge::sign(bytes, Some(signing.session)) else {
            return;
        };
        let envelope = Envelope::open(&committee().roster, &signed).expect("member 3 signed it");
        match envelope.header().kind {
            Kind::FrostCommitment => commitment(key, &signed),
            Kind::FrostShare => share(signing, &signed),
            kind => generation(key, kind, &signed),
        }
    }
});

fn accuses_only_its_author(abort: &Abort) {
    assert_eq!(abort.culprits, [(cheat(), Strength::Transferable)]);
    let evidence = abort
        .evidence
        .as_ref()
        .expect("what is transferable has evidence")
        .encode();
    assert_eq!(
        evidence::verify(&committee().roster, &evidence),
        Ok((cheat(), abort.fault.clone()))
    );
}

fn commitment(key: &Key, signed: &[u8]) {
    match wire::open_commitment(&committee().roster, key.public(), signed) {
        Ok(published) => {
            assert_eq!((published.node, published.index), (cheat(), index(CHEAT)));
            let author = committee().identity(CHEAT);
            let again = wire::seal_commitment(
                author,
                key.public(),
                &published.boot_id,
                &published.commitment,
            );
            assert!(again == signed, "a second spelling of a commitment");
        }
        Err(Error::Aborted(abort)) => accuses_only_its_author(&abort),
        Err(Error::Rejected(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

fn share(signing: &Signing, signed: &[u8]) {
    let ((request, attempt), package) = (SIGNED, &signing.package);
    match wire::open_share(&committee().roster, package, request, attempt, signed) {
        Ok((signer, share)) => {
            assert_eq!(signer, index(CHEAT));
            let right = verify_share(package, signer, &share).is_ok();
            assert_eq!(right, signed == signing.share);
            match wire::convict(&committee().roster, package, request, attempt, signed) {
                Err(Error::Misuse(Misuse::NoFault)) => assert!(right),
                Ok(abort) => accuses_only_its_author(&abort),
                Err(error) => panic!("{error}"),
            }
        }
        Err(Error::Aborted(abort)) => accuses_only_its_author(&abort),
        Err(Error::Rejected(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

/// Judges the message beside everything genuine that a judge would need.
fn generation(key: &Key, kind: Kind, signed: &[u8]) {
    let (first, second) = (key.round(Kind::DkgRound1), key.round(Kind::DkgRound2));
    let message = [signed.to_vec()];
    let bundles = match kind {
        Kind::DkgRound1 => vec![(2, message.to_vec())],
        Kind::DkgRound2 => vec![(3, [&first[..], &message].concat())],
        Kind::DkgRound3 => {
            vec![
                (4, [&first[..], &message].concat()),
                (4, [&first[..], &second, &message].concat()),
            ]
        }
        _ => [Kind::DkgRound2, Kind::DkgRound3]
            .map(|claim| (5, [&[key.said_by_cheat(claim)], &message[..]].concat()))
            .to_vec(),
    };
    for (claim, messages) in bundles {
        let evidence = forge::evidence(claim, &forge::context(key), &messages);
        if let Ok((culprit, _)) = evidence::verify(&committee().roster, &evidence) {
            assert_eq!(culprit, cheat());
        }
    }
}
