//! The one way to hash: tagged, with an encoding of fields that two different inputs cannot share.
//!
//! ```text
//! H(tag; f1, .., fk) = SHA256(tagh || tagh || for each field: u32be(length) || bytes)    tagh = SHA256("TS1/v1/" || tag)
//! a list is u32be(count), then each item as a field
//! ```
//! Because every tag is used with one sequence of fields and lists, the encoding is injective. The sums and pads of the
//! key protocols use two such hashes side by side for 64 bytes (`Hs`, `Hg`), which differ in their first field.
//! SHA-2 is used nowhere else in this crate; the hashes that RFC 9591 and BIP 340 prescribe are in [`ciphersuite`], the
//! expanders of the pair protocols in [`block`].
//! (Protocol notes, section 1.3.)

pub mod block;
pub mod ciphersuite;
mod tag;

use sha2::{Digest, Sha256};

pub use tag::Tag;

use crate::group::{Group, Point, Ristretto255, Scalar};

/// Version prefix of every tag.
const PREFIX: &[u8] = b"TS1/v1/";

/// A hash in the making. `LANES` is 1 for a 32-byte digest, 2 for 64 bytes.
#[derive(Clone, Debug)]
pub struct Transcript<const LANES: usize> {
    lanes: [Sha256; LANES],
}

fn start(tag: Tag) -> Sha256 {
    let tag = Sha256::new()
        .chain_update(PREFIX)
        .chain_update(tag.as_str())
        .finalize();
    Sha256::new().chain_update(tag).chain_update(tag)
}

/// `H(tag; ..)`: 32 bytes.
#[must_use]
pub fn hash(tag: Tag) -> Transcript<1> {
    Transcript {
        lanes: [start(tag)],
    }
}

/// `Hs(tag; ..)` and `Hg(tag; ..)`: 64 bytes, for a scalar or a point.
#[must_use]
pub fn wide(tag: Tag) -> Transcript<2> {
    let base = Transcript {
        lanes: [start(tag)],
    };
    let [zero] = base.clone().u8(0).lanes;
    let [one] = base.u8(1).lanes;
    Transcript { lanes: [zero, one] }
}

/// SHA-256 of the body of a message, the one untagged digest: it is itself a field of a tagged hash.
#[must_use]
pub fn body_digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

impl<const LANES: usize> Transcript<LANES> {
    fn absorb(&mut self, bytes: &[u8]) {
        for lane in &mut self.lanes {
            lane.update(bytes);
        }
    }

    fn absorb_field(&mut self, bytes: &[u8]) {
        // A field of 4 GiB cannot be built from bounded messages; it would hash as its own class.
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.absorb(&len.to_be_bytes());
        self.absorb(bytes);
    }

    /// Adds a byte string.
    #[must_use]
    pub fn field(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.absorb_field(bytes.as_ref());
        self
    }

    /// Adds several byte strings, each its own field. For a number of fields that the tag fixes.
    #[must_use]
    pub fn fields(self, fields: &[&[u8]]) -> Self {
        fields
            .iter()
            .fold(self, |transcript, field| transcript.field(field))
    }

    /// Adds a one-byte integer.
    #[must_use]
    pub fn u8(self, value: u8) -> Self {
        self.field([value])
    }

    /// Adds a two-byte integer.
    #[must_use]
    pub fn u16(self, value: u16) -> Self {
        self.field(value.to_be_bytes())
    }

    /// Adds a four-byte integer.
    #[must_use]
    pub fn u32(self, value: u32) -> Self {
        self.field(value.to_be_bytes())
    }

    /// Adds an eight-byte integer.
    #[must_use]
    pub fn u64(self, value: u64) -> Self {
        self.field(value.to_be_bytes())
    }

    /// Adds a scalar in its fixed encoding.
    #[must_use]
    pub fn scalar_field<G: Group>(self, scalar: &Scalar<G>) -> Self {
        self.field(zeroize::Zeroizing::new(scalar.encode()).as_ref())
    }

    /// Adds a point in its fixed encoding.
    #[must_use]
    pub fn point<G: Group>(self, point: &Point<G>) -> Self {
        self.field(point.encode())
    }

    /// Adds a list: its count, then each item as a field.
    #[must_use]
    pub fn list<T: AsRef<[u8]>>(
        mut self,
        items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    ) -> Self {
        let items = items.into_iter();
        let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
        self.absorb(&count.to_be_bytes());
        for item in items {
            self.absorb_field(item.as_ref());
        }
        self
    }
}

impl Transcript<1> {
    /// The digest.
    #[must_use]
    pub fn digest(self) -> [u8; 32] {
        let [lane] = self.lanes;
        lane.finalize().into()
    }
}

impl Transcript<2> {
    /// The two digests side by side.
    #[must_use]
    pub fn digest(self) -> [u8; 64] {
        let [zero, one] = self.lanes;
        let mut out = [0; 64];
        let (left, right) = out.split_at_mut(32);
        left.copy_from_slice(&zero.finalize());
        right.copy_from_slice(&one.finalize());
        out
    }

    /// A scalar, uniform if the hash is a random function.
    #[must_use]
    pub fn scalar<G: Group>(self) -> Scalar<G> {
        Scalar::from_hash(&zeroize::Zeroizing::new(self.digest()))
    }

    /// A ristretto255 point whose logarithm nobody knows.
    #[must_use]
    pub fn ristretto(self) -> Point<Ristretto255> {
        Point::from_uniform(&self.digest())
    }
}
