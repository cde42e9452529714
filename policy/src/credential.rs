//! The public key with which one credential of a person, or a machine, signs.

use core::fmt;

use ed25519_dalek::VerifyingKey;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, EcdsaCurve};

/// A public key of one of the accepted kinds.
///
/// The text `kind = "ed25519"` goes with 64 hexadecimal digits; `kind = "ssh"` with one line of an OpenSSH public key file
/// (`ssh-ed25519`, `sk-ssh-ed25519@openssh.com`, `ecdsa-sha2-nistp256`, `sk-ecdsa-sha2-nistp256@openssh.com`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum CredentialKey {
    /// An Ed25519 key, 32 bytes.
    Ed25519([u8; 32]),
    /// An OpenSSH key: its algorithm name and base64 part, the comment cut off.
    Ssh(String),
}

/// Why a text is not a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The kind is neither `ed25519` nor `ssh`.
    #[error("credential kind must be \"ed25519\" or \"ssh\"")]
    BadKind,
    /// Not 64 lower-case hexadecimal digits.
    #[error("ed25519 key must be 64 lower-case hexadecimal digits")]
    NotHex,
    /// Not a line that OpenSSH would write.
    #[error("ssh key must be one line of an OpenSSH public key file")]
    NotSsh,
    /// An SSH algorithm that is not accepted.
    #[error(
        "ssh key must be ssh-ed25519, sk-ssh-ed25519@openssh.com, ecdsa-sha2-nistp256 or sk-ecdsa-sha2-nistp256@openssh.com"
    )]
    SshAlgorithm,
    /// A point that is not on the curve, or one of small order, with which anything verifies.
    #[error("ed25519 key is not a usable curve point")]
    WeakKey,
}

fn check_ed25519(bytes: &[u8; 32]) -> Result<(), CredentialError> {
    match VerifyingKey::from_bytes(bytes) {
        Ok(key) if !key.is_weak() => Ok(()),
        _ => Err(CredentialError::WeakKey),
    }
}

/// Whether a SEC 1 point is not in the form `04 || x || y`.
const fn is_compressed(sec1: &[u8]) -> bool {
    !matches!(sec1, [0x04, ..])
}

impl CredentialKey {
    /// Reads a key of the given kind.
    ///
    /// # Errors
    /// An unknown kind, a malformed key, an algorithm that is not accepted, a weak Ed25519 point.
    pub fn parse(kind: &str, text: &str) -> Result<Self, CredentialError> {
        match kind {
            "ed25519" => Self::parse_ed25519(text),
            "ssh" => Self::parse_ssh(text),
            _ => Err(CredentialError::BadKind),
        }
    }

    fn parse_ed25519(text: &str) -> Result<Self, CredentialError> {
        if text.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(CredentialError::NotHex);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| CredentialError::NotHex)?;
        check_ed25519(&bytes)?;
        Ok(Self::Ed25519(bytes))
    }

    fn parse_ssh(text: &str) -> Result<Self, CredentialError> {
        let mut key =
            ssh_key::PublicKey::from_openssh(text).map_err(|_| CredentialError::NotSsh)?;
        match key.algorithm() {
            Algorithm::Ed25519
            | Algorithm::SkEd25519
            | Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP256,
            }
            | Algorithm::SkEcdsaSha2NistP256 => {}
            _ => return Err(CredentialError::SshAlgorithm),
        }
        match key.key_data() {
            KeyData::Ed25519(public) => check_ed25519(&public.0)?,
            KeyData::SkEd25519(public) => check_ed25519(&public.public_key().0)?,
            // OpenSSH neither writes nor reads the compressed form, which would be a second text for the same key.
            KeyData::Ecdsa(public) if is_compressed(public.as_sec1_bytes()) => {
                return Err(CredentialError::NotSsh);
            }
            KeyData::SkEcdsaSha2NistP256(public) if is_compressed(public.ec_point().as_bytes()) => {
                return Err(CredentialError::NotSsh);
            }
            _ => {}
        }
        key.set_comment("");
        key.to_openssh()
            .map(|line| Self::Ssh(line.trim_end().to_owned()))
            .map_err(|_| CredentialError::NotSsh)
    }

    /// The kind as text: `ed25519` or `ssh`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "ed25519",
            Self::Ssh(_) => "ssh",
        }
    }

    /// What the key material is, whatever text it was written in: the curve and the point. An `ssh-ed25519` line, a security
    /// key's line of any application and the hexadecimal form of the same point give the same value. Two credentials of one document must differ in it, so that one key cannot vote for
    /// two people (attack A92).
    #[must_use]
    pub fn material(&self) -> String {
        match self {
            Self::Ed25519(bytes) => format!("ed25519 {}", hex::encode(bytes)),
            Self::Ssh(line) => {
                match ssh_key::PublicKey::from_openssh(line).map(|key| key.key_data().clone()) {
                    Ok(KeyData::Ed25519(public)) => format!("ed25519 {}", hex::encode(public.0)),
                    Ok(KeyData::SkEd25519(public)) => {
                        format!("ed25519 {}", hex::encode(public.public_key().0))
                    }
                    Ok(KeyData::Ecdsa(public)) => {
                        format!("p256 {}", hex::encode(public.as_sec1_bytes()))
                    }
                    Ok(KeyData::SkEcdsaSha2NistP256(public)) => {
                        format!("p256 {}", hex::encode(public.ec_point().as_bytes()))
                    }
                    _ => line.clone(),
                }
            }
        }
    }
}

