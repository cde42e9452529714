//! A backup file of member 3 under a recovery key, and that member's pen: whatever a file says, its signature can be made to hold.

use std::sync::{Arc, OnceLock};

use cli::backup::file::BackupFile;
use mpc_core::codec::Writer;
use mpc_core::id::Purpose;
use mpc_core::identity::{ExchangeKey, IdentityKey};
use mpc_core::lineage::Lineage;
use mpc_core::testing::rng;
use policy::cluster::ClusterFile;
use signer_node::backup::{Held, Secrets};

use crate::committee::{CHEAT, Key, committee, node};

/// The recovery key that the file is for.
pub fn recovery() -> &'static ExchangeKey {
    static RECOVERY: OnceLock<ExchangeKey> = OnceLock::new();
    RECOVERY.get_or_init(|| ExchangeKey::generate(&mut rng(700)))
}

/// The export key of member 3 of the cluster file. The committee of the other targets has no secret ones.
fn exchange() -> ExchangeKey {
    ExchangeKey::generate(&mut rng(701))
}

/// The cluster that the file is of.
pub fn cluster() -> &'static ClusterFile {
    static CLUSTER: OnceLock<ClusterFile> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let mut file = ClusterFile::parse(include_bytes!("../corpus/cluster_file/two-nodes"))
            .expect("a cluster file");
        let entry = file.nodes.first().cloned().expect("a node");
        file.nodes = (1..=CHEAT)
            .map(|index| {
                let mut entry = entry.clone();
                entry.index = index;
                entry.identity = *committee().identity(index).public().as_bytes();
                if index == CHEAT {
                    entry.exchange = exchange().public();
                }
                entry
            })
            .collect();
        file
    })
}

/// What a node has stored of a key that never had another sharing.
#[must_use]
pub fn history(purpose: Purpose) -> Vec<u8> {
    let lineage = Lineage::new(Key::of(purpose).public().clone(), true);
    let mut out = Writer::default();
    out.u8(1)
        .var(b"hot")
        .bytes(&[2; 32])
        .var(b"part")
        .u32(2)
        .var(b"part")
        .var(b"other")
        .u64(1_700_000_000_000)
        .u8(0)
        .var(&lineage.encode());
    out.finish()
}

/// A genuine file. Its secrets are sealed with fresh randomness.
///
/// # Panics
/// If the recovery key is none.
#[must_use]
pub fn genuine(purpose: Purpose) -> BackupFile {
    let identity: &Arc<IdentityKey> = committee().identity(CHEAT);
    let secrets = Secrets {
        identity: IdentityKey::from_seed(identity.dangerous_to_seed()),
        exchange: exchange(),
        keys: Vec::new(),
    };
    let share = crate::sharings::again(Key::of(purpose).share(CHEAT));
    let held = Held {
        name: "hot".to_owned(),
        history: history(purpose),
        share: Arc::into_inner(share).expect("the only one"),
    };
    let made = "2026-01-01T00:00:00Z".to_owned();
    let id = cluster().cluster_id.as_str();
    BackupFile::make(id, CHEAT, &secrets, &held, &[recovery().public()], made).expect("a backup")
}

/// Who made it.
#[must_use]
pub fn maker() -> mpc_core::id::NodeId {
    node(CHEAT)
}

/// The text with the signature that member 3 would have given it, if it has a signature at all.
#[must_use]
pub fn sign(text: &str) -> Option<String> {
    let (body, _) = text.rsplit_once("\n[signature]\n")?;
    let digest = signer_digest(body);
    let signature = committee().identity(CHEAT).sign(&digest);
    let hex: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("{body}\n[signature]\nby_node = \"{hex}\"\n"))
}

fn signer_digest(body: &str) -> [u8; 32] {
    use sha2::{Digest as _, Sha256};
    let mut hash = Sha256::new();
    hash.update(b"quorate/backup-file/v1\n");
    hash.update(body.as_bytes());
    hash.finalize().into()
}
