//! What a backup promises, and everything that must not pass as one.

use super::*;
use crate::dkg::DkgOutput;
use crate::id::{Params, Purpose};
use crate::testing::{Simulator, rng};

fn key(purpose: Purpose) -> Simulator {
    let mut run = Simulator::start(purpose, 2, 3, 7);
    run.run();
    run
}

fn index(number: u16) -> PartyIndex {
    PartyIndex::new(number).unwrap()
}

fn made(output: &DkgOutput, key: &ExchangeKey, seed: u64) -> Backup {
    create(&output.share, &key.public(), &mut rng(seed)).unwrap()
}

#[test]
fn a_backup_of_every_curve_verifies_and_restores_the_share() {
    for purpose in [Purpose::Ed25519, Purpose::Bip340] {
        let run = key(purpose);
        let recovery = ExchangeKey::generate(&mut rng(1));
        for number in 1..=3 {
            let output = run.output(number);
            let public = output.share.public();
            let bytes = made(output, &recovery, u64::from(number)).encode();
            assert!(bytes.len() <= MAX_BACKUP);
            let backup = Backup::decode(&bytes).unwrap();
            assert_eq!(backup.encode(), bytes);
            assert_eq!(
                backup.verify(public, index(number), &recovery.public()),
                Ok(())
            );
            let restored = backup.restore(public, index(number), &recovery).unwrap();
            assert_eq!(
                restored.dangerous_to_bytes(),
                output.share.dangerous_to_bytes()
            );
        }
    }
}

#[test]
fn a_backup_for_another_recipient_index_or_key_is_unproven() {
    let run = key(Purpose::Ed25519);
    let other = {
        let mut run = Simulator::start(Purpose::Ed25519, 2, 3, 8);
        run.run();
        run
    };
    let (mine, foreign) = (
        ExchangeKey::generate(&mut rng(1)),
        ExchangeKey::generate(&mut rng(2)),
    );
    let backup = made(run.output(1), &mine, 3);
    let public = run.output(1).share.public();
    let unproven = Err(BackupError::Unproven);
    assert_eq!(backup.verify(public, index(1), &foreign.public()), unproven);
    assert_eq!(backup.verify(public, index(2), &mine.public()), unproven);
    assert_eq!(
        backup.verify(other.output(1).share.public(), index(1), &mine.public()),
        unproven
    );
    assert_eq!(
        backup.restore(public, index(1), &foreign).unwrap_err(),
        BackupError::Unproven
    );
    assert_eq!(
        backup.verify(public, index(4), &mine.public()),
        Err(BackupError::Misuse(Misuse::InvalidKey(
            "the index is not a member"
        )))
    );
    assert!(matches!(
        backup.verify(public, index(1), &[0; 32]),
        Err(BackupError::Malformed(_))
    ));
}

/// The last byte of every row of a backup and everything before the rows: any change is noticed.
#[test]
fn no_changed_byte_passes() {
    let run = key(Purpose::Bip340);
    let recovery = ExchangeKey::generate(&mut rng(1));
    let public = run.output(1).share.public();
    let bytes = made(run.output(1), &recovery, 3).encode();
    for at in (0..40).chain((40..bytes.len()).step_by(97)) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let judged = Backup::decode(&changed)
            .map_err(BackupError::from)
            .and_then(|backup| backup.verify(public, index(1), &recovery.public()));
        assert!(
            matches!(
                judged,
                Err(BackupError::Unproven | BackupError::Malformed(_))
            ),
            "byte {at}: {judged:?}"
        );
    }
    for len in [0, 1, 16, 17, bytes.len() - 1] {
        assert!(Backup::decode(&bytes[..len]).is_err());
    }
    let mut longer = bytes;
    longer.push(0);
    assert_eq!(
        Backup::decode(&longer),
        Err(DecodeError::new("backup", Problem::Trailing))
    );
}

/// A dealer of false backups encrypts noise on one side of every row: half of the rows give it away.
#[test]
fn a_backup_with_worthless_halves_is_unproven() {
    let run = key(Purpose::Ed25519);
    let recovery = ExchangeKey::generate(&mut rng(1));
    let public = run.output(1).share.public();
    let honest = made(run.output(1), &recovery, 3);
    let noise = made(run.output(1), &recovery, 4);
    let rows = honest
        .rows
        .iter()
        .zip(&noise.rows)
        .zip(honest.challenge.sides().zip(noise.challenge.sides()))
        .map(|((row, foreign), (side, other))| if side == other { foreign } else { row }.clone())
        .collect();
    let spliced = Backup {
        challenge: honest.challenge,
        rows,
    };
    assert_eq!(
        spliced.verify(public, index(1), &recovery.public()),
        Err(BackupError::Unproven)
    );
}

#[test]
fn any_two_of_three_parts_give_the_recovery_key_and_one_does_not() {
    let recovery = ExchangeKey::generate(&mut rng(1));
    let params = Params::new(2, 3).unwrap();
    let parts = split(&recovery, params, &mut rng(2));
    let part = |number: usize| {
        let bytes = parts[number].dangerous_to_bytes();
        assert_eq!(bytes.len(), PART_BYTES);
        RecoveryPart::dangerous_from_bytes(&bytes).unwrap()
    };
    for pair in [[0, 1], [0, 2], [1, 2], [2, 0]] {
        let joined = join(&pair.map(part)).unwrap();
        assert_eq!(joined.public(), recovery.public());
    }
    let too_few = |have| PartsError::TooFew { have, need: 2 };
    assert_eq!(join(&[part(1)]).unwrap_err(), too_few(1));
    assert_eq!(join(&[part(1), part(1)]).unwrap_err(), too_few(1));
    assert_eq!(join(&[]).unwrap_err(), too_few(0));
    let others = split(&ExchangeKey::generate(&mut rng(3)), params, &mut rng(4));
    let foreign = RecoveryPart::dangerous_from_bytes(&others[1].dangerous_to_bytes()).unwrap();
    assert_eq!(
        join(&[part(0), foreign]).unwrap_err(),
        PartsError::Mixed { index: 2 }
    );
}

#[test]
fn a_misread_part_is_noticed() {
    let recovery = ExchangeKey::generate(&mut rng(1));
    let parts = split(&recovery, Params::new(2, 3).unwrap(), &mut rng(2));
    let bytes = parts[0].dangerous_to_bytes();
    for at in 0..PART_BYTES {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1;
        let Ok(part) = RecoveryPart::dangerous_from_bytes(&changed) else {
            continue;
        };
        let second = RecoveryPart::dangerous_from_bytes(&parts[1].dangerous_to_bytes()).unwrap();
        let refused = join(&[part, second]).map(|key| key.public());
        assert!(refused.is_err(), "byte {at}");
    }
}
