//! The relay between nodes: it passes nested sessions on, unopened, and says so when it cannot.

use prost::bytes::Bytes;
use proto::v1::{Tunnel, coordinator_frame};

use super::{Links, link::Link};

/// Passes a piece of a nested session on to the node it is for.
///
/// `from` must be the node on whose link it came. A piece that cannot be passed on is answered by a reset in the name
/// of the other node, so that the sender starts another session instead of waiting.
pub(super) fn pass_on(links: &Links, sender: &Link, piece: Tunnel) {
    if piece.from.as_ref() != sender.node().as_bytes() {
        tracing::warn!(
            node = sender.index(),
            "dropped a tunnel piece in another node's name"
        );
        return;
    }
    let receiver = <[u8; 32]>::try_from(piece.to.as_ref())
        .ok()
        .and_then(|to| links.by_node(&mpc_core::id::NodeId::from_bytes(to)))
        .filter(|receiver| receiver.index() != sender.index());
    let reset = Tunnel {
        from: piece.to.clone(),
        to: piece.from.clone(),
        connection: piece.connection.clone(),
        seq: 0,
        data: Bytes::new(),
        reset: true,
    };
    let was_reset = piece.reset;
    let passed = receiver.is_some_and(|receiver| {
        receiver
            .tell(coordinator_frame::Body::Tunnel(piece))
            .is_ok()
    });
    if !passed && !was_reset {
        // A sender whose own queue is full loses the reset too, and notices by its deadline.
        let _full = sender.tell(coordinator_frame::Body::Tunnel(reset));
    }
}
