//! Addresses from public values alone: every child key of a wallet's key is derived on this side.
//!
//! The coordinator hands out a key's public package, and with it the signatures of the nodes that hold the key: with fewer than
//! `threshold` of them ([`confirmed_by`]), do not pay to an address of it. Whatever follows from the package (child keys, addresses) is
//! computed here and never believed.

use std::fmt;

use policy::address::{self, AddressError};
use policy::cluster::{ClusterFile, NodeEntry};
use proto::keys::{DerivationPath, HdError, PublicKeyPackage};
use proto::{link::KeyRecord, v1};

use crate::error::{Error, Fix};

/// The public side of a threshold key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    package: PublicKeyPackage,
}

/// A child of a threshold key: public values only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    scheme: &'static str,
    path: DerivationPath,
    public_key: Vec<u8>,
    chain_code: [u8; 32],
}

impl PublicKey {
    /// Everything public about the key in this epoch.
    #[must_use]
    pub const fn package(&self) -> &PublicKeyPackage {
        &self.package
    }

    /// Reads an encoded public key package.
    ///
    /// # Errors
    /// [`Fix::Malformed`].
    pub fn decode(package: &[u8]) -> Result<Self, Error> {
        PublicKeyPackage::decode(package)
            .map(|package| Self { package })
            .map_err(|e| malformed(&format_args!("the public key package does not decode: {e}")))
    }

    /// The key's id, the same on every node.
    #[must_use]
    pub fn id(&self) -> [u8; 32] {
        *self.package.key_id().as_bytes()
    }

    /// `ecdsa`, `bip340` or `ed25519`.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        self.package.purpose().as_str()
    }

    /// The key itself: 32 bytes for Ed25519, 33 bytes SEC1 for secp256k1.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.package.public_key()
    }

    /// Its chain code, with which everybody derives the same children. Public inside the group that uses the key; together
    /// with the secret key of one child it gives away the secret of all.
    #[must_use]
    pub fn chain_code(&self) -> &[u8; 32] {
        self.package.chain_code()
    }

    /// The child at a path; the key itself for `m`.
    ///
    /// # Errors
    /// [`Fix::Malformed`] for the one index in 2^127 that has no child.
    pub fn child(&self, path: &DerivationPath) -> Result<Child, Error> {
        let child = self
            .package
            .derive(path)
            .map_err(|e| malformed(&format_args!("path {path}: {e}")))?;
        Ok(Child {
            scheme: self.scheme(),
            path: path.clone(),
            public_key: child.public_key,
            chain_code: child.chain_code,
        })
    }

    /// The address at a path of a chain such as `bitcoin:mainnet`.
    ///
    /// # Errors
    /// [`Fix::Malformed`] when the chain does not take this key's signatures, or as [`child`](Self::child).
    pub fn address(&self, chain: &str, path: &DerivationPath) -> Result<String, Error> {
        self.child(path)?.address(chain)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = hex::encode(self.bytes());
        write!(f, "PublicKey({} {key})", self.scheme())
    }
}

impl Child {
    /// Where it is, seen from the key that the nodes hold shares of.
    #[must_use]
    pub const fn path(&self) -> &DerivationPath {
        &self.path
    }

    /// 32 bytes for Ed25519, 33 bytes SEC1 for secp256k1. For BIP 340 this is the internal key, before the taproot tweak.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The chain code, for deriving further from here.
    #[must_use]
    pub const fn chain_code(&self) -> &[u8; 32] {
        &self.chain_code
    }

    /// The address on a chain such as `ethereum:1`.
    ///
    /// # Errors
    /// [`Fix::Malformed`] when the chain is unknown or takes no signatures of this scheme.
    pub fn address(&self, chain: &str) -> Result<String, Error> {
        address::of(chain, self.scheme, &self.public_key)
            .map_err(|e| malformed(&format_args!("{chain}: {e}")))
    }