impl fmt::Display for CredentialKey {
    /// The text that [`CredentialKey::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ed25519(bytes) => f.write_str(&hex::encode(bytes)),
            Self::Ssh(line) => f.write_str(line),
        }
    }
}

impl fmt::Debug for CredentialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CredentialKey({} {self})", self.kind())
    }
}

#[cfg(test)]
mod tests {
    use super::{CredentialError, CredentialKey};

    const HEX: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    fn ssh_line(comment: &str) -> String {
        let mut point = [0; 32];
        hex::decode_to_slice(HEX, &mut point).unwrap();
        let data = ssh_key::public::Ed25519PublicKey(point);
        ssh_key::PublicKey::new(ssh_key::public::KeyData::Ed25519(data), comment)
            .to_openssh()
            .unwrap()
    }

    #[test]
    fn a92_one_key_written_two_ways_is_one_key() {
        let hex = CredentialKey::parse("ed25519", HEX).unwrap();
        let ssh = CredentialKey::parse("ssh", &ssh_line("bob@laptop")).unwrap();
        let again = CredentialKey::parse("ssh", &ssh_line("")).unwrap();
        assert_eq!(hex.material(), ssh.material());
        assert_eq!(ssh, again);
        assert_eq!(CredentialKey::parse("ssh", &ssh.to_string()), Ok(ssh));
    }

    /// A line as OpenSSH writes it, from the fields of its binary part.
    fn line_of(algorithm: &str, fields: &[&[u8]]) -> String {
        let mut blob = Vec::new();
        for field in [algorithm.as_bytes()].iter().chain(fields) {
            blob.extend_from_slice(&u32::try_from(field.len()).unwrap().to_be_bytes());
            blob.extend_from_slice(field);
        }
        let key = ssh_key::PublicKey::from_bytes(&blob).unwrap();
        key.to_openssh().unwrap()
    }

    #[test]
    fn a92_a_point_is_one_key_under_every_algorithm_and_application() {
        let ed25519 = hex::decode(HEX).unwrap();
        let sk = "sk-ssh-ed25519@openssh.com";
        let mut all = vec![CredentialKey::parse("ed25519", HEX).unwrap()];
        for application in [b"ssh:".as_slice(), b"ssh:other"] {
            let line = line_of(sk, &[&ed25519, application]);
            all.push(CredentialKey::parse("ssh", &line).unwrap());
        }
        let materials: Vec<String> = all.iter().map(CredentialKey::material).collect();
        assert!(
            materials.iter().all(|it| *it == materials[0]),
            "{materials:?}"
        );

        // The base point of P-256.
        let x = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296";
        let y = "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
        let (plain, sk) = ("ecdsa-sha2-nistp256", "sk-ecdsa-sha2-nistp256@openssh.com");
        let lines = |point: &[u8]| {
            [
                line_of(plain, &[b"nistp256", point]),
                line_of(sk, &[b"nistp256", point, b"ssh:"]),
            ]
        };
        let whole = hex::decode(format!("04{x}{y}")).unwrap();
        let [one, other] = lines(&whole).map(|line| CredentialKey::parse("ssh", &line).unwrap());
        assert_ne!(one, other);
        assert_eq!(one.material(), other.material());
        // The other text of the same point.
        for line in lines(&hex::decode(format!("03{x}")).unwrap()) {
            assert_eq!(
                CredentialKey::parse("ssh", &line),
                Err(CredentialError::NotSsh)
            );
        }
    }

    #[test]
    fn keys_that_verify_anything_or_nothing_are_refused() {
        let identity = "0100000000000000000000000000000000000000000000000000000000000000";
        let off_curve = "0200000000000000000000000000000000000000000000000000000000000000";
        assert_eq!(
            CredentialKey::parse("ed25519", identity),
            Err(CredentialError::WeakKey)
        );
        assert_eq!(
            CredentialKey::parse("ed25519", off_curve),
            Err(CredentialError::WeakKey)
        );
        assert_eq!(
            CredentialKey::parse("ed25519", &HEX.to_uppercase()),
            Err(CredentialError::NotHex)
        );
        assert_eq!(
            CredentialKey::parse("ed25519", ""),
            Err(CredentialError::NotHex)
        );
        assert_eq!(
            CredentialKey::parse("ssh", "hello"),
            Err(CredentialError::NotSsh)
        );
        assert_eq!(
            CredentialKey::parse("webauthn", HEX),
            Err(CredentialError::BadKind)
        );
    }
}
