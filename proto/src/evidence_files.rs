//! Evidence as files: one for each fault, in one folder, ready for whoever is to judge it.
//!
//! Evidence is public and proves itself, so the folder needs no protection but against filling up: there is room for
//! [`PER_NODE`] files against each node.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

/// The most files against one node.
pub const PER_NODE: usize = 16;

/// What became of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is in a file now, which survives a crash.
    New,
    /// It was there before.
    Known,
    /// There is enough against that node.
    Enough,
}

/// A folder of evidence.
#[derive(Clone, Debug)]
pub struct EvidenceFiles {
    folder: PathBuf,
}

impl EvidenceFiles {
    /// The folder `evidence` beside a store. It is made with the first file.
    #[must_use]
    pub fn beside(store: &Path) -> Self {
        let folder = store
            .parent()
            .unwrap_or_else(|| Path::new(""))
            .join("evidence");
        Self { folder }
    }

    /// Where the files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether these very bytes are there.
    #[must_use]
    pub fn has(&self, bytes: &[u8]) -> bool {
        let end = format!("-{}.evidence", digest(bytes));
        self.names().iter().any(|name| name.ends_with(&end))
    }

    /// Keeps evidence against a node. The caller has verified it.
    ///
    /// # Errors
    /// What the file system says; nothing is kept then.
    pub fn keep(&self, node: u16, bytes: &[u8]) -> io::Result<Kept> {
        if self.has(bytes) {
            return Ok(Kept::Known);
        }
        let start = format!("node-{node}-");
        let held = self.names();
        if held.iter().filter(|name| name.starts_with(&start)).count() >= PER_NODE {
            return Ok(Kept::Enough);
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)?;
        let name = format!("{start}{}.evidence", digest(bytes));
        let draft = self.folder.join(format!("{name}.part"));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, self.folder.join(name))?;
        fs::File::open(&self.folder)?.sync_all()?;
        Ok(Kept::New)
    }

    fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let name = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
        let names = entries.filter_map(name);
        names.filter(|name| name.ends_with(".evidence")).collect()
    }
}

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex = |byte: &u8| format!("{byte:02x}");
    hash.iter().take(16).map(hex).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_for_each_fault_and_an_end_to_it() {
        let home = tempfile::tempdir().unwrap();
        let files = EvidenceFiles::beside(&home.path().join("node.db"));
        assert!(!files.has(b"one"));
        assert_eq!(files.keep(3, b"one").unwrap(), Kept::New);
        assert_eq!(files.keep(3, b"one").unwrap(), Kept::Known);
        assert!(files.has(b"one") && !files.has(b"on"));
        let read = |name: &String| fs::read(files.folder().join(name)).unwrap();
        assert_eq!(files.names().iter().map(read).collect::<Vec<_>>(), [b"one"]);
        for number in 0..PER_NODE + 3 {
            let kept = files.keep(3, &[9, u8::try_from(number).unwrap()]).unwrap();
            let expected = if number + 1 < PER_NODE {
                Kept::New
            } else {
                Kept::Enough
            };
            assert_eq!(kept, expected, "file {number}");
        }
        // The others are heard all the same, and 3 is not 30.
        assert_eq!(files.keep(30, b"two").unwrap(), Kept::New);
        assert_eq!(files.names().len(), PER_NODE + 1);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("evidence"), b"a file").unwrap();
        let files = EvidenceFiles::beside(&home.path().join("node.db"));
        assert!(files.keep(1, b"one").is_err());
    }
}
