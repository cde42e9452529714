//! Who is on a new link: the certificate says which index may try, the identity key of the roster proves it.

use mpc_core::id::{NodeId, PartyIndex};
use prost::bytes::Bytes;
use proto::{
    convert::array,
    link::hello_digest,
    v1::{Challenge, Failure, FailureCode, NodeFrame, coordinator_frame, node_frame},
};
use tonic::{Status, Streaming};

use super::{FRAME_VERSION, Links, frame, link::Outgoing};

/// What a node has proved about itself.
pub(super) struct Proved {
    pub(super) index: u16,
    pub(super) node: NodeId,
    pub(super) boot_id: [u8; 16],
    pub(super) software: String,
}

/// The longest software name that is kept, in bytes.
const SOFTWARE_BYTES: usize = 64;

fn refuse(code: FailureCode, message: &str, hint: &str) -> Status {
    Failure::new(code, message).hint(hint).into()
}

async fn next(stream: &mut Streaming<NodeFrame>) -> Result<node_frame::Body, Status> {
    let gone = || {
        refuse(
            FailureCode::Unavailable,
            "the link ended during the greeting",
            "dial again",
        )
    };
    let frame = stream.message().await?.ok_or_else(gone)?;
    if frame.version != FRAME_VERSION {
        let message = format!(
            "frame version {} is not spoken here, {FRAME_VERSION} is",
            frame.version
        );
        return Err(refuse(
            FailureCode::Version,
            &message,
            "upgrade the older side",
        ));
    }
    proto::limits::node_frame(&frame).map_err(|error| {
        refuse(
            FailureCode::Malformed,
            &error.to_string(),
            "do not send it again",
        )
    })?;
    frame.body.ok_or_else(gone)
}

/// Runs the greeting. The caller puts a deadline around it.
pub(super) async fn greet(
    links: &Links,
    certificate: u16,
    stream: &mut Streaming<NodeFrame>,
    out: &Outgoing,
) -> Result<Proved, Status> {
    let expected = |what| {
        refuse(
            FailureCode::Malformed,
            what,
            "greet with hello, then answer the challenge",
        )
    };
    let node_frame::Body::Hello(hello) = next(stream).await? else {
        return Err(expected("the first frame is not a hello"));
    };
    let stranger = |message| {
        refuse(
            FailureCode::NotAuthorised,
            message,
            "compare cluster.toml on both sides",
        )
    };
    if hello.cluster_id != links.cluster_id {
        return Err(stranger("the hello names another cluster"));
    }
    let index =
        u16::try_from(hello.index).map_err(|_| stranger("the index is not in the roster"))?;
    if index != certificate {
        return Err(stranger("the index is not the one of the certificate"));
    }
    let node = NodeId::from_bytes(array("hello.node_id", &hello.node_id)?);
    let boot_id: [u8; 16] = array("hello.boot_id", &hello.boot_id)?;
    let party = PartyIndex::new(index).map_err(|_| stranger("the index is not in the roster"))?;
    if links.roster.node_id(party) != Some(node) {
        return Err(stranger("the node id is not the roster's for this index"));
    }
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|_| {
        refuse(
            FailureCode::Unavailable,
            "no randomness for a challenge",
            "dial again",
        )
    })?;
    let challenge = coordinator_frame::Body::Challenge(Challenge {
        nonce: Bytes::copy_from_slice(&nonce),
    });
    out.send(Ok(frame(0, challenge)))
        .await
        .map_err(|_| expected("the link ended during the greeting"))?;
    let node_frame::Body::HelloProof(proof) = next(stream).await? else {
        return Err(expected("the second frame is not a proof"));
    };
    let signature = array("hello_proof.signature", &proof.signature)?;
    let digest = hello_digest(&links.cluster_id, node.as_bytes(), &boot_id, &nonce);
    let member = links
        .roster
        .get(&node)
        .ok_or_else(|| stranger("the node is not in the roster"))?;
    if !member.identity.verify(&digest, &signature) {
        return Err(stranger(
            "the proof does not verify under the roster's identity key",
        ));
    }
    let software = hello
        .software
        .chars()
        .filter(char::is_ascii_graphic)
        .take(SOFTWARE_BYTES)
        .collect();
    Ok(Proved {
        index,
        node,
        boot_id,
        software,
    })
}
