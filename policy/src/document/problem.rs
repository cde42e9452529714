//! What is wrong with a document, and where.

use core::fmt;

/// One fault of a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// The key, such as `rule[2].limits[0].max`; empty for the document as a whole.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// A document that is refused as a whole, with every fault that was found, in the order of lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct DocumentError {
    /// The faults; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy document refused")?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

/// The most faults that are noted. Each costs a walk over the source to find its line, so that without a bound a hostile
/// text could buy hours of work with a few kilobytes.
pub const MAX_PROBLEMS: usize = 100;

/// Collects faults while a document is read, up to [`MAX_PROBLEMS`].
#[derive(Debug)]
pub(crate) struct Problems<'s> {
    source: &'s str,
    list: Vec<Problem>,
}

impl<'s> Problems<'s> {
    pub(crate) const fn new(source: &'s str) -> Self {
        Self {
            source,
            list: Vec::new(),
        }
    }

    /// Notes a fault at a byte offset of the source.
    pub(crate) fn add(&mut self, offset: usize, path: &str, message: impl Into<String>) {
        if self.list.len() >= MAX_PROBLEMS {
            return;
        }
        let before = self.source.get(..offset).unwrap_or(self.source);
        let line = before.matches('\n').count().saturating_add(1);
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or("")
            .chars()
            .count()
            .saturating_add(1);
        self.list.push(Problem {
            line,
            column,
            path: path.to_owned(),
            message: message.into(),
        });
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The error with everything that was noted.
    pub(crate) fn into_error(mut self) -> DocumentError {
        self.list.sort();
        self.list.dedup();
        DocumentError {
            problems: self.list,
        }
    }
}
