//! Reads a TOML text field by field, remembering lines, collecting every problem and finding the keys nobody asked for.

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};

use toml::de::{DeTable, DeValue};

use super::Problem;

/// A TOML document of one level of tables.
pub(crate) struct Reader<'t> {
    lines: Lines,
    fields: BTreeMap<(String, String), (DeValue<'t>, usize)>,
    tables: BTreeMap<String, usize>,
    asked: BTreeSet<(String, String)>,
    problems: Vec<Problem>,
}

/// Byte offsets at which lines start.
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
    pub(crate) fn new(text: &'t str) -> Self {
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
                        reader.fields.insert((name.clone(), key), (value.into_inner(), line));
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
    pub(crate) fn finish(mut self) -> Vec<Problem> {
        let known: BTreeSet<&str> = self.asked.iter().map(|(table, _)| table.as_str()).collect();
        for ((table, key), (_, line)) in &self.fields {
            if known.contains(table.as_str()) && !self.asked.contains(&(table.clone(), key.clone())) {
                let message = format!("unknown key {}", full_name(table, key));
                self.problems.push(Problem { line: *line, message });
            }
        }
        for (table, line) in &self.tables {
            if !known.contains(table.as_str()) {
                let message = format!("unknown table [{table}]");
                self.problems.push(Problem { line: *line, message });
            }
        }
        self.problems.sort_by_key(|problem| problem.line);
        self.problems
    }

    /// Adds a problem at the line of a field, or of its table.
    pub(crate) fn complain(&mut self, table: &str, key: &str, message: impl Into<String>) {
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
    pub(crate) fn text(&mut self, table: &str, key: &str, default: Option<&str>) -> Option<String> {
        match (self.field(table, key, default.is_none()), default) {
            (Some(DeValue::String(text)), _) if !text.is_empty() => Some(text.into_owned()),
            (Some(_), _) => {
                self.complain(table, key, format!("{} must be a non-empty string", full_name(table, key)));
                None
            }
            (None, default) => default.map(str::to_owned),
        }
    }

    /// One of a few words.
    pub(crate) fn choice(&mut self, table: &str, key: &str, words: &[&str]) -> Option<String> {
        let text = self.text(table, key, None)?;
        if words.contains(&text.as_str()) {
            return Some(text);
        }
        let message = format!("{} must be one of: {}", full_name(table, key), words.join(", "));
        self.complain(table, key, message);
        None
    }

    /// A whole number within bounds.
    pub(crate) fn integer(&mut self, table: &str, key: &str, default: Option<u64>, min: u64, max: u64) -> Option<u64> {
        let Some(value) = self.field(table, key, default.is_none()) else {
            return default;
        };
        let number = match &value {
            DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            _ => None,
        };
        let number = number.filter(|number| (min..=max).contains(number));
        if number.is_none() {
            let name = full_name(table, key);
            self.complain(table, key, format!("{name} must be a whole number from {min} to {max}"));
        }
        number
    }

    /// A duration with its unit (`ms`, `s`, `m`, `h`), in milliseconds.
    pub(crate) fn duration(&mut self, table: &str, key: &str, default: u64, min: u64, max: u64) -> Option<u64> {
        const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
        let value = self.quantity(table, key, default, &UNITS, "a duration with a unit, such as \"500ms\", \"5s\", \"10m\" or \"1h\"")?;
        if (min..=max).contains(&value) {
            return Some(value);
        }
        let name = full_name(table, key);
        self.complain(table, key, format!("{name} must be from {min}ms to {max}ms"));
        None
    }

    /// A size with its unit (`B`, `KiB`, `MiB`, `GiB`), in bytes.
    pub(crate) fn size(&mut self, table: &str, key: &str, default: u64, max: u64) -> Option<u64> {
        const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];
        let value = self.quantity(table, key, default, &UNITS, "a size with a unit, such as \"512KiB\", \"64MiB\" or \"1GiB\"")?;
        if value <= max {
            return Some(value);
        }
        self.complain(table, key, format!("{} must be at most {max}B", full_name(table, key)));
        None
    }

    fn quantity(&mut self, table: &str, key: &str, default: u64, units: &[(&str, u64)], form: &str) -> Option<u64> {
        let Some(value) = self.field(table, key, false) else {
            return Some(default);
        };
        let parsed = match &value {
            DeValue::String(text) => units.iter().find_map(|(unit, factor)| {
                let digits = text.strip_suffix(unit)?;
                let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                digits.parse::<u64>().ok().filter(|_| plain)?.checked_mul(*factor)
            }),
            _ => None,
        };
        if parsed.is_none() {
            self.complain(table, key, format!("{} must be {form}", full_name(table, key)));
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