    /// The addresses on the main networks that take signatures of this scheme, with their chains.
    #[must_use]
    pub fn addresses(&self) -> Vec<(&'static str, String)> {
        ["bitcoin:mainnet", "ethereum:1", "solana:mainnet"]
            .into_iter()
            .filter_map(
                |chain| match address::of(chain, self.scheme, &self.public_key) {
                    Ok(address) => Some((chain, address)),
                    Err(AddressError::Chain | AddressError::Key | AddressError::Scheme) => None,
                },
            )
            .collect()
    }
}

/// Reads a path such as `m/0/5`.
///
/// # Errors
/// [`Fix::Malformed`]: hardened steps need the secret key, which nobody has.
pub fn path(text: &str) -> Result<DerivationPath, Error> {
    text.parse()
        .map_err(|e: HdError| malformed(&format_args!("{text}: {e}")))
}

/// Which nodes have signed that this is the key of this name, by number, ascending. With `threshold` of the cluster file or more of them
/// an honest one is among them, and a coordinator that shows a key of its own is found out.
#[must_use]
pub fn confirmed_by(cluster: &ClusterFile, info: &v1::KeyInfo) -> Vec<u16> {
    let Ok(package) = PublicKeyPackage::decode(&info.public_package) else {
        return Vec::new();
    };
    let record = KeyRecord {
        cluster_id: cluster.cluster_id.as_str(),
        name: &info.name,
        package: &package,
    };
    let confirms = |node: &&NodeEntry| {
        let mut states = info.holders.iter().filter_map(|holder| {
            let is_node = holder.node == u32::from(node.index);
            holder.state.as_ref().filter(|_| is_node)
        });
        states.any(|state| record.is_signed(&node.identity, &state.confirmation))
    };
    let nodes = cluster.nodes.iter().filter(confirms);
    nodes.map(|node| node.index).collect()
}

