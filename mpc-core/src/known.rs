//! What the reader of an encoding has read before.
//!
//! To decode a public record is to check its points, and most of the cost of a refresh would be to check the same ones again: those of the
//! sharing that it starts from and the keys of its members, in the request, in what is prepared and in the certificate. An encoding is
//! unique, so bytes that are those of a record at hand are that record, and nothing has to be checked of them.

use crate::identity::IdentityPublic;
use crate::keys::PublicKeyPackage;
use crate::roster::Roster;

/// Public records at hand, which were checked when they were made or decoded. Whatever else is read is checked as always.
#[derive(Clone, Debug, Default)]
pub struct Known<'a> {
    packages: Vec<(Vec<u8>, &'a PublicKeyPackage)>,
    rosters: Vec<&'a Roster>,
}

impl<'a> Known<'a> {
    /// Nothing is known.
    pub const NOTHING: Self = Self {
        packages: Vec::new(),
        rosters: Vec::new(),
    };

    /// The members of this roster are known, with their keys.
    #[must_use]
    pub fn roster(mut self, roster: &'a Roster) -> Self {
        self.rosters.push(roster);
        self
    }

    /// This record of a sharing is known.
    #[must_use]
    pub fn package(mut self, package: &'a PublicKeyPackage) -> Self {
        self.packages.push((package.encode(), package));
        self
    }

    /// The record with this encoding.
    pub(crate) fn find_package(&self, bytes: &[u8]) -> Option<&'a PublicKeyPackage> {
        let found = self.packages.iter().find(|(known, _)| known == bytes);
        found.map(|(_, package)| *package)
    }

    /// The identity key with these bytes.
    pub(crate) fn find_identity(&self, bytes: &[u8; 32]) -> Option<IdentityPublic> {
        let mut members = self.rosters.iter().flat_map(|roster| roster.members());
        let found = members.find(|member| member.identity.as_bytes() == bytes);
        found.map(|member| member.identity)
    }

    /// Whether this is the exchange key of a member.
    pub(crate) fn has_exchange(&self, bytes: &[u8; 32]) -> bool {
        let mut members = self.rosters.iter().flat_map(|roster| roster.members());
        members.any(|member| member.exchange == *bytes)
    }
}
