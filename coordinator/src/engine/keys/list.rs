//! Keys as they are shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mpc_core::id::{NodeId, PartyIndex};
use prost::bytes::Bytes;
use proto::{
    convert::reshare::{sharing_of, sharing_to_wire},
    v1,
};

use super::Engine;
use crate::{
    clock,
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
        let keys = self.keys.all().into_iter();
        let keys: BTreeMap<[u8; 32], Arc<Key>> =
            keys.map(|key| (key.row.request_id, key)).collect();
        let info = |row: &KeyRow| self.key_info(row, keys.get(&row.request_id));
        rows.iter().map(info).collect()
    }

    fn key_info(&self, row: &KeyRow, key: Option<&Arc<Key>>) -> v1::KeyInfo {
        let mut info = v1::KeyInfo {
            name: row.name.clone(),
            scheme: row.scheme.clone(),
            threshold: u32::from(row.threshold),
            created_ms: row.created_ms,
            imported: row.imported,
            ..Default::default()
        };
        let state = match row.stage {
            KeyStage::Running => "running",
            KeyStage::Certified => "pending",
            KeyStage::Active => "active",
            KeyStage::Aborted => "aborted",
        };
        state.clone_into(&mut info.state);
        if let Some(key) = key {
            self.describe(key, &mut info);
        }
        info
    }

    fn describe(&self, key: &Key, info: &mut v1::KeyInfo) {
        let (name, now_ms) = (key.id(), clock::now_ms());
        info.key_id = Bytes::copy_from_slice(&name);
        info.epoch = key.package.epoch().0;
        info.public_key = Bytes::copy_from_slice(&key.public_key);
        info.address = key.main_address();
        info.threshold = u32::from(key.package.params().threshold());
        info.public_package = key.package.encode().into();
        info.sharing = Some(sharing_to_wire(sharing_of(&key.package)));
        info.since_ms = key.since_ms;
        info.nodes = self.active_on(key);
        info.holders = self.holders_of(key);
        let states = info.holders.iter().filter_map(|one| one.state.as_ref());
        let said: BTreeSet<&str> = states.map(|state| state.state.as_str()).collect();
        // Whoever of the nodes says the worst is believed: nothing but an alarm follows from it.
        if self.orders.exported_keys().contains(&name) || said.contains("exported") {
            "exported".clone_into(&mut info.state);
        } else if said.contains("conflict") {
            "conflict".clone_into(&mut info.state);
        } else if key.ended {
            "retired".clone_into(&mut info.state);
        }
        if let Some(due) = self.due(key, now_ms) {
            info.refresh_every_ms = due.every_ms;
            info.refresh_due_ms = due.due_ms;
            info.refresh_overdue = due.overdue;
        }
        if let Some(order) = self.orders.busy().get(&name) {
            info.order = Bytes::copy_from_slice(order);
        }
        info.next_attempt = self.next_attempt(&name, info.epoch.saturating_add(1));
    }

    /// The members of a key, and whoever else says anything of it.
    fn holders_of(&self, key: &Key) -> Vec<v1::KeyHolder> {
        let name = key.id();
        let holder = |(number, node): (PartyIndex, NodeId)| {
            let link = self.links.get(number.get());
            let index = key.package.index_of(&node);
            let states = link.as_ref().and_then(|link| link.status());
            let state = states.and_then(|status| {
                let mut keys = status.keys.iter();
                let found = keys.find(|state| state.key_id.as_ref() == name)?;
                // What only certificates are made of would fill an answer about many keys.
                Some(v1::KeyState {
                    certificate_part: Bytes::new(),
                    ..found.clone()
                })
            });
            (index.is_some() || state.is_some()).then(|| v1::KeyHolder {
                node: u32::from(number.get()),
                index: index.map_or(0, |index| u32::from(index.get())),
                connected: link.is_some(),
                member: index.is_some(),
                state,
            })
        };
        self.links.roster().by_index().filter_map(holder).collect()
    }

    /// The connected members that say they hold a share of the active sharing.
    pub(crate) fn active_on(&self, key: &Key) -> Vec<u32> {
        let (name, sharing) = (key.id(), sharing_to_wire(sharing_of(&key.package)));
        let has = |status: &v1::NodeStatus| {
            status.keys.iter().any(|state| {
                state.key_id.as_ref() == name
                    && state.state == "active"
                    && state.sharing.as_ref().is_none_or(|own| *own == sharing)
            })
        };
        let links = self.links.all();
        let active = links
            .iter()
            .filter(|link| link.status().as_ref().is_some_and(|status| has(status)));
        active.map(|link| u32::from(link.index())).collect()
    }
}
