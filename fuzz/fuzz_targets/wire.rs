//! Every message of the wire: no panic, what decodes encodes to the same meaning, sizes are held to their kinds, and a failure
//! survives the way through a gRPC status.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use prost::Message;
use proto::convert::{self, protocol};
use proto::v1::{self, Failure, FailureCode};
use proto::{limits, link};
use tonic::Status;

fuzz_target!(|bytes: &[u8]| {
    if let Some(frame) = decode::<v1::NodeFrame>(bytes) {
        let held = limits::node_frame(&frame);
        assert!(frame.body.is_some() || held == Err(limits::FrameError::NoBody));
        assert!(held.is_err() || frame.encoded_len() <= limits::NODE_FRAME + 32);
        if let Some(v1::node_frame::Body::Hello(hello)) = &frame.body {
            fields(&hello.node_id, hello.index);
        }
    }
    if let Some(frame) = decode::<v1::CoordinatorFrame>(bytes) {
        let held = limits::coordinator_frame(&frame);
        assert!(frame.body.is_some() || held == Err(limits::FrameError::NoBody));
        assert!(held.is_err() || frame.encoded_len() <= limits::COORDINATOR_FRAME + 32);
        if let Some(v1::coordinator_frame::Body::StartDkg(call)) = &frame.body {
            scheme(&call.scheme);
            fields(&call.request_id, call.threshold);
        }
    }
    if let Some(failure) = decode::<Failure>(bytes) {
        through_a_status(failure);
    }
    // What came as a status of somebody else.
    let foreign = Status::with_details(tonic::Code::Unknown, "elsewhere", bytes.to_vec().into());
    let failure = Failure::from(&foreign);
    let _ = convert::may_retry(failure.code());

    if let Some(receipt) = link::Receipt::decode(bytes) {
        assert_eq!(receipt.encode(), bytes);
    }

    decode::<v1::ApproveRequest>(bytes);
    decode::<v1::CancelRequest>(bytes);
    decode::<v1::CreateKeyRequest>(bytes);
    decode::<v1::InstallPolicy>(bytes);
    decode::<v1::ListRequestsQuery>(bytes);
    decode::<v1::OrderRequest>(bytes);
    decode::<v1::PolicyQuery>(bytes);
    if let Some(query) = decode::<v1::RequestQuery>(bytes) {
        fields(&query.request_id, 0);
    }
    decode::<v1::SubmitRequest>(bytes);

    decode::<v1::ClusterInfo>(bytes);
    decode::<v1::DkgProgress>(bytes);
    decode::<v1::FreezeState>(bytes);
    decode::<v1::KeyList>(bytes);
    decode::<v1::PolicyInfo>(bytes);
    if let Some(list) = decode::<v1::RequestList>(bytes) {
        for status in &list.requests {
            let known = convert::known::<v1::RequestState>("state", status.state);
            assert_eq!(
                known.is_ok(),
                status.state != 0 && v1::RequestState::try_from(status.state).is_ok()
            );
        }
    }
    decode::<v1::WalletList>(bytes);
});

/// Decodes; what decodes must survive encoding and decoding again.
fn decode<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let again = message.encode_to_vec();
    assert_eq!(again.len(), message.encoded_len());
    assert_eq!(M::decode(&again[..]).as_ref(), Ok(&message));
    Some(message)
}

fn fields(id: &[u8], number: u32) {
    assert_eq!(protocol::node_id("id", id).is_ok(), id.len() == 32);
    assert_eq!(protocol::key_id("id", id).is_ok(), id.len() == 32);
    assert_eq!(
        protocol::request_id("id", id)
            .map(|id| *id.as_bytes())
            .ok()
            .as_ref()
            .map(|id| &id[..]),
        (id.len() == 32).then_some(id)
    );
    assert_eq!(
        convert::small("number", number).ok().map(u32::from),
        (number <= 0xffff).then_some(number)
    );
}

fn scheme(name: &str) {
    match protocol::purpose("scheme", name) {
        Ok(purpose) => assert_eq!(purpose.as_str(), name),
        Err(failure) => assert_eq!(failure.code(), FailureCode::Malformed),
    }
}

fn through_a_status(failure: Failure) {
    let code = failure.code();
    let status = Status::from(failure.clone());
    assert!(status.details().len() <= convert::MAX_DETAILS);
    assert_eq!(status.code(), convert::grpc_code(code));
    let back = Failure::from(&status);
    if code != FailureCode::Unspecified {
        assert_eq!(back.code(), code);
        assert!(
            back.message.starts_with(&failure.message) || failure.message.len() > convert::MAX_TEXT
        );
        assert!(failure.reasons.len() >= back.reasons.len());
    }
}
