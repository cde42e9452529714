//! Settings files of the services: TOML read field by field, with lines, every problem collected, unknown keys refused.
//!
//! One reader serves the node and the coordinator, so that a mistake is reported in the same words by both.

use core::{fmt, ops::Range};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

/// The largest settings file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// One thing wrong in a settings file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Line in the file, from 1; 0 when the problem belongs to the file as a whole.
    pub line: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem of the file as a whole.
    #[must_use]
    pub fn of_file(message: impl Into<String>) -> Self {
        Self {
            line: 0,
            message: message.into(),
        }
    }
}

/// Everything wrong with one settings file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// All problems, in the order of the file.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// Sorts the problems by line.
    #[must_use]
    pub fn new(path: &Path, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.line);
        Self {
            path: path.to_path_buf(),
            problems,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.problems.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}", self.path.display())?;
            if problem.line > 0 {
                write!(f, ":{}", problem.line)?;
            }
            write!(f, ": {}", problem.message)?;
        }
        Ok(())
    }
}

impl core::error::Error for ConfigError {}

/// Reads a settings file of at most [`MAX_FILE_BYTES`].
///
/// # Errors
/// The problem in words: absent, unreadable, too large or not UTF-8.
pub fn read_text(path: &Path) -> Result<String, Problem> {
    let metadata = std::fs::metadata(path).map_err(|error| Problem::of_file(error.to_string()))?;
    if metadata.len() > MAX_FILE_BYTES {
        return Err(Problem::of_file(format!(
            "larger than {MAX_FILE_BYTES} bytes"
        )));
    }
    std::fs::read_to_string(path).map_err(|error| Problem::of_file(error.to_string()))
}

/// Refuses a secret file that others than its owner can read or write.
///
/// # Errors
/// A sentence that names the file, its mode and the remedy.
pub fn check_secret_file(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata =
        std::fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if !metadata.is_file() {
        return Err(format!("{} is not a regular file", path.display()));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o177 != 0 {
        return Err(format!(
            "{path} has mode {mode:04o}; a secret must be readable by its owner only: chmod 600 {path}",
            path = path.display()
        ));
    }
    Ok(())
}

/// A TOML document of one level of tables.
#[derive(Debug)]
pub struct Reader<'t> {
    lines: Lines,
    fields: BTreeMap<(String, String), (DeValue<'t>, usize)>,
    tables: BTreeMap<String, usize>,
    asked: BTreeSet<(String, String)>,
    problems: Vec<Problem>,
}

/// Byte offsets at which lines start.
#[derive(Debug)]
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        let mut starts = vec![0];
        starts.extend(text.match_indices('\n').map(|(at, _)| at.saturating_add(1)));
        Self(starts)
    }

    fn of(&self, span: &Range<usize>) -> usize {
        self.0.partition_point(|start| *start <= span.start)
    }
}

impl<'t> Reader<'t> {
    /// Parses the text; what cannot be parsed becomes a problem.
    #[must_use]
    pub fn new(text: &'t str) -> Self {
        let (document, errors) = DeTable::parse_recoverable(text);
        let mut reader = Self {
            lines: Lines::new(text),
            fields: BTreeMap::new(),
            tables: BTreeMap::new(),
            asked: BTreeSet::new(),
            problems: Vec::new(),
        };
        for error in errors {
            let line = error.span().map_or(0, |span| reader.lines.of(&span));
            reader.problems.push(Problem {
                line,
                message: error.message().to_owned(),
            });
        }
        for (key, value) in document.into_inner() {
            let line = reader.lines.of(&key.span());
            let name = key.into_inner().into_owned();
            match value.into_inner() {
                DeValue::Table(table) => {
                    reader.tables.insert(name.clone(), line);
                    for (key, value) in table {
                        let line = reader.lines.of(&key.span());
                        let key = key.into_inner().into_owned();
                        reader
                            .fields
                            .insert((name.clone(), key), (value.into_inner(), line));
                    }
                }
                value => {
                    reader.fields.insert((String::new(), name), (value, line));
                }
            }
        }
        reader
    }

    /// Every problem, the keys that no one asked for included.
    #[must_use]
    pub fn finish(mut self) -> Vec<Problem> {
        let known: BTreeSet<&str> = self.asked.iter().map(|(table, _)| table.as_str()).collect();
        for ((table, key), (_, line)) in &self.fields {
            if known.contains(table.as_str()) && !self.asked.contains(&(table.clone(), key.clone()))
            {
                let message = format!("unknown key {}", full_name(table, key));
                self.problems.push(Problem {
                    line: *line,
                    message,
                });
            }
        }
        for (table, line) in &self.tables {
            if !known.contains(table.as_str()) {
                let message = format!("unknown table [{table}]");
                self.problems.push(Problem {
                    line: *line,
                    message,
                });
            }
        }
        self.problems.sort_by_key(|problem| problem.line);
        self.problems
    }

    /// Adds a problem at the line of a field, or of its table.
    pub fn complain(&mut self, table: &str, key: &str, message: impl Into<String>) {
        let line = self
            .fields
            .get(&(table.to_owned(), key.to_owned()))
            .map(|(_, line)| *line)
            .or_else(|| self.tables.get(table).copied())
            .unwrap_or(0);
        self.problems.push(Problem {
            line,
            message: message.into(),
        });
    }

