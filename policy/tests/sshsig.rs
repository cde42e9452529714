//! Signatures made with the real `ssh-keygen`, and those of an emulated security key.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose fixture is broken should stop there"
)]
#![expect(clippy::print_stdout, reason = "a skipped test says why")]
#![expect(clippy::string_slice, reason = "the armour is ASCII")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use ed25519_dalek::{Signer as _, SigningKey};
use policy::credential::CredentialKey;
use policy::sshsig::{MAX_PEM, NAMESPACE, SshSigError, verify};
use policy::statement::{
    Common, Freeze, Signature, SignatureError, SignedStatement, Statement, StatementError,
};
use sha2::{Digest as _, Sha256};
use ssh_key::public::{Ed25519PublicKey, KeyData, SkEd25519};
use ssh_key::{Algorithm, HashAlg, LineEnding, PublicKey, SshSig};

/// Whether the tool is here; says so where it is not, because the test then proves nothing.
fn ssh_keygen_is_here() -> bool {
    let found = Command::new("ssh-keygen")
        .arg("-?")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if let Err(error) = &found {
        println!(
            "SKIPPED: ssh-keygen cannot be run ({error}); install openssh-client to run this test"
        );
    }
    found.is_ok()
}

fn run(folder: &Path, arguments: &[&str]) {
    let status = Command::new("ssh-keygen")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success(), "ssh-keygen {arguments:?} failed");
}

/// Makes a key and returns its public line without the comment.
fn make_key(folder: &Path, name: &str, kind: &str) -> String {
    run(
        folder,
        &[
            "-q",
            "-t",
            kind,
            "-N",
            "",
            "-C",
            "somebody@somewhere",
            "-f",
            name,
        ],
    );
    let line = fs::read_to_string(folder.join(format!("{name}.pub"))).unwrap();
    CredentialKey::parse("ssh", line.trim_end())
        .unwrap()
        .to_string()
}

/// Signs `body` as a file, the way a person does.
fn sign(folder: &Path, key: &str, options: &[&str], body: &[u8]) -> String {
    let file = folder.join("statement");
    fs::write(&file, body).unwrap();
    let _ = fs::remove_file(folder.join("statement.sig"));
    let arguments = [&["-Y", "sign", "-f", key], options, &["statement"]].concat();
    run(folder, &arguments);
    fs::read_to_string(folder.join("statement.sig")).unwrap()
}

fn statement() -> Statement {
    Statement::Freeze(Freeze {
        common: Common {
            cluster: "c-01".to_owned(),
            person: "alice".to_owned(),
            credential: "laptop".to_owned(),
            nonce: [7; 16],
            issued_ms: 1_796_083_200_000,
            expires_ms: 1_796_083_260_000,
        },
    })
}

#[test]
fn what_ssh_keygen_signs_is_verified() {
    if !ssh_keygen_is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let body = statement().render();
    for kind in ["ed25519", "ecdsa"] {
        let line = make_key(folder, kind, kind);
        for hash in ["hashalg=sha256", "hashalg=sha512"] {
            let pem = sign(folder, kind, &["-n", NAMESPACE, "-O", hash], &body);
            assert_eq!(verify(&line, &body, &pem), Ok(()), "{kind} {hash}");

            let signed = SignedStatement::new(body.clone(), Signature::Ssh(pem)).unwrap();
            let signed = SignedStatement::decode(&signed.encode()).unwrap();
            assert_eq!(signed.verify(&CredentialKey::Ssh(line.clone())), Ok(()));
            assert_eq!(signed.person(), "alice");
        }
    }
}

#[test]
fn a91_another_namespace_key_or_text_is_refused() {
    if !ssh_keygen_is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let body = statement().render();
    for kind in ["ed25519", "ecdsa"] {
        let line = make_key(folder, kind, kind);
        let other = make_key(folder, &format!("other-{kind}"), kind);
        let pem = sign(folder, kind, &["-n", NAMESPACE], &body);

        let elsewhere = sign(folder, kind, &["-n", "git"], &body);
        assert_eq!(
            verify(&line, &body, &elsewhere),
            Err(SshSigError::WrongNamespace)
        );
        let near = sign(folder, kind, &["-n", "Quorate"], &body);
        assert_eq!(
            verify(&line, &body, &near),
            Err(SshSigError::WrongNamespace)
        );
        assert_eq!(verify(&other, &body, &pem), Err(SshSigError::WrongKey));
        assert_eq!(verify("", &body, &pem), Err(SshSigError::WrongKey));
        for place in 0..body.len() {
            let mut changed = body.clone();
            changed[place] ^= 1;
            assert_eq!(verify(&line, &changed, &pem), Err(SshSigError::Invalid));
        }
        assert_eq!(
            verify(&line, &body[..body.len() - 1], &pem),
            Err(SshSigError::Invalid)
        );
    }
}

