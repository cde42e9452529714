//! What is asked of a certificate beyond what the web asks: cluster, role and pin.
use std::sync::Arc;

use policy::id::ClusterId;
use rustls::{
    DigitallySignedStruct, DistinguishedName, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

use crate::channel::identity::{IdentityError, Leaf, RoleKind, SpkiPin};

fn refusal(error: IdentityError) -> rustls::Error {
    rustls::Error::InvalidCertificate(rustls::CertificateError::Other(rustls::OtherError(
        Arc::new(error),
    )))
}

/// The identity error inside a TLS error, if that is what ended the handshake.
#[must_use]
pub fn identity_error(error: &rustls::Error) -> Option<&IdentityError> {
    match error {
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) => {
            other.0.downcast_ref()
        }
        _ => None,
    }
}

/// Authority, validity, revocation; then cluster and role.
#[derive(Debug)]
pub(super) struct MemberVerifier {
    pub(super) inner: Arc<dyn ClientCertVerifier>,
    pub(super) cluster: ClusterId,
    pub(super) roles: Vec<RoleKind>,
}

impl ClientCertVerifier for MemberVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.inner.verify_client_cert(leaf, intermediates, now)?;
        let found = Leaf::read(leaf, &self.cluster).map_err(refusal)?.role;
        if self.roles.contains(&found.kind()) {
            Ok(verified)
        } else {
            Err(refusal(IdentityError::Role { found }))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Authority, validity, revocation, server name; then cluster, role and pin.
#[derive(Debug)]
pub(super) struct CoordinatorVerifier {
    pub(super) inner: Arc<WebPkiServerVerifier>,
    pub(super) cluster: ClusterId,
    pub(super) pins: Vec<SpkiPin>,
}

impl ServerCertVerifier for CoordinatorVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self
            .inner
            .verify_server_cert(leaf, intermediates, name, ocsp, now)?;
        let found = Leaf::read(leaf, &self.cluster).map_err(refusal)?;
        if found.role.kind() != RoleKind::Coordinator {
            return Err(refusal(IdentityError::Role { found: found.role }));
        }
        if self.pins.contains(&found.pin) {
            Ok(verified)
        } else {
            Err(refusal(IdentityError::Unpinned { found: found.pin }))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
