//! Making a new node's store.
#![cfg(test)]

use std::os::unix::fs::PermissionsExt as _;

use mpc_core::identity::IdentityPublic;
use policy::id::ClusterId;
use signer_node::config::Unlock;
use signer_node::init::{InitError, create_store};
use signer_node::seal::{Owner, SealError, Secret};
use signer_node::store::{Store, StoreError};

#[test]
fn a_passphrase_opens_what_it_made_and_nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let (path, pass) = (dir.path().join("node.db"), dir.path().join("pass"));
    let cluster = ClusterId::parse("c-01").unwrap();
    std::fs::write(&pass, "correct horse battery\n").unwrap();
    std::fs::set_permissions(&pass, std::fs::Permissions::from_mode(0o644)).unwrap();
    let unlock = Unlock::Passphrase(pass.clone());
    assert!(matches!(
        create_store(&path, &unlock, &cluster),
        Err(InitError::Seal(SealError::File(_)))
    ));
    assert!(!path.exists());
    std::fs::set_permissions(&pass, std::fs::Permissions::from_mode(0o600)).unwrap();
    let made = create_store(&path, &unlock, &cluster).unwrap();
    let before = std::fs::read(&path).unwrap();
    assert_eq!(
        create_store(&path, &unlock, &cluster),
        Err(InitError::Store(StoreError::Exists(path.clone())))
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let node = IdentityPublic::from_bytes(&made.identity)
        .unwrap()
        .node_id();
    let owner = Owner::new("c-01", *node.as_bytes());
    let wrong = Secret::Passphrase(b"correct horse batterz".to_vec().into());
    let error = Store::open(&path, &wrong, owner.clone()).unwrap_err();
    assert_eq!(
        error,
        StoreError::Seal(SealError::WrongSecret("passphrase"))
    );
    Store::open(&path, &Secret::read(&unlock).unwrap(), owner).unwrap();
    let key = dir.path().join("store.key");
    std::fs::write(&key, "07".repeat(32)).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let other = create_store(
        &dir.path().join("other.db"),
        &Unlock::KeyFile(key),
        &cluster,
    )
    .unwrap();
    assert!(other.identity != made.identity && other.exchange != made.exchange);
}
