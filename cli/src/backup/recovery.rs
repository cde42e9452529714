//! The recovery key: a file that only its owner can read, in the clear or under a passphrase.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mpc_core::identity::ExchangeKey;
use serde::Deserialize;
use signer_node::{
    config::Unlock,
    seal::{Effort, Owner, SealError, Secret, unwrap_key, wrap_key},
};
use zeroize::{Zeroize as _, Zeroizing};

use super::{Problem, words};
use crate::{fail::Fail, people::write_secret, verbs};

/// What a wrapped recovery key says it is, in place of a cluster's name.
const OWNER: &str = "recovery key";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: u8,
    public: String,
    secret: Option<String>,
    wrapped: Option<String>,
}

impl Drop for File {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

/// Writes a recovery key to a new file, under the passphrase that another file holds, if one is named.
///
/// # Errors
/// A file cannot be read or written.
pub fn write(path: &Path, key: &ExchangeKey, passphrase: Option<&Path>) -> Result<(), Fail> {
    let public = key.public();
    let bytes = key.dangerous_to_bytes();
    let secret = match passphrase {
        None => Zeroizing::new(format!(
            "secret = \"{}\"\n",
            *Zeroizing::new(hex::encode(&bytes[..]))
        )),
        Some(file) => {
            let wrapped = wrap_key(
                &secret_of(file)?,
                &Owner::new(OWNER, public),
                Effort::default(),
                &bytes,
            )
            .map_err(Fail::failed)?;
            Zeroizing::new(format!("wrapped = \"{}\"\n", STANDARD.encode(wrapped)))
        }
    };
    let text = Zeroizing::new(format!(
        "# Recovery key of Quorate. Whoever has it opens the backups that were made for it: keep it offline.\n\
         schema = 1\npublic = \"{}\"\n{}",
        hex::encode(public),
        *secret
    ));
    write_secret(path, text.as_bytes())
}

fn secret_of(passphrase: &Path) -> Result<Secret, Fail> {
    Secret::read(&Unlock::Passphrase(passphrase.to_owned())).map_err(Fail::invalid)
}

/// Reads what [`write()`] wrote; refuses a file that others can read.
///
/// # Errors
/// The file cannot be read, or is not a recovery key; [`Problem::WrongPassphrase`], [`Problem::PassphraseMissing`].
pub fn read(path: &Path, passphrase: Option<&Path>) -> Result<ExchangeKey, Fail> {
    proto::settings::check_secret_file(path).map_err(Fail::invalid)?;
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|e| Fail::read(path, &e))?);
    let bad = |what: &str| Problem::NoRecoveryKey(format!("{}: {what}", path.display()));
    let file: File = toml::from_str(&text).map_err(|e| bad(e.message()))?;
    if file.schema != 1 {
        return Err(bad("its schema is not known").into());
    }
    let mut public = [0; 32];
    hex::decode_to_slice(&file.public, &mut public).map_err(|_| bad("public does not read"))?;
    let mut secret = Zeroizing::new([0; 32]);
    match (&file.secret, &file.wrapped) {
        (Some(text), None) => hex::decode_to_slice(text, secret.as_mut_slice())
            .map_err(|_| bad("secret does not read"))?,
        (None, Some(wrapped)) => {
            let passphrase = passphrase.ok_or(Problem::PassphraseMissing)?;
            let wrapped = STANDARD
                .decode(wrapped)
                .map_err(|_| bad("wrapped does not read"))?;
            let opened = unwrap_key(
                &secret_of(passphrase)?,
                &Owner::new(OWNER, public),
                &wrapped,
            )
            .map_err(|error| match error {
                SealError::WrongSecret(_) => Problem::WrongPassphrase,
                other => bad(&other.to_string()),
            })?;
            secret.copy_from_slice(opened.as_slice());
        }
        _ => return Err(bad("it holds no key, or two").into()),
    }
    let key = ExchangeKey::dangerous_from_bytes(&secret).map_err(|_| bad("not a key"))?;
    if key.public() == public {
        Ok(key)
    } else {
        Err(bad("the secret is not that of the public key").into())
    }
}

/// Puts a recovery key together from printed parts.
///
/// # Errors
/// A file cannot be read; [`Problem::Part`] with the file and the word.
pub fn join(files: &[std::path::PathBuf]) -> Result<ExchangeKey, Fail> {
    let mut parts = Vec::new();
    for path in files {
        let text = Zeroizing::new(verbs::read(path)?);
        let text = std::str::from_utf8(&text)
            .map_err(|_| Fail::invalid(format_args!("{} is not text", path.display())))?;
        let part = words::read(text).map_err(|problem| {
            let mut fail = Fail::from(Problem::Part(problem));
            fail.message = format!("{}: {}", path.display(), fail.message);
            fail
        })?;
        parts.push(part);
    }
    let key = mpc_core::backup::join(&parts).map_err(words::PartProblem::from);
    Ok(key.map_err(Problem::Part)?)
}
