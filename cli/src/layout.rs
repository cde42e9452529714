//! Where a cluster's files are.

use std::path::{Path, PathBuf};

/// The directory that `quorate cluster init` writes.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout under this directory.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The public description of the cluster.
    #[must_use]
    pub fn cluster(&self) -> PathBuf {
        self.root.join("cluster.toml")
    }

    /// The certificate authority: `ca.pem`, `ca.key`, `crl.pem`.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.root.join("ca")
    }

    /// A node's directory.
    #[must_use]
    pub fn node(&self, index: u16) -> PathBuf {
        self.root.join(format!("node-{index}"))
    }

    /// A node's configuration.
    #[must_use]
    pub fn node_config(&self, index: u16) -> PathBuf {
        self.node(index).join("node.toml")
    }

    /// The coordinator's directory.
    #[must_use]
    pub fn coordinator(&self) -> PathBuf {
        self.root.join("coordinator")
    }

    /// The coordinator's configuration.
    #[must_use]
    pub fn coordinator_config(&self) -> PathBuf {
        self.coordinator().join("coordinator.toml")
    }

    /// The directory of an identity: `operator` or `client`.
    #[must_use]
    pub fn identity(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The seed of the sample initiator.
    #[must_use]
    pub fn initiator_key(&self) -> PathBuf {
        self.root.join("client/initiator.key")
    }

    /// The sample people's directory.
    #[must_use]
    pub fn people(&self) -> PathBuf {
        self.root.join("people")
    }

    /// The seed of a sample person.
    #[must_use]
    pub fn person_key(&self, name: &str) -> PathBuf {
        self.people().join(format!("{name}.key"))
    }

    /// The first policy document.
    #[must_use]
    pub fn policy(&self) -> PathBuf {
        self.root.join("policy.toml")
    }
}
