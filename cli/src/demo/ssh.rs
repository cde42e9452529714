//! An approver who signs with `ssh-keygen`, as somebody with a hardware key would.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use policy::{
    credential::CredentialKey,
    statement::{Signature, SignedStatement, Statement},
};

use crate::{fail::Fail, verbs};

/// A key pair made by `ssh-keygen`.
#[derive(Clone, Debug)]
pub(super) struct SshKey {
    path: PathBuf,
    /// The public half.
    pub(super) public: CredentialKey,
}

impl SshKey {
    /// Makes a key pair, or tells that this machine has no `ssh-keygen`.
    pub(super) fn generate(path: &Path) -> Result<Option<Self>, Fail> {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f"])
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match made {
            Ok(status) if status.success() => {}
            Ok(_) | Err(_) => return Ok(None),
        }
        let public = path.with_extension("pub");
        let line = std::fs::read_to_string(&public).map_err(|e| Fail::read(&public, &e))?;
        // The comment at the end of the line is no part of the key.
        let line = line
            .split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" ");
        let public = CredentialKey::parse("ssh", &line).map_err(Fail::failed)?;
        Ok(Some(Self {
            path: path.to_owned(),
            public,
        }))
    }

    /// Writes the statement's body to a file and has `ssh-keygen` sign it.
    pub(super) fn sign(&self, statement: &Statement, body: &Path) -> Result<SignedStatement, Fail> {
        verbs::write_new(body, &statement.render())?;
        let output = Command::new("ssh-keygen")
            .args(["-Y", "sign", "-n", "quorate", "-f"])
            .arg(&self.path)
            .arg(body)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| Fail::failed(format_args!("ssh-keygen: {e}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Fail::failed(format_args!(
                "ssh-keygen did not sign: {said}"
            )));
        }
        let mut signature = body.as_os_str().to_owned();
        signature.push(".sig");
        let signature = PathBuf::from(signature);
        let pem = std::fs::read_to_string(&signature).map_err(|e| Fail::read(&signature, &e))?;
        SignedStatement::new(verbs::read(body)?, Signature::Ssh(pem)).map_err(Fail::failed)
    }
}