fn malformed(message: &dyn fmt::Display) -> Error {
    Fix::Malformed {
        message: message.to_string(),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use mpc_core::testing::{Committee, Simulator};
    use proto::keys::Purpose;

    use super::*;

    /// A key that was really generated.
    fn key(purpose: Purpose) -> PublicKey {
        let mut run = Simulator::start(purpose, 2, 3, 7);
        run.run();
        let package = run.output(1).share.public().encode();
        PublicKey::decode(&package).expect("a package")
    }

    #[test]
    fn only_the_signatures_of_the_clusters_nodes_over_exactly_this_key_and_name_confirm_it() {
        let nodes = Committee::new(3, 9);
        let mut file = String::from(
            "schema = 1\ncluster_id = \"c-01\"\nthreshold = 2\n[coordinator]\naddr = \"127.0.0.1:7443\"\nserver_name = \"c.c-01\"\n",
        );
        file += &format!("pins = [\"{}\"]\n", "11".repeat(32));
        for (index, member) in nodes.roster.by_index() {
            let member = nodes.roster.get(&member).expect("a member");
            let (identity, exchange) = (member.identity.as_bytes(), member.exchange);
            let (identity, exchange) = (hex::encode(identity), hex::encode(exchange));
            file += &format!(
                "[[node]]\nindex = {index}\nidentity = \"{identity}\"\nexchange = \"{exchange}\"\n"
            );
        }
        let governor = hex::encode(nodes.identity(1).public().as_bytes());
        file += &format!(
            "[genesis]\nmin = 1\n[[genesis.governor]]\nperson = \"a\"\ncredential = \"b\"\nkind = \"ed25519\"\nkey = \"{governor}\"\n"
        );
        let cluster = ClusterFile::parse(file.as_bytes()).expect("a cluster file");

        let key = key(Purpose::Ecdsa);
        let says = |node: u16, cluster_id: &str, name: &str| {
            let package = key.package();
            let record = KeyRecord {
                cluster_id,
                name,
                package,
            };
            let signature = nodes.identity(node).sign(&record.digest());
            v1::KeyState {
                confirmation: signature.to_vec().into(),
                ..Default::default()
            }
        };
        let shown = |states: Vec<(u32, v1::KeyState)>| {
            let holder = |(node, state)| v1::KeyHolder {
                node,
                state: Some(state),
                ..Default::default()
            };
            let info = v1::KeyInfo {
                name: "hot".into(),
                public_package: key.package().encode().into(),
                holders: states.into_iter().map(holder).collect(),
                ..Default::default()
            };
            confirmed_by(&cluster, &info)
        };
        let good = |node: u16| (u32::from(node), says(node, "c-01", "hot"));
        assert_eq!(shown(vec![good(3), good(1)]), [1, 3]);
        assert_eq!(shown(vec![good(1), good(1)]), [1], "nobody counts twice");
        assert_eq!(
            shown(vec![(2, says(1, "c-01", "hot"))]),
            [0; 0],
            "another node's word"
        );
        assert_eq!(
            shown(vec![(2, says(2, "c-01", "cold"))]),
            [0; 0],
            "another name"
        );
        assert_eq!(
            shown(vec![(2, says(2, "c-02", "hot"))]),
            [0; 0],
            "another cluster"
        );
        assert_eq!(
            shown(vec![(2, v1::KeyState::default())]),
            [0; 0],
            "nothing said"
        );
        // A coordinator that shows a key of its own has nobody's word for it.
        let mut run = Simulator::start(Purpose::Ecdsa, 2, 3, 8);
        run.run();
        let info = v1::KeyInfo {
            name: "hot".into(),
            public_package: run.output(1).share.public().encode().into(),
            holders: [good(1), good(2)]
                .map(|(node, state)| v1::KeyHolder {
                    node,
                    state: Some(state),
                    ..Default::default()
                })
                .into(),
            ..Default::default()
        };
        assert_eq!(confirmed_by(&cluster, &info), [0; 0]);
    }

    #[test]
    fn a_wallet_library_derives_the_same_taproot_addresses() {
        use bitcoin::{
            Address, KnownHrp, Network,
            bip32::{ChainCode, ChildNumber, Fingerprint, Xpub},
            secp256k1::{PublicKey as Point, Secp256k1},
        };

        let key = key(Purpose::Bip340);
        let root = Xpub {
            network: Network::Bitcoin.into(),
            depth: 0,
            parent_fingerprint: Fingerprint::default(),
            child_number: ChildNumber::Normal { index: 0 },
            public_key: Point::from_slice(&key.bytes()).expect("a point"),
            chain_code: ChainCode::from(*key.chain_code()),
        };
        let secp = Secp256k1::new();
        for text in ["m", "m/0", "m/0/5", "m/2147483647/1/2"] {
            let path = path(text).expect("a path");
            let steps: Vec<ChildNumber> = path
                .indices()
                .iter()
                .map(|index| ChildNumber::Normal { index: *index })
                .collect();
            let theirs = root.derive_pub(&secp, &steps).expect("a child");
            let internal = theirs.public_key.x_only_public_key().0;
            let address = Address::p2tr(&secp, internal, None, KnownHrp::Mainnet).to_string();
            assert_eq!(key.address("bitcoin:mainnet", &path), Ok(address), "{text}");
            let child = key.child(&path).expect("a child");
            assert_eq!(child.chain_code(), theirs.chain_code.as_bytes(), "{text}");
        }
    }

    #[test]
    fn a_key_has_addresses_only_where_its_scheme_is_taken() {
        let child = key(Purpose::Ed25519)
            .child(&path("m/3").expect("a path"))
            .expect("a child");
        let chains: Vec<&str> = child.addresses().iter().map(|(chain, _)| *chain).collect();
        assert_eq!(chains, ["solana:mainnet"]);
        for chain in ["ethereum:1", "bitcoin:mainnet", "solana:moonnet"] {
            assert!(matches!(
                child.address(chain),
                Err(Error::Fix(Fix::Malformed { .. }))
            ));
        }
    }

    #[test]
    fn a56_hardened_and_misspelt_paths_are_refused_with_a_reason() {
        for text in ["m/44'/0", "0/5", "m/2147483648", "m/x", ""] {
            let refused = path(text).expect_err(text).to_string();
            assert!(refused.contains("below 2^31"), "{text}: {refused}");
        }
    }
}
