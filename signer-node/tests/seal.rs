//! Sealed records: the wrong secret, changed bytes and swapped places are three different errors.
#![cfg(test)]

use signer_node::config::Unlock;
use signer_node::seal::{Effort, Kind, Label, Owner, SealError, Secret, Vault};
use std::os::unix::fs::PermissionsExt as _;

// What holds a secret, or stands for a durable write, exists once.
static_assertions::assert_not_impl_any!(Vault: Clone);
static_assertions::assert_not_impl_any!(Secret: Clone);
static_assertions::assert_not_impl_any!(signer_node::store::Receipt: Clone);

const CHEAP: Effort = Effort::new(64, 1);

fn key_file(byte: u8) -> Secret {
    Secret::KeyFile([byte; 32].into())
}

fn owner() -> Owner {
    Owner::new("c-01", [1; 32])
}

fn vault() -> (Vault, Vec<u8>) {
    Vault::create(&key_file(1), owner(), CHEAP).unwrap()
}

#[test]
fn the_wrong_secret_is_told_apart_from_a_changed_wrap() {
    for (good, bad, name) in [
        (key_file(1), key_file(2), "key file"),
        (
            Secret::Passphrase(b"correct horse".to_vec().into()),
            Secret::Passphrase(b"correct horsf".to_vec().into()),
            "passphrase",
        ),
    ] {
        let (_, wrapped) = Vault::create(&good, owner(), CHEAP).unwrap();
        assert!(Vault::unlock(&good, owner(), &wrapped).is_ok());
        assert_eq!(
            Vault::unlock(&bad, owner(), &wrapped).unwrap_err(),
            SealError::WrongSecret(name)
        );
        let mut changed = wrapped.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(
            Vault::unlock(&good, owner(), &changed).unwrap_err(),
            SealError::Damaged("data key".to_owned())
        );
        assert_eq!(
            Vault::unlock(&good, owner(), &wrapped[1..]).unwrap_err(),
            SealError::Malformed("data key".to_owned())
        );
        let other = Owner::new("c-01", [2; 32]);
        assert!(matches!(
            Vault::unlock(&good, other, &wrapped).unwrap_err(),
            SealError::Swapped { .. }
        ));
    }
    let (_, wrapped) = vault();
    let text = Secret::Passphrase(vec![1; 32].into());
    assert_eq!(
        Vault::unlock(&text, owner(), &wrapped).unwrap_err(),
        SealError::WrongSecret("passphrase")
    );
}

#[test]
fn every_byte_of_a_sealed_record_is_authenticated() {
    let (vault, _) = vault();
    let label = Label::new(Kind::Share, [9; 32], 0, 1);
    let record = vault.seal(&label, b"secret").unwrap();
    assert_eq!(vault.open(&label, &record).unwrap().as_slice(), b"secret");
    for at in 0..record.len() {
        let mut changed = record.clone();
        changed[at] ^= 0x40;
        assert!(vault.open(&label, &changed).is_err(), "byte {at}");
        assert!(vault.open(&label, &record[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn a83_a_record_in_another_ones_place_is_named() {
    let (vault, wrapped) = vault();
    let label = Label::new(Kind::Share, [9; 32], 3, 4);
    let record = vault.seal(&label, b"secret").unwrap();
    let others = [
        Label::new(Kind::Pending, [9; 32], 3, 4),
        Label::new(Kind::Share, [8; 32], 3, 4),
        Label::new(Kind::Share, [9; 32], 2, 4),
        Label::new(Kind::Share, [9; 32], 3, 5),
    ];
    for other in others {
        let error = vault.open(&other, &record).unwrap_err();
        assert!(
            matches!(&error, SealError::Swapped { expected, .. } if *expected == other.to_string()),
            "{error}"
        );
    }
    // A header rewritten to match does not help: the key of the kind and the associated data differ.
    let other = Label::new(Kind::Share, [8; 32], 3, 4);
    let mut rewritten = record.clone();
    let at = rewritten
        .windows(32)
        .position(|window| window == [9; 32])
        .unwrap();
    rewritten[at..at + 32].copy_from_slice(&[8; 32]);
    assert_eq!(
        vault.open(&other, &rewritten).unwrap_err(),
        SealError::Damaged(other.to_string())
    );
    // Nor do two nodes that share a key file.
    let (foreign, _) = Vault::create(&key_file(1), Owner::new("c-01", [2; 32]), CHEAP).unwrap();
    assert!(matches!(
        foreign.open(&label, &record).unwrap_err(),
        SealError::Swapped { .. }
    ));
    let same = Vault::unlock(&key_file(1), owner(), &wrapped).unwrap();
    assert_eq!(same.open(&label, &record).unwrap().as_slice(), b"secret");
}

#[test]
fn two_seals_of_one_secret_share_nothing() {
    let (vault, _) = vault();
    let label = Label::new(Kind::Identity, [0; 32], 0, 0);
    assert_ne!(
        vault.seal(&label, &[5; 32]).unwrap(),
        vault.seal(&label, &[5; 32]).unwrap()
    );
    let text = format!("{vault:?} {:?}", key_file(0xab));
    assert!(!text.contains("abab") && !text.contains("171"), "{text}");
}

#[test]
fn secret_files_are_read_strictly() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.key");
    let write = |text: &str, mode| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    write(&format!("{}\n", "ab".repeat(32)), 0o600);
    assert!(Secret::read(&Unlock::KeyFile(path.clone())).is_ok());
    write(&"ab".repeat(31), 0o600);
    assert!(matches!(
        Secret::read(&Unlock::KeyFile(path.clone())).unwrap_err(),
        SealError::File(_)
    ));
    write("\n", 0o600);
    assert!(matches!(
        Secret::read(&Unlock::Passphrase(path.clone())).unwrap_err(),
        SealError::File(_)
    ));
    write("pass", 0o644);
    let error = Secret::read(&Unlock::Passphrase(path)).unwrap_err();
    assert!(error.to_string().contains("mode 0644"), "{error}");
}
