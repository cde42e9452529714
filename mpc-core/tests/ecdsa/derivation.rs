//! Children of a key are those that another library derives from the same extended public key.

use bitcoin::bip32::{ChainCode, ChildNumber, Fingerprint, Xpub};
use bitcoin::secp256k1::{PublicKey, Secp256k1};
use mpc_core::hd::{ChildKey, DerivationPath};
use mpc_core::id::Purpose;
use mpc_core::keys::PublicKeyPackage;
use mpc_core::testing::Signers;
use proptest::prelude::*;

fn elsewhere(package: &PublicKeyPackage, path: &[u32]) -> ChildKey {
    let root = Xpub {
        network: bitcoin::NetworkKind::Main,
        depth: 0,
        parent_fingerprint: Fingerprint::default(),
        child_number: ChildNumber::from_normal_idx(0).unwrap(),
        public_key: PublicKey::from_slice(&package.public_key()).unwrap(),
        chain_code: ChainCode::from(*package.chain_code()),
    };
    let step = |step: &u32| ChildNumber::from_normal_idx(*step).unwrap();
    let path: Vec<ChildNumber> = path.iter().map(step).collect();
    let child = root.derive_pub(&Secp256k1::new(), &path).unwrap();
    ChildKey {
        public_key: child.public_key.serialize().to_vec(),
        chain_code: child.chain_code.to_bytes(),
    }
}

fn agree(package: &PublicKeyPackage, path: &[u32]) {
    let own = package.derive(&DerivationPath::new(path.to_vec()).unwrap());
    let (own, other) = (own.unwrap(), elsewhere(package, path));
    assert_eq!(own.public_key, other.public_key, "{path:?}");
    assert_eq!(own.chain_code, other.chain_code, "{path:?}");
}

#[test]
fn a56_the_edges_of_the_range_are_derived_as_by_others() {
    let package = Signers::deal(Purpose::Ecdsa, 2, 2, 1).public;
    for step in [0, 1, 0x7FFF_FFFE, 0x7FFF_FFFF] {
        agree(&package, &[step]);
        agree(&package, &[step, step, 0]);
    }
    agree(&package, &[]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a56_children_are_those_of_another_library(
        seed in 0_u64..16,
        path in proptest::collection::vec(0_u32..0x8000_0000, 0..=8),
    ) {
        agree(&Signers::deal(Purpose::Ecdsa, 2, 2, seed).public, &path);
    }
}