#[test]
fn a_signature_has_one_spelling() {
    if !ssh_keygen_is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let body = statement().render();
    let line = make_key(folder, "key", "ed25519");
    let pem = sign(folder, "key", &["-n", NAMESPACE], &body);
    let joined = pem
        .lines()
        .skip(1)
        .take_while(|it| !it.starts_with('-'))
        .collect::<String>();
    for spelling in [
        String::new(),
        format!("a note\n{pem}"),
        format!("{pem}a note\n"),
        format!("{pem}{pem}"),
        pem.replace('\n', "\r\n"),
        pem.replace("SSH SIGNATURE", "SSH  SIGNATURE"),
        format!("-----BEGIN SSH SIGNATURE-----\n{joined}\n-----END SSH SIGNATURE-----\n"),
        pem.replace('\n', " \n"),
        "\n".repeat(MAX_PEM + 1),
    ] {
        assert_eq!(
            verify(&line, &body, &spelling),
            Err(SshSigError::Malformed),
            "{spelling:?}"
        );
    }
    for place in 0..pem.len() {
        if place < pem.trim_end().len() {
            assert_eq!(
                verify(&line, &body, &pem[..place]),
                Err(SshSigError::Malformed),
                "cut at {place}"
            );
        }
        let mut changed = pem.clone().into_bytes();
        changed[place] ^= 2;
        if let Ok(changed) = String::from_utf8(changed) {
            assert!(
                verify(&line, &body, &changed).is_err(),
                "byte {place} of the signature does not matter"
            );
        }
    }
}

#[test]
fn a91_a_signature_of_the_other_kind_is_refused() {
    let key = SigningKey::from_bytes(&[3; 32]);
    let signed = SignedStatement::sign(&statement(), &key).unwrap();
    let data = KeyData::Ed25519(Ed25519PublicKey(key.verifying_key().to_bytes()));
    let line = PublicKey::new(data, "").to_openssh().unwrap();
    let same_key = CredentialKey::parse("ssh", &line).unwrap();
    assert_eq!(signed.verify(&same_key), Err(SignatureError::WrongKind));
    let body = statement().render();
    let oversized = SignedStatement::new(body, Signature::Ssh("x".repeat(MAX_PEM + 1)));
    assert_eq!(
        oversized,
        Err(StatementError::BadValue { key: "signature" })
    );
}

/// What a security key does: it signs the hash of the application, the flags, a counter and the hash of the data.
fn security_key_signature(
    key: &SigningKey,
    application: &str,
    flags: u8,
    body: &[u8],
) -> (String, String) {
    let data = KeyData::SkEd25519(SkEd25519::new(
        Ed25519PublicKey(key.verifying_key().to_bytes()),
        application,
    ));
    let line = PublicKey::new(data.clone(), "").to_openssh().unwrap();
    let trailer = [&[flags], 7_u32.to_be_bytes().as_slice()].concat();
    let enveloped = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, body).unwrap();
    let message = [
        Sha256::digest(application).as_slice(),
        trailer.as_slice(),
        Sha256::digest(enveloped).as_slice(),
    ]
    .concat();
    let raw = [key.sign(&message).to_bytes().as_slice(), trailer.as_slice()].concat();
    let signature = ssh_key::Signature::new(Algorithm::SkEd25519, raw).unwrap();
    let pem = SshSig::new(data, NAMESPACE, HashAlg::Sha512, signature)
        .unwrap()
        .to_pem(LineEnding::LF)
        .unwrap();
    (
        CredentialKey::parse("ssh", line.trim_end())
            .unwrap()
            .to_string(),
        pem,
    )
}

#[test]
fn a95_a_security_key_must_have_been_touched() {
    let key = SigningKey::from_bytes(&[9; 32]);
    let body = statement().render();
    for flags in [0x01, 0x05] {
        let (line, pem) = security_key_signature(&key, "ssh:", flags, &body);
        assert_eq!(verify(&line, &body, &pem), Ok(()), "flags {flags}");
        assert_eq!(
            verify(&line, b"another text", &pem),
            Err(SshSigError::Invalid)
        );
        let (elsewhere, _) = security_key_signature(&key, "ssh:other", flags, &body);
        assert_eq!(verify(&elsewhere, &body, &pem), Err(SshSigError::WrongKey));
    }
    for flags in [0x00, 0x04, 0xfe] {
        let (line, pem) = security_key_signature(&key, "ssh:", flags, &body);
        assert_eq!(
            verify(&line, &body, &pem),
            Err(SshSigError::NotTouched),
            "flags {flags}"
        );
    }
    // The flags are signed: claiming a touch afterwards does not help.
    let (line, untouched) = security_key_signature(&key, "ssh:", 0x00, &body);
    let parsed = SshSig::from_pem(&untouched).unwrap();
    let mut raw = parsed.signature_bytes().to_vec();
    raw[64] = 0x01;
    let claimed = ssh_key::Signature::new(Algorithm::SkEd25519, raw).unwrap();
    let pem = SshSig::new(
        parsed.public_key().clone(),
        NAMESPACE,
        HashAlg::Sha512,
        claimed,
    )
    .unwrap()
    .to_pem(LineEnding::LF)
    .unwrap();
    assert_eq!(verify(&line, &body, &pem), Err(SshSigError::Invalid));
}
