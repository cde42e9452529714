//! Keys as they are shown.

use prost::bytes::Bytes;
use proto::{
    convert::reshare::{sharing_of, sharing_to_wire},
    v1,
};

use super::Engine;
use crate::{
    keys::Key,
    store::{KeyRow, KeyStage},
};

impl Engine {
    /// Every key and generation, for `ListKeys`: with the nodes that say they have it active.
    pub(crate) fn key_infos(&self) -> Vec<v1::KeyInfo> {
        let mut rows: Vec<KeyRow> = self.ceremonies.rows().values().cloned().collect();
        rows.sort_by(|left, right| {
            left.created_ms
                .cmp(&right.created_ms)
                .then_with(|| left.name.cmp(&right.name))
        });
        rows.iter().map(|row| self.key_info(row)).collect()
    }

    fn key_info(&self, row: &KeyRow) -> v1::KeyInfo {
        let key = Key::read(row).ok().flatten();
        let state = match row.stage {
            KeyStage::Running => "running",
            KeyStage::Certified => "pending",
            KeyStage::Active => "active",
            KeyStage::Aborted => "aborted",
        };
        v1::KeyInfo {
            key_id: key
                .as_ref()
                .map(|key| Bytes::copy_from_slice(&key.id()))
                .unwrap_or_default(),
            name: row.name.clone(),
            scheme: row.scheme.clone(),
            epoch: key.as_ref().map_or(0, |key| key.package.epoch().0),
            state: state.to_owned(),
            public_key: key
                .as_ref()
                .map(|key| Bytes::copy_from_slice(&key.public_key))
                .unwrap_or_default(),
            address: key.as_ref().map(Key::main_address).unwrap_or_default(),
            nodes: self.active_on(&row.request_id),
            threshold: u32::from(row.threshold),
            public_package: row.package.clone(),
            sharing: key
                .as_ref()
                .map(|key| sharing_to_wire(sharing_of(&key.package))),
            created_ms: row.created_ms,
            ..Default::default()
        }
    }

    /// The connected nodes that say a key is active there.
    pub(crate) fn active_on(&self, request_id: &[u8; 32]) -> Vec<u32> {
        let has = |status: &v1::NodeStatus| {
            status
                .keys
                .iter()
                .any(|key| key.request_id.as_ref() == request_id && key.state == "active")
        };
        let links = self.links.all();
        let active = links
            .iter()
            .filter(|link| link.status().as_ref().is_some_and(has));
        active.map(|link| u32::from(link.index())).collect()
    }
}
