//! Takes changed certificate, key and revocation list files into use while connections go on.
//!
//! Files are compared by content, not by modification time: a copy that keeps its time stamp is noticed too. A part whose
//! new files are bad keeps its previous configuration, is reported once, and is tried again at every poll, so that a
//! key file that arrives a moment after its certificate, or a list dated a second ahead, needs no second write.
use std::sync::Arc;

use policy::id::ClusterId;
use rustls::pki_types::UnixTime;

use super::{
    config::{ConfigError, Contents, Credential, Files, Trust},
    event::{Event, Events, Part},
    identity::{IdentityError, RoleKind},
};

type Digest = [u8; 32];

/// The files in use, and what was last said about newer ones.
#[derive(Debug)]
pub struct Reloader {
    files: Files,
    cluster: ClusterId,
    trust: Arc<Trust>,
    credential: Arc<Credential>,
    trust_digest: Digest,
    credential_digest: Digest,
    unreadable: Option<ConfigError>,
    bad_trust: Option<(Digest, ConfigError)>,
    bad_credential: Option<(Digest, ConfigError)>,
    expiry_reported: bool,
}

/// Which parts a poll replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Roots or revocation lists are new.
    pub trust: bool,
    /// Own certificate is new.
    pub credential: bool,
    /// The revocation list in use expired since the last poll.
    pub expired: bool,
}

impl Changed {
    /// The parts that were replaced.
    pub fn parts(self) -> impl Iterator<Item = Part> {
        let trust = self.trust.then_some(Part::Trust);
        trust
            .into_iter()
            .chain(self.credential.then_some(Part::Credential))
    }

    /// Whether anything is new.
    #[must_use]
    pub const fn any(self) -> bool {
        self.trust || self.credential || self.expired
    }
}

impl Reloader {
    /// Reads the files for the first time; everything must be in order, and the own certificate for one of `own`.
    /// Blocking.
    ///
    /// # Errors
    /// The first problem found.
    pub fn load(
        files: Files,
        cluster: ClusterId,
        own: &[RoleKind],
        now: UnixTime,
    ) -> Result<Self, ConfigError> {
        let contents = Contents::read(&files)?;
        let trust = Trust::parse(&contents.ca, &contents.crl, now)?;
        let credential = Credential::parse(&contents.cert, &contents.key, &cluster, now)?;
        credential.plays(own)?;
        credential.accepted_by(&trust, &cluster, now)?;
        Ok(Self {
            trust_digest: contents.trust_digest(),
            credential_digest: contents.credential_digest(),
            files,
            cluster,
            trust: Arc::new(trust),
            credential: Arc::new(credential),
            unreadable: None,
            bad_trust: None,
            bad_credential: None,
            expiry_reported: false,
        })
    }

    /// The roots and revocation lists in use.
    #[must_use]
    pub const fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }

    /// The certificate and key in use.
    #[must_use]
    pub const fn credential(&self) -> &Arc<Credential> {
        &self.credential
    }

    /// Reads the files again. Blocking. Says what is bad by itself; what is new the caller says, once it is in use.
    pub(crate) fn poll(&mut self, now: UnixTime, events: &Events) -> Changed {
        let mut changed = Changed::default();
        match Contents::read(&self.files) {
            Ok(contents) => {
                self.unreadable = None;
                changed.trust = self.poll_trust(&contents, now, events);
                changed.credential = self.poll_credential(&contents, now, events);
            }
            Err(error) => {
                if self.unreadable.as_ref() != Some(&error) {
                    events.emit(Event::FilesKept {
                        part: None,
                        error: error.clone(),
                    });
                    self.unreadable = Some(error);
                }
            }
        }
        let next_update = self.trust.next_update();
        let expired = now.as_secs() >= next_update;
        if expired && !self.expiry_reported {
            events.emit(Event::TrustExpired { next_update });
            changed.expired = true;
        }
        self.expiry_reported = expired;
        changed
    }

    fn poll_trust(&mut self, contents: &Contents, now: UnixTime, events: &Events) -> bool {
        let digest = contents.trust_digest();
        if digest == self.trust_digest {
            self.bad_trust = None;
            return false;
        }
        let next = Trust::parse(&contents.ca, &contents.crl, now)
            .and_then(|next| self.trust.allows(&next).map(|()| next));
        match next {
            Ok(next) => {
                self.trust = Arc::new(next);
                self.trust_digest = digest;
                self.bad_trust = None;
                true
            }
            Err(error) => {
                report(&mut self.bad_trust, digest, error, Part::Trust, events);
                false
            }
        }
    }

    fn poll_credential(&mut self, contents: &Contents, now: UnixTime, events: &Events) -> bool {
        let digest = contents.credential_digest();
        if digest == self.credential_digest {
            self.bad_credential = None;
            return false;
        }
        let next =
            Credential::parse(&contents.cert, &contents.key, &self.cluster, now).and_then(|next| {
                if next.leaf().role != self.credential.leaf().role {
                    let found = next.leaf().role;
                    return Err(IdentityError::Role { found }.into());
                }
                next.accepted_by(&self.trust, &self.cluster, now)
                    .map(|()| next)
            });
        match next {
            Ok(next) => {
                self.credential = Arc::new(next);
                self.credential_digest = digest;
                self.bad_credential = None;
                true
            }
            Err(error) => {
                report(
                    &mut self.bad_credential,
                    digest,
                    error,
                    Part::Credential,
                    events,
                );
                false
            }
        }
    }
}

/// Reports a problem unless it is the one that was reported last.
fn report(
    last: &mut Option<(Digest, ConfigError)>,
    digest: Digest,
    error: ConfigError,
    part: Part,
    events: &Events,
) {
    let problem = (digest, error);
    if last.as_ref() != Some(&problem) {
        events.emit(Event::FilesKept {
            part: Some(part),
            error: problem.1.clone(),
        });
        *last = Some(problem);
    }
}