    fn field(&mut self, table: &str, key: &str, required: bool) -> Option<DeValue<'t>> {
        let name = (table.to_owned(), key.to_owned());
        let value = self.fields.get(&name).map(|(value, _)| value.clone());
        self.asked.insert(name);
        if value.is_none() && required {
            self.complain(table, key, format!("{} is missing", full_name(table, key)));
        }
        value
    }

    /// A string that is not empty.
    pub fn text(&mut self, table: &str, key: &str, default: Option<&str>) -> Option<String> {
        match (self.field(table, key, default.is_none()), default) {
            (Some(DeValue::String(text)), default) if !text.is_empty() || default == Some("") => {
                Some(text.into_owned())
            }
            (Some(_), _) => {
                self.complain(
                    table,
                    key,
                    format!("{} must be a non-empty string", full_name(table, key)),
                );
                None
            }
            (None, default) => default.map(str::to_owned),
        }
    }

    /// One of a few words, required.
    pub fn choice(&mut self, table: &str, key: &str, words: &[&str]) -> Option<String> {
        let text = self.text(table, key, None)?;
        if words.contains(&text.as_str()) {
            return Some(text);
        }
        let message = format!(
            "{} must be one of: {}",
            full_name(table, key),
            words.join(", ")
        );
        self.complain(table, key, message);
        None
    }

    /// A whole number within bounds.
    pub fn integer(
        &mut self,
        table: &str,
        key: &str,
        default: Option<u64>,
        min: u64,
        max: u64,
    ) -> Option<u64> {
        let Some(value) = self.field(table, key, default.is_none()) else {
            return default;
        };
        let number = match &value {
            DeValue::Integer(integer) => {
                u64::from_str_radix(integer.as_str(), integer.radix()).ok()
            }
            _ => None,
        };
        let number = number.filter(|number| (min..=max).contains(number));
        if number.is_none() {
            let name = full_name(table, key);
            self.complain(
                table,
                key,
                format!("{name} must be a whole number from {min} to {max}"),
            );
        }
        number
    }

    /// A duration with its unit (`ms`, `s`, `m`, `h`), in milliseconds.
    pub fn duration(
        &mut self,
        table: &str,
        key: &str,
        default: u64,
        min: u64,
        max: u64,
    ) -> Option<u64> {
        const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
        let value = self.quantity(
            table,
            key,
            default,
            &UNITS,
            "a duration with a unit, such as \"500ms\", \"5s\", \"10m\" or \"1h\"",
        )?;
        if (min..=max).contains(&value) {
            return Some(value);
        }
        let name = full_name(table, key);
        self.complain(
            table,
            key,
            format!("{name} must be from {min}ms to {max}ms"),
        );
        None
    }

    /// A size with its unit (`B`, `KiB`, `MiB`, `GiB`), in bytes.
    pub fn size(&mut self, table: &str, key: &str, default: u64, max: u64) -> Option<u64> {
        const UNITS: [(&str, u64); 4] = [
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("B", 1),
        ];
        let value = self.quantity(
            table,
            key,
            default,
            &UNITS,
            "a size with a unit, such as \"512KiB\", \"64MiB\" or \"1GiB\"",
        )?;
        if value <= max {
            return Some(value);
        }
        self.complain(
            table,
            key,
            format!("{} must be at most {max}B", full_name(table, key)),
        );
        None
    }

    fn quantity(
        &mut self,
        table: &str,
        key: &str,
        default: u64,
        units: &[(&str, u64)],
        form: &str,
    ) -> Option<u64> {
        let Some(value) = self.field(table, key, false) else {
            return Some(default);
        };
        let parsed = match &value {
            DeValue::String(text) => units.iter().find_map(|(unit, factor)| {
                let digits = text.strip_suffix(unit)?;
                let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                digits
                    .parse::<u64>()
                    .ok()
                    .filter(|_| plain)?
                    .checked_mul(*factor)
            }),
            _ => None,
        };
        if parsed.is_none() {
            self.complain(
                table,
                key,
                format!("{} must be {form}", full_name(table, key)),
            );
        }
        parsed
    }
}

fn full_name(table: &str, key: &str) -> String {
    if table.is_empty() {
        key.to_owned()
    } else {
        format!("{table}.{key}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_reported_with_its_line() {
        let text = "a = 1\nb = \"x\"\nwrong = 3\n[t]\nd = \"10\"\n[other]\nx = 1\n";
        let mut reader = Reader::new(text);
        assert_eq!(reader.integer("", "a", None, 1, 5), Some(1));
        assert_eq!(reader.integer("", "b", None, 1, 5), None);
        assert_eq!(reader.duration("t", "d", 5, 1, 100), None);
        assert_eq!(reader.text("t", "missing", None), None);
        let lines: Vec<usize> = reader.finish().iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6]);
    }

    #[test]
    fn units_are_required_and_overflow_is_refused() {
        let mut reader =
            Reader::new("a = \"2m\"\nb = \"99999999999999999999h\"\nc = \"3KiB\"\nd = \"-1s\"\n");
        assert_eq!(reader.duration("", "a", 0, 0, u64::MAX), Some(120_000));
        assert_eq!(reader.duration("", "b", 0, 0, u64::MAX), None);
        assert_eq!(reader.size("", "c", 0, u64::MAX), Some(3072));
        assert_eq!(reader.duration("", "d", 0, 0, u64::MAX), None);
        assert_eq!(reader.finish().len(), 2);
    }
}
