//! The files of a cluster's directory that certificates are about.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use policy::cluster::ClusterFile;
use proto::channel::{
    config::Credential,
    identity::{Leaf, Role},
    pki::{Authority, Issued, Revocations},
};
use rustls::pki_types::{CertificateDer, UnixTime, pem::PemObject as _};
use zeroize::Zeroizing;

use crate::{args, fail::Fail, layout::Layout, verbs::Context};

/// A cluster's directory.
pub(crate) struct Place {
    layout: Layout,
    pub(crate) cluster: ClusterFile,
}

/// Puts a file in the place of another in one step.
pub(super) fn replace(path: &Path, bytes: &[u8], secret: bool) -> Result<(), Fail> {
    let new = path.with_extension("new");
    let write = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        options.mode(if secret { 0o600 } else { 0o644 });
        let mut file = options.open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(|e| Fail::write(path, &e))
}

fn text(path: &Path) -> Result<Zeroizing<String>, Fail> {
    fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|e| Fail::read(path, &e))
}

impl Place {
    pub(crate) fn open(context: &Context, place: &args::Place) -> Result<Self, Fail> {
        let beside = || match context.common.cluster.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
            _ => PathBuf::from("."),
        };
        let layout = Layout::new(&place.dir.clone().unwrap_or_else(beside));
        let cluster = parse(&layout.cluster())?;
        Ok(Self { layout, cluster })
    }

    pub(crate) const fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn cluster_path(&self) -> PathBuf {
        self.layout.cluster()
    }

    pub(super) fn reread(&self) -> Result<ClusterFile, Fail> {
        parse(&self.cluster_path())
    }

    pub(crate) fn write_cluster(&self, cluster: &ClusterFile) -> Result<(), Fail> {
        replace(&self.cluster_path(), cluster.render().as_bytes(), false)
    }

    pub(super) fn crl(&self) -> PathBuf {
        self.layout.ca().join("crl.pem")
    }

    pub(super) fn revocations(&self) -> Result<Revocations, Fail> {
        let path = self.crl();
        Revocations::read(&text(&path)?)
            .map_err(|e| Fail::invalid(format_args!("{}: {e}", path.display())))
    }

    pub(crate) fn authority(&self) -> Result<Authority, Fail> {
        let dir = self.layout.ca();
        let (cert, key) = (text(&dir.join("ca.pem"))?, dir.join("ca.key"));
        let key = text(&key).map_err(|fail| {
            fail.hint("the authority's key is kept offline: run this where it is, with --dir")
        })?;
        Authority::from_pem(&self.cluster.cluster_id, &cert, &key).map_err(Fail::invalid)
    }

    /// Everybody who may have a certificate, with the directory's name.
    pub(super) fn everybody(&self) -> Vec<(String, Role)> {
        let nodes = self.cluster.nodes.iter();
        nodes
            .map(|node| (format!("node-{}", node.index), Role::Node(node.index)))
            .chain([
                ("coordinator".to_owned(), Role::Coordinator),
                ("client".to_owned(), Role::Client),
                ("operator".to_owned(), Role::Operator),
            ])
            .collect()
    }

    pub(super) fn named(&self, names: &[String]) -> Result<Vec<(String, Role)>, Fail> {
        let everybody = self.everybody();
        if names == ["all"] {
            return Ok(everybody);
        }
        names
            .iter()
            .map(|name| {
                let found = everybody.iter().find(|(who, _)| who == name).cloned();
                found.ok_or_else(|| {
                    Fail::invalid(format_args!("nobody is called {name}"))
                        .hint("say node-1 and so on, coordinator, client, operator, or all")
                })
            })
            .collect()
    }

    fn file(&self, who: &str, name: &str) -> PathBuf {
        self.layout.root().join(who).join(name)
    }

    /// What somebody's certificate says; none if it is not here.
    pub(super) fn leaf(&self, who: &str, role: Role) -> Result<Option<Leaf>, Fail> {
        let path = self.file(who, "tls.pem");
        if !path.exists() {
            return Ok(None);
        }
        let leaf = self.read_leaf(&path)?;
        if leaf.role == role {
            Ok(Some(leaf))
        } else {
            Err(Fail::invalid(format_args!(
                "{} is a certificate of {}, not of {role}",
                path.display(),
                leaf.role
            )))
        }
    }

    fn read_leaf(&self, path: &Path) -> Result<Leaf, Fail> {
        let bad = |e: String| Fail::invalid(format_args!("{}: {e}", path.display()));
        let der = CertificateDer::from_pem_slice(text(path)?.as_bytes())
            .map_err(|e| bad(e.to_string()))?;
        Leaf::read(&der, &self.cluster.cluster_id).map_err(|e| bad(e.to_string()))
    }

    pub(super) fn key(&self, who: &str) -> Result<Zeroizing<String>, Fail> {
        text(&self.file(who, "tls.key"))
    }

    /// Puts certificate and key in their places; a service that reads between the two keeps what it has and reads again.
    pub(super) fn install(&self, who: &str, issued: &Issued) -> Result<(), Fail> {
        replace(&self.file(who, "tls.key"), issued.key_pem.as_bytes(), true)?;
        replace(
            &self.file(who, "tls.pem"),
            issued.cert_pem.as_bytes(),
            false,
        )
    }

    pub(super) fn install_next(&self, who: &str, issued: &Issued) -> Result<(), Fail> {
        replace(
            &self.file(who, "tls.next.key"),
            issued.key_pem.as_bytes(),
            true,
        )?;
        replace(
            &self.file(who, "tls.next.pem"),
            issued.cert_pem.as_bytes(),
            false,
        )
    }

    /// Puts the prepared certificate in place of the present one, if its key is pinned.
    pub(super) fn activate_next(&self, who: &str, pins: &[[u8; 32]]) -> Result<Leaf, Fail> {
        let (cert, key) = (
            self.file(who, "tls.next.pem"),
            self.file(who, "tls.next.key"),
        );
        if !cert.exists() {
            return Err(Fail::invalid("no next certificate is prepared")
                .hint("begin with --new-key prepare"));
        }
        let leaf = self.read_leaf(&cert)?;
        if !pins.contains(leaf.pin.as_bytes()) {
            return Err(Fail::invalid("the cluster file does not pin the next key")
                .hint("begin again with --new-key prepare"));
        }
        let (cert_text, key_text) = (text(&cert)?, text(&key)?);
        let now = UnixTime::now();
        Credential::parse(
            cert_text.as_bytes(),
            key_text.as_bytes(),
            &self.cluster.cluster_id,
            now,
        )
        .map_err(Fail::invalid)?;
        replace(&self.file(who, "tls.key"), key_text.as_bytes(), true)?;
        replace(&self.file(who, "tls.pem"), cert_text.as_bytes(), false)?;
        for done in [cert, key] {
            fs::remove_file(&done).map_err(|e| Fail::write(&done, &e))?;
        }
        Ok(leaf)
    }
}

fn parse(path: &Path) -> Result<ClusterFile, Fail> {
    ClusterFile::parse(text(path)?.as_bytes())
        .map_err(|e| Fail::invalid(format_args!("{}: {e}", path.display())))
}
