//! Which certificates are let in.
use proto::channel::identity::Role;

use super::fixture::{Pki, Server};

#[tokio::test]
async fn every_member_role_is_admitted_and_named() {
    let pki = Pki::new();
    let server = Server::start(&pki).await;
    for role in [Role::Client, Role::Operator, Role::Node(3)] {
        let (files, issued) = pki.member("member", role);
        assert_eq!(server.ask(files).await, Ok(role.to_string()));
        let peer = server.seen.lock().unwrap().pop().unwrap();
        assert_eq!(
            (peer.role, peer.pin, peer.serial),
            (role, issued.leaf.pin, issued.leaf.serial)
        );
    }
}
