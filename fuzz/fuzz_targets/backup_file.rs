//! Backup files, what is in them, and printed parts of recovery keys: no panic, one form, and a file that proves to hold a share can be
//! opened and gives that share.
#![no_main]

use std::sync::OnceLock;

use cli::backup::Problem;
use cli::backup::file::BackupFile;
use cli::backup::words;
use libfuzzer_sys::fuzz_target;
use mpc_core::backup::{Backup, NodeKeys, RecoveryPart, open_node_keys};
use mpc_core::id::Purpose;
use quorate_fuzz::backups::{cluster, genuine, maker, recovery, sign};
use quorate_fuzz::committee::{CHEAT, Key, committee, index};
use quorate_fuzz::script::Script;

/// A genuine file, made anew in every process.
fn text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| genuine(Purpose::Ed25519).render())
}

fuzz_target!(|bytes: &[u8]| {
    pieces(bytes);
    if let Ok(file) = BackupFile::parse(bytes) {
        judge(bytes, &file);
    }
    if let Ok(given) = str::from_utf8(bytes) {
        if let Some(signed) = sign(given) {
            reread(&signed);
        }
        if let Ok(part) = words::read(given) {
            let again = words::print(&part).join(" ");
            assert!(words::read(&again).is_ok());
        }
    }
    // The genuine file with a change of the script's that its node has signed.
    let mut script = Script::new(bytes);
    let mut changed = text().as_bytes().to_vec();
    let far = usize::from(script.byte()) * 256;
    let at = (far + usize::from(script.byte())) % changed.len();
    let piece = script.bytes();
    let end = (at + usize::from(script.byte())).min(changed.len());
    changed.splice(at..end, piece.iter().copied());
    if let Ok(changed) = String::from_utf8(changed)
        && let Some(signed) = sign(&changed)
    {
        reread(&signed);
    }
});

fn reread(text: &str) {
    if let Ok(file) = BackupFile::parse(text.as_bytes()) {
        judge(text.as_bytes(), &file);
    }
}

fn judge(bytes: &[u8], file: &BackupFile) {
    assert_eq!(file.render().as_bytes(), bytes);
    let verified = match file.verify(cluster()) {
        Ok(verified) => verified,
        Err(problem) => {
            assert!(!problem.hint().is_empty());
            assert_ne!(bytes, text().as_bytes(), "{problem}");
            return;
        }
    };
    // Nobody makes another key by chance: it is the one of the genuine file, or a seed's.
    let known = [Purpose::Ed25519, Purpose::Bip340].map(|purpose| Key::of(purpose).public());
    assert!(known.contains(&verified.package()));
    match verified.open(recovery()) {
        Ok((identity, exchange, held)) => {
            assert_eq!(identity.public().node_id(), maker());
            assert_eq!(held.share.public(), verified.package());
            assert!(
                cluster()
                    .node(CHEAT)
                    .is_some_and(|node| node.exchange == exchange.public())
            );
            if let Some(again) = signer_node::fuzzing::history(&held.history, &maker()) {
                let once_more = signer_node::fuzzing::history(&again, &maker());
                assert_eq!(once_more.as_ref(), Some(&again));
            }
        }
        // The keys of the node are not proven, and the file may be for others.
        Err(Problem::Unopened(_) | Problem::NotFor(_) | Problem::Malformed(_)) => {}
        Err(problem) => panic!("{problem}"),
    }
}

/// The binary pieces of a file on their own.
fn pieces(bytes: &[u8]) {
    if let Ok(backup) = Backup::decode(bytes) {
        assert_eq!(backup.encode(), bytes);
        let public = Key::of(Purpose::Ed25519).public();
        let proven = backup.verify(public, index(CHEAT), &recovery().public());
        let opened = backup.restore(public, index(CHEAT), recovery());
        assert_eq!(proven.is_ok(), opened.is_ok());
    }
    if let Ok(part) = RecoveryPart::dangerous_from_bytes(bytes) {
        assert_eq!(part.dangerous_to_bytes().as_slice(), bytes);
        let again = words::read(&words::print(&part).join(" ")).expect("what was printed");
        assert_eq!(again.dangerous_to_bytes().as_slice(), bytes);
    }
    let context = NodeKeys {
        identity: committee().identity(CHEAT).public(),
        exchange: recovery().public(),
    };
    assert!(open_node_keys(bytes, &context, recovery()).is_err());
    if let Some(again) = signer_node::fuzzing::history(bytes, &maker()) {
        let once_more = signer_node::fuzzing::history(&again, &maker());
        assert_eq!(once_more.as_ref(), Some(&again));
    }
}
