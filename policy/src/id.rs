//! Short names of the things a policy speaks of.
//!
//! A name is 1 to 64 characters of `a-z`, `0-9`, `.`, `_`, `:`, `-`. One case, no white space, no Unicode: two names that
//! look alike are the same bytes.

use core::fmt;
use core::str::FromStr;

/// The longest name, in bytes.
pub const MAX_LENGTH: usize = 64;

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// A character outside the allowed set.
    #[error("name has a character outside a-z 0-9 . _ : - at position {position}")]
    BadCharacter {
        /// One-based position, counted in characters.
        position: usize,
    },
    /// The text has no characters.
    #[error("name is empty")]
    Empty,
    /// The text is longer than [`MAX_LENGTH`].
    #[error("name has {length} bytes; at most 64 are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
}

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > MAX_LENGTH {
        return Err(IdError::TooLong { length: text.len() });
    }
    let allowed = |c: char| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | ':' | '-')
    };
    match text.chars().position(|c| !allowed(c)) {
        Some(offset) => Err(IdError::BadCharacter {
            position: offset.saturating_add(1),
        }),
        None => Ok(()),
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Reads a name.
            ///
            /// # Errors
            /// Empty, longer than 64 bytes, or a character outside `[a-z0-9._:-]`.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check(text).map(|()| Self(text.to_owned()))
            }

            /// The name as text, 1 to 64 bytes.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )*};
}

names! {
    /// The cluster: its nodes, coordinator and people.
    ClusterId;
    /// One credential of a person, unique within that person.
    CredentialId;
    /// A group of people or of machines.
    GroupId;
    /// A service with a key of its own: it may start requests; it counts as an approver only where a rule names a group
    /// of machines.
    MachineId;
    /// A human being; the unit that approval quorums count.
    PersonId;
    /// A chain of policy documents.
    PolicyId;
    /// A person or a machine: who started a request. People and machines share one name space.
    PrincipalId;
    /// One rule of a policy.
    RuleId;
    /// A wallet: one key on one chain.
    WalletId;
}

impl From<PersonId> for PrincipalId {
    fn from(id: PersonId) -> Self {
        Self(id.0)
    }
}

impl From<MachineId> for PrincipalId {
    fn from(id: MachineId) -> Self {
        Self(id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{IdError, PersonId};

    #[test]
    fn names_are_short_plain_and_lower_case() {
        assert_eq!(
            PersonId::parse("svc:payout-1.eu_west").map(|id| id.to_string()),
            Ok("svc:payout-1.eu_west".to_owned())
        );
        assert!(PersonId::parse(&"a".repeat(64)).is_ok());
        assert_eq!(
            PersonId::parse(&"a".repeat(65)),
            Err(IdError::TooLong { length: 65 })
        );
        assert_eq!(PersonId::parse(""), Err(IdError::Empty));
        for (text, position) in [
            ("Bob", 1),
            ("bob ", 4),
            ("b\u{043e}b", 2),
            ("bob\n", 4),
            ("a/b", 2),
            ("a\"", 2),
            ("\u{202e}bob", 1),
        ] {
            assert_eq!(
                PersonId::parse(text),
                Err(IdError::BadCharacter { position }),
                "{text:?}"
            );
        }
    }
}
