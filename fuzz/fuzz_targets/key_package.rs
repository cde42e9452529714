//! Records of keys, points and scalars: no panic, one encoding, and nothing that contradicts itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mpc_core::dkg::{DkgCertificate, Pending};
use mpc_core::frost::{Commitment, SignatureShare};
use mpc_core::group::{Ed25519, Group, Point, Ristretto255, Scalar, Secp256k1};
use mpc_core::id::Purpose;
use mpc_core::identity::IdentityPublic;
use mpc_core::keys::{KeyShare, PublicKeyPackage};
use quorate_fuzz::committee::committee;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(package) = PublicKeyPackage::decode(bytes) {
        assert_eq!(package.encode(), bytes);
        assert_eq!(
            package.members().len(),
            usize::from(package.params().parties())
        );
    }
    if let Ok(share) = KeyShare::dangerous_from_bytes(bytes) {
        assert_eq!(*share.dangerous_to_bytes(), bytes);
        assert!(share.public().node(share.index()).is_some());
    }
    if let Ok(pending) = Pending::dangerous_from_bytes(bytes) {
        let (parties, parts) = (pending.roster().len(), [pending.own_part().to_vec()]);
        let finished = pending.finish(parts);
        assert!(
            parties < 2 || finished.is_err(),
            "one part is no certificate"
        );
    }
    if let Ok(certificate) = DkgCertificate::decode(&committee().roster, bytes) {
        assert_eq!(certificate.encode(), bytes);
        assert_eq!(certificate.verify(&committee().roster), Ok(()));
        assert_eq!(certificate.parts().len(), committee().roster.len());
    }
    for purpose in [Purpose::Bip340, Purpose::Ecdsa, Purpose::Ed25519] {
        if let Ok(commitment) = Commitment::decode(purpose, bytes) {
            assert_eq!(commitment.encode(), bytes);
        }
        if let Ok(share) = SignatureShare::decode(purpose, bytes) {
            assert_eq!(share.encode(), bytes);
        }
    }
    group::<Ed25519>(bytes);
    group::<Ristretto255>(bytes);
    group::<Secp256k1>(bytes);
    if let Ok(key) = bytes
        .try_into()
        .map_err(drop)
        .and_then(|bytes| IdentityPublic::from_bytes(bytes).map_err(drop))
    {
        assert_eq!(key.as_bytes(), bytes);
        assert!(!key.verify(&[0; 32], &[0; 64]));
    }
});

fn group<G: Group>(bytes: &[u8]) {
    if let Ok(point) = Point::<G>::decode("point", bytes) {
        assert_eq!(point.encode().as_slice(), bytes);
        assert!(point != Point::identity());
    }
    if let Ok(scalar) = Scalar::<G>::decode("scalar", bytes) {
        assert_eq!(scalar.encode().as_slice(), bytes);
    }
}
