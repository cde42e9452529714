//! Key files, statements, and signatures by `ssh-keygen`.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    time::Duration,
};

use ed25519_dalek::SigningKey;
use policy::statement::{Common, Signature, SignedStatement, Statement};
use zeroize::Zeroizing;

use crate::{args::PersonArgs, fail::Fail, verbs};

/// How long a statement stays valid.
pub const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// A fresh Ed25519 key.
///
/// # Errors
/// The operating system has no randomness to give.
pub fn generate_key() -> Result<SigningKey, Fail> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    getrandom::fill(&mut seed[..])
        .map_err(|e| Fail::failed(format_args!("no randomness from this machine: {e}")))?;
    Ok(SigningKey::from_bytes(&seed))
}

/// Writes a seed as 64 hexadecimal digits to a new file that only its owner can read.
///
/// # Errors
/// The file exists or cannot be written.
pub fn write_key(path: &Path, key: &SigningKey) -> Result<(), Fail> {
    let seed = Zeroizing::new(key.to_bytes());
    let mut text = Zeroizing::new(hex::encode(&seed[..]));
    text.push('\n');
    write_secret(path, text.as_bytes())
}

/// Writes a new file that only its owner can read.
///
/// # Errors
/// The file exists or cannot be written.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Fail> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|e| Fail::write(path, &e))
}

/// Reads what [`write_key`] wrote; refuses a file that others can read.
///
/// # Errors
/// The file cannot be read, is open to others, or does not hold a seed.
pub fn read_key(path: &Path) -> Result<SigningKey, Fail> {
    let mode = File::open(path)
        .and_then(|f| f.metadata())
        .map_err(|e| Fail::read(path, &e))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        return Err(Fail::invalid(format_args!(
            "{} can be read by others (mode {:03o})",
            path.display(),
            mode & 0o777
        ))
        .hint(format_args!("chmod 600 {}", path.display())));
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|e| Fail::read(path, &e))?);
    let mut seed = Zeroizing::new([0_u8; 32]);
    hex::decode_to_slice(text.trim_end(), &mut seed[..]).map_err(|_| {
        Fail::invalid(format_args!(
            "{} does not hold an ed25519 seed",
            path.display()
        ))
        .hint("a seed file is 64 hexadecimal digits and a line feed")
    })?;
    Ok(SigningKey::from_bytes(&seed))
}

/// The part that all statements share, issued now, with a fresh nonce.
///
/// # Errors
/// No randomness, or no clock.
pub fn common(cluster: &str, person: &str, credential: &str) -> Result<Common, Fail> {
    let mut nonce = [0_u8; 16];
    getrandom::fill(&mut nonce)
        .map_err(|e| Fail::failed(format_args!("no randomness from this machine: {e}")))?;
    let issued_ms = verbs::now_ms()?;
    let lifetime = u64::try_from(LIFETIME.as_millis()).unwrap_or(u64::MAX);
    Ok(Common {
        cluster: cluster.to_owned(),
        person: person.to_owned(),
        credential: credential.to_owned(),
        nonce,
        issued_ms,
        expires_ms: issued_ms.saturating_add(lifetime),
    })
}

/// What became of a statement that somebody was asked to sign.
#[derive(Debug)]
pub enum Signing {
    /// It is signed.
    Done(Box<SignedStatement>),
    /// Its body was written for `ssh-keygen` to sign.
    Written,
}

/// Signs with a seed file, or writes the body for `ssh-keygen`, or takes the body and `ssh-keygen`'s signature.
///
/// `fresh` makes the statement; `check` sees one that was written earlier and refuses it unless it says what is asked
/// now.
///
/// # Errors
/// A file cannot be read or written, or the statement is not the one that is asked for.
pub fn sign(
    args: &PersonArgs,
    fresh: impl FnOnce() -> Result<Statement, Fail>,
    check: impl FnOnce(&Statement) -> Result<(), Fail>,
) -> Result<Signing, Fail> {
    match (&args.key, &args.ssh_body, &args.ssh_signature) {
        (Some(key), None, None) => {
            let key = read_key(key)?;
            let signed = SignedStatement::sign(&fresh()?, &key).map_err(Fail::invalid)?;
            Ok(Signing::Done(Box::new(signed)))
        }
        (None, Some(body), None) => {
            verbs::write_new(body, &fresh()?.render())?;
            Ok(Signing::Written)
        }
        (None, Some(body), Some(signature)) => {
            let pem = String::from_utf8(verbs::read(signature)?)
                .map_err(|_| Fail::invalid(format_args!("{} is not text", signature.display())))?;
            let signed = SignedStatement::new(verbs::read(body)?, Signature::Ssh(pem))
                .map_err(|e| Fail::invalid(format_args!("{}: {e}", body.display())))?;
            if signed.person() != args.person || signed.credential() != args.credential {
                return Err(Fail::invalid(format_args!(
                    "{} is for {} with credential {}",
                    body.display(),
                    signed.person(),
                    signed.credential()
                )));
            }
            check(signed.statement())?;
            Ok(Signing::Done(Box::new(signed)))
        }
        _ => Err(Fail::new(crate::fail::Exit::Usage, "nothing to sign with")
            .hint("give --key FILE, or --ssh-body FILE, or both --ssh-body and --ssh-signature")),
    }
}

/// The command that signs a written body.
#[must_use]
pub fn ssh_command(body: &Path) -> String {
    format!(
        "ssh-keygen -Y sign -n quorate -f ~/.ssh/id_ed25519 {}",
        body.display()
    )
}

/// Reads a signed statement from a file.
///
/// # Errors
/// The file cannot be read or holds something else.
pub fn read_statement(path: &Path) -> Result<SignedStatement, Fail> {
    SignedStatement::decode(&verbs::read(path)?)
        .map_err(|e| Fail::invalid(format_args!("{}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_reads_back_and_must_be_private() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a.key");
        let key = generate_key().expect("randomness");
        write_key(&path, &key).expect("a new file");
        assert_eq!(read_key(&path).expect("its own file"), key);
        assert!(write_key(&path, &key).is_err(), "never overwrites");

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("chmod");
        let refused = read_key(&path).expect_err("open to others");
        assert!(
            refused.message.contains("can be read by others"),
            "{refused}"
        );
    }
}
