//! Evidence against other nodes: kept in files beside the store, and passed on.
//!
//! It proves itself: what comes from the coordinator is judged here again, against this node's own roster, and dropped if it convicts
//! nobody.

use mpc_core::evidence::{self, Evidence};
use proto::evidence_files::Kept;
use proto::limits;
use proto::v1::{self, node_frame};

use super::Engine;

impl Engine {
    /// Keeps evidence that this node has come upon, and gives it to the coordinator, which gives it to the others.
    pub(super) fn found(&self, evidence: &Evidence) {
        let bytes = evidence.encode();
        if self.keep_evidence(&bytes) && bytes.len() <= limits::EVIDENCE {
            let evidence = bytes.into();
            self.send(node_frame::Body::Evidence(v1::Evidence { evidence }));
        }
    }

    /// Takes evidence that somebody else has come upon.
    pub(super) fn take_evidence(&self, call: &v1::Evidence) {
        self.keep_evidence(&call.evidence);
    }

    /// True if the evidence holds and is new here.
    fn keep_evidence(&self, bytes: &[u8]) -> bool {
        let files = &self.0.evidence;
        if files.has(bytes) {
            return false;
        }
        let (node, fault) = match evidence::verify(&self.0.who.roster, bytes) {
            Ok(verdict) => verdict,
            Err(error) => {
                tracing::warn!(%error, "evidence that convicts nobody was dropped");
                return false;
            }
        };
        let Some(index) = self.0.who.roster.index(&node) else {
            return false;
        };
        match files.keep(index.get(), bytes) {
            Ok(Kept::New) => {
                tracing::error!(node = index.get(), %fault, folder = %files.folder().display(), "alert: a node broke the protocol");
                true
            }
            Ok(Kept::Known | Kept::Enough) => false,
            Err(error) => {
                tracing::error!(node = index.get(), %fault, %error, "evidence could not be kept");
                true
            }
        }
    }
}
