//! What happens to keys in a local cluster: reshares that sample people order, backups, restores.

use client::ceremony::{self, Change};
use mpc_core::identity::ExchangeKey;
use policy::{cluster::ClusterFile, governance::Matter, time};
use proto::v1::OrderStatus;
use signer_node::{Config, backup::Secrets};

use super::LocalCluster;
use crate::{backup::file::BackupFile, fail::Fail, people, sample, verbs};

/// How an order of sample people ended.
#[derive(Debug)]
pub struct Ended {
    /// What was ordered, in words.
    pub lines: Vec<String>,
    /// Its last status.
    pub status: OrderStatus,
}

impl Ended {
    /// Whether it was carried out.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.status.state == "done"
    }

    /// Why not, in words.
    #[must_use]
    pub fn why(&self) -> String {
        let whole = self.status.failure.iter();
        let keys = self
            .status
            .keys
            .iter()
            .filter_map(|key| key.failure.as_ref());
        let said: Vec<&str> = whole.chain(keys).map(|f| f.message.as_str()).collect();
        format!(
            "{} {}{}",
            self.status.state,
            said.join("; "),
            self.status.missing.join(", ")
        )
    }
}

impl LocalCluster {
    /// The cluster file as it is now.
    ///
    /// # Errors
    /// It is wrong.
    pub fn read(&self) -> Result<ClusterFile, Fail> {
        let bytes = verbs::read(&self.layout().cluster())?;
        ClusterFile::parse(&bytes).map_err(Fail::invalid)
    }

    /// A node's configuration.
    ///
    /// # Errors
    /// It is wrong.
    pub fn config(&self, index: u16) -> Result<Config, Fail> {
        Config::load(&self.layout().node_config(index)).map_err(Fail::invalid)
    }

    /// Deletes a node's store, as a lost disk would.
    ///
    /// # Errors
    /// It cannot be deleted.
    pub fn lose_store(&self, index: u16) -> Result<(), Fail> {
        lose(&self.layout().node(index).join("node.db"))
    }

    /// Deletes the coordinator's store.
    ///
    /// # Errors
    /// It cannot be deleted.
    pub fn lose_coordinator_store(&self) -> Result<(), Fail> {
        lose(&self.layout().coordinator().join("coordinator.db"))
    }

    /// Has sample people order new shares for keys, and waits for the end of it.
    ///
    /// # Errors
    /// The order is refused.
    pub async fn reshare(
        &self,
        keys: &[&str],
        change: &Change,
        who: &[&str],
    ) -> Result<Ended, Fail> {
        let operator = self.client("operator").await?;
        let mut infos = Vec::new();
        for name in keys {
            infos.push(operator.key(name).await?);
        }
        let matter = Matter::Reshare(ceremony::draft(&self.read()?, &infos, change)?);
        let mut statements = Vec::new();
        for person in who {
            let common = people::common(self.id(), person, sample::CREDENTIAL)?;
            statements.push(self.sign(person, &matter.clone().statement(common))?);
        }
        let mut status = operator.submit_order(&statements, false).await?;
        if status.state == "running" {
            status = operator.watch_order(matter.request(), |_| ()).await?;
        }
        Ok(Ended {
            lines: matter.lines(),
            status,
        })
    }

    /// Backs every share of a node up for one recovery key.
    ///
    /// # Errors
    /// Its store cannot be read.
    pub fn back_up(&self, node: u16, recipient: [u8; 32]) -> Result<Vec<String>, Fail> {
        let secrets = signer_node::backup::export(&self.config(node)?).map_err(Fail::failed)?;
        let made = time::format_utc(verbs::now_ms()?);
        secrets
            .keys
            .iter()
            .map(|held| {
                let made = made.clone();
                let file = BackupFile::make(self.id(), node, &secrets, held, &[recipient], made)?;
                Ok(file.render())
            })
            .collect()
    }

    /// Makes a node's store again from the backups of its keys.
    ///
    /// # Errors
    /// A backup is not believed, or the store is there already.
    pub fn restore(&self, node: u16, files: &[String], key: &ExchangeKey) -> Result<(), Fail> {
        let cluster = self.read()?;
        let mut secrets: Option<Secrets> = None;
        for text in files {
            let file = BackupFile::parse(text.as_bytes())?;
            let (identity, exchange, held) = file.verify(&cluster)?.open(key)?;
            match &mut secrets {
                Some(secrets) => secrets.keys.push(held),
                None => {
                    secrets = Some(Secrets {
                        identity,
                        exchange,
                        keys: vec![held],
                    });
                }
            }
        }
        let secrets = secrets.ok_or_else(|| Fail::failed("no backup of this node"))?;
        signer_node::backup::restore(&self.config(node)?, &secrets).map_err(Fail::failed)
    }
}

/// Deletes a database with what stands beside it.
fn lose(path: &std::path::Path) -> Result<(), Fail> {
    for end in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Fail::write(path, &error));
            }
            _ => {}
        }
    }
    Ok(())
}
