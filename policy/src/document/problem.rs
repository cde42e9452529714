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

    /// Notes each character that lets the source look like another text to the person who reads it.
    pub(crate) fn add_deceptive(&mut self) {
        for (offset, hidden) in self.source.char_indices().filter(|(_, c)| is_deceptive(*c)) {
            let message = format!(
                "invisible or direction-changing character U+{:04X}",
                u32::from(hidden)
            );
            self.add(offset, "", message);
        }
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

/// Characters that let a text look like another one to the person who is asked to sign it: invisible ones, those that change
/// the direction, and the second set of control characters, which terminals obey and TOML lets stand in comments.
const fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{0080}'..='\u{009f}' | '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}
