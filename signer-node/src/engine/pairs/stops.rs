//! The last place to write down that a pair has failed: a small file beside the store, laid out in full while there was room, so that
//! it can be overwritten where it is when the disk takes no more.
//!
//! It speaks only of failures that the log of pairs could not take. The next start reads it before anything else is done with a peer,
//! and a failure that has reached the log is taken out again.
//!
//! ```text
//! 32 slots of 128 bytes, by the peer's number: peer 32 | u32 generation | u64 at | session 32 | zeros; all zeros if there is nothing
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use mpc_core::id::{MAX_PARTIES, NodeId, PartyIndex};
use mpc_core::roster::Roster;

use super::{Pairs, Poison, poison_in_memory};
use crate::codec::{Malformed, Reader, Writer};

/// A slot lies within one sector, so that it is written whole or not at all.
const SLOT: usize = 128;
const ZEROS: [u8; SLOT] = [0; SLOT];
/// What is known of a failure that only this file could take.
const WHY: &str = "a check failed while the disk was full";

/// The file; nothing where it could not be made.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Stops(PathBuf);

impl Stops {
    /// The file beside a store, laid out if it is not there.
    pub(in crate::engine) fn beside(store: &Path) -> Self {
        let mut path = store.as_os_str().to_owned();
        path.push(".stops");
        let stops = Self(path.into());
        if let Err(error) = stops.lay_out() {
            tracing::error!(%error, path = %stops.0.display(), "alert: there is no room to note a failed check if the disk fills up");
        }
        stops
    }

    fn lay_out(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.0)?;
        let whole = SLOT.saturating_mul(usize::from(MAX_PARTIES));
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(whole);
        if length >= whole {
            return Ok(());
        }
        // Written, not only made longer: a hole would need room later.
        file.write_all(&vec![0; whole.saturating_sub(length)])?;
        file.sync_all()
    }

    /// Notes a failure. The peer's number says where.
    pub(in crate::engine) fn note(&self, number: PartyIndex, poison: &Poison) -> io::Result<()> {
        let mut slot = Writer::new()
            .fixed(poison.peer.as_bytes())
            .u32(poison.generation)
            .u64(poison.at_ms)
            .fixed(&poison.session)
            .finish();
        slot.resize(SLOT, 0);
        self.write(number, &slot)
    }

    /// Takes a failure out that is in the log of pairs.
    pub(in crate::engine) fn clear(&self, number: PartyIndex) {
        if let Err(error) = self.write(number, &ZEROS) {
            tracing::warn!(%error, path = %self.0.display(), "a note of a failed check was not taken out");
        }
    }

    fn write(&self, number: PartyIndex, slot: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(&self.0)?;
        let before = usize::from(number.get()).saturating_sub(1);
        let place = u64::try_from(before.saturating_mul(SLOT)).unwrap_or(u64::MAX);
        file.seek(SeekFrom::Start(place))?;
        file.write_all(slot)?;
        file.sync_data()
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let limit = SLOT.saturating_mul(usize::from(MAX_PARTIES));
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        File::open(&self.0)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Brings back what only this file could take. It stands in memory at once; the changes that make it last are for the first tick.
    pub(in crate::engine) fn bring_back(&self, roster: &Roster, pairs: &mut Pairs) {
        let bytes = match self.read() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                tracing::error!(%error, path = %self.0.display(), "alert: the notes of failed checks cannot be read");
                return;
            }
        };
        for slot in bytes.chunks(SLOT).filter(|slot| **slot != ZEROS) {
            let Ok(poison) = decode(slot) else {
                tracing::error!(path = %self.0.display(), "alert: a note of a failed check does not read");
                continue;
            };
            let Some(number) = roster.index(&poison.peer) else {
                continue;
            };
            if pairs.knows_failure(&poison) {
                self.clear(number);
                continue;
            }
            tracing::error!(peer = %poison.peer, "a check had failed while the disk was full: the pair is poisoned");
            let changes = poison_in_memory(pairs, &poison, Vec::new());
            pairs.unwritten.push(changes);
        }
    }
}

fn decode(slot: &[u8]) -> Result<Poison, Malformed> {
    let mut reader = Reader::new("stop", slot);
    let poison = Poison {
        peer: NodeId::from_bytes(reader.array()?),
        generation: reader.u32()?,
        at_ms: reader.u64()?,
        session: reader.array()?,
        why: WHY.to_owned(),
        stored: false,
    };
    let rest: [u8; SLOT - 32 - 4 - 8 - 32] = reader.array()?;
    reader.finish()?;
    if rest.iter().any(|byte| *byte != 0) {
        return Err(Malformed("stop"));
    }
    Ok(poison)
}

#[cfg(test)]
mod tests {
    use mpc_core::testing::Committee;

    use super::*;

    #[test]
    fn a_failure_that_only_the_file_took_is_there_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("node.db");
        let committee = Committee::new(3, 1);
        let poison = Poison {
            peer: committee.node(2),
            generation: 1,
            why: "a check".to_owned(),
            session: [7; 32],
            at_ms: 8,
            stored: false,
        };
        let start = || {
            let mut pairs = Pairs::default();
            Stops::beside(&store).bring_back(&committee.roster, &mut pairs);
            pairs
        };
        let strikes = |pairs: &Pairs| pairs.poison_of(&poison.peer).map(|(_, strikes)| strikes);
        assert_eq!(strikes(&start()), None);
        let number = committee.roster.index(&poison.peer).unwrap();
        Stops::beside(&store).note(number, &poison).unwrap();
        for _ in 0..2 {
            let pairs = start();
            assert_eq!((strikes(&pairs), pairs.unwritten.len()), (Some(1), 1));
        }
        // In the log as well: it counts once, and is taken out here.
        let mut pairs = Pairs::default();
        pairs.follow(&super::super::Record::Poisoned(poison.clone()));
        Stops::beside(&store).bring_back(&committee.roster, &mut pairs);
        assert_eq!((strikes(&pairs), pairs.unwritten.len()), (Some(1), 0));
        assert_eq!(strikes(&start()), None);
        // Whatever else is in it stops nothing.
        std::fs::write(store.with_extension("db.stops"), [1; 300]).unwrap();
        assert_eq!(strikes(&start()), None);
    }
}
