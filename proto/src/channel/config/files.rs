//! The four files of one end, read with care and nothing more.
use std::{
    fmt,
    path::{Path, PathBuf},
};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::ConfigError;

/// The largest certificate, key or revocation list file that is read, in bytes.
pub const MAX_FILE: u64 = 4 << 20;

/// Where the PEM files of one end are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Certificates of the cluster's authority, one or more.
    pub ca: PathBuf,
    /// Revocation lists, one or more per authority certificate.
    pub crl: PathBuf,
    /// Own certificate, leaf first.
    pub cert: PathBuf,
    /// Own private key, PKCS#8.
    pub key: PathBuf,
}

/// One of the four files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// Certificates of the authority.
    Ca,
    /// Own certificate.
    Certificate,
    /// Revocation lists.
    Crl,
    /// Own private key.
    Key,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ca => "ca file",
            Self::Certificate => "certificate file",
            Self::Crl => "revocation list file",
            Self::Key => "key file",
        })
    }
}

/// The bytes of the four files, read together, and a digest that changes when any of them does.
pub struct Contents {
    pub(crate) ca: Vec<u8>,
    pub(crate) crl: Vec<u8>,
    pub(crate) cert: Vec<u8>,
    pub(crate) key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").finish_non_exhaustive()
    }
}

impl Contents {
    /// Reads the files. Blocking: call it where that is allowed.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`] or [`ConfigError::TooLarge`], for the first file that has the problem.
    pub fn read(files: &Files) -> Result<Self, ConfigError> {
        Ok(Self {
            ca: read(FileKind::Ca, &files.ca)?,
            crl: read(FileKind::Crl, &files.crl)?,
            cert: read(FileKind::Certificate, &files.cert)?,
            key: Zeroizing::new(read(FileKind::Key, &files.key)?),
        })
    }

    pub(crate) fn trust_digest(&self) -> [u8; 32] {
        digest([&self.ca, &self.crl])
    }

    pub(crate) fn credential_digest(&self) -> [u8; 32] {
        digest([&self.cert, &self.key])
    }
}

fn digest(parts: [&[u8]; 2]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(Sha256::digest(part));
    }
    hash.finalize().into()
}

fn read(file: FileKind, path: &Path) -> Result<Vec<u8>, ConfigError> {
    use std::io::Read as _;
    let unreadable = |e: std::io::Error| ConfigError::Unreadable {
        file,
        path: path.display().to_string(),
        kind: e.kind(),
    };
    let handle = std::fs::File::open(path).map_err(unreadable)?;
    if file == FileKind::Key {
        check_mode(&handle.metadata().map_err(unreadable)?)?;
    }
    // The final buffer is sized up front, so that no copy of a key is left behind in a smaller one.
    let size = handle.metadata().map_err(unreadable)?.len();
    if size > MAX_FILE {
        return Err(ConfigError::TooLarge(file));
    }
    let room = usize::try_from(size.saturating_add(1)).map_err(|_| ConfigError::TooLarge(file))?;
    let mut bytes = Vec::with_capacity(room);
    let length = handle
        .take(MAX_FILE.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    match u64::try_from(length) {
        Ok(length) if length <= MAX_FILE => Ok(bytes),
        _ => Err(ConfigError::TooLarge(file)),
    }
}

#[cfg(unix)]
fn check_mode(metadata: &std::fs::Metadata) -> Result<(), ConfigError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o037 == 0 {
        Ok(())
    } else {
        Err(ConfigError::KeyExposed { mode })
    }
}

#[cfg(not(unix))]
fn check_mode(_: &std::fs::Metadata) -> Result<(), ConfigError> {
    Ok(())
}

pub(super) fn certificates(
    file: FileKind,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let all = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| ConfigError::Malformed(file))?;
    if all.is_empty() {
        Err(ConfigError::Empty(file))
    } else {
        Ok(all)
    }
}
