//! A strict reader over parsed TOML: every key is asked for by name, what was not asked for is a fault, and reading goes on
//! after a fault so that all of them are reported at once.

use core::fmt::Display;
use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problems;

/// The most items that one list of a document may have.
const MAX_ITEMS: usize = 4096;

/// One value with its path.
#[derive(Clone, Debug)]
pub(crate) struct Value<'t, 'i> {
    value: &'t DeValue<'i>,
    /// Byte offset in the source.
    pub(crate) offset: usize,
    /// The key that leads to it.
    pub(crate) path: String,
}

/// One table whose keys are taken one by one.
#[derive(Debug)]
pub(crate) struct Table<'t, 'i> {
    entries: &'t DeTable<'i>,
    known: BTreeSet<&'static str>,
    /// Byte offset in the source.
    pub(crate) offset: usize,
    /// The key that leads to it; empty for the document.
    pub(crate) path: String,
}

impl<'t, 'i> Table<'t, 'i> {
    pub(crate) const fn root(entries: &'t DeTable<'i>) -> Self {
        Self {
            entries,
            known: BTreeSet::new(),
            offset: 0,
            path: String::new(),
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The value of a key, if it is there.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Value<'t, 'i>> {
        self.known.insert(key);
        let found: &Spanned<DeValue<'i>> = self.entries.get(key)?;
        Some(Value {
            value: found.get_ref(),
            offset: found.span().start,
            path: self.path_of(key),
        })
    }

    /// The value of a key that must be there.
    pub(crate) fn need(
        &mut self,
        key: &'static str,
        problems: &mut Problems<'_>,
    ) -> Option<Value<'t, 'i>> {
        let found = self.take(key);
        if found.is_none() {
            problems.add(self.offset, &self.path_of(key), "this key is missing");
        }
        found
    }

    /// Reads a key that must be there.
    pub(crate) fn required<T>(
        &mut self,
        key: &'static str,
        problems: &mut Problems<'_>,
        read: impl FnOnce(&Value<'t, 'i>, &mut Problems<'_>) -> Option<T>,
    ) -> Option<T> {
        let value = self.need(key, problems)?;
        read(&value, problems)
    }

    /// Reads a key that may be absent; `Some(None)` is absence, `None` a fault already noted.
    pub(crate) fn optional<T>(
        &mut self,
        key: &'static str,
        problems: &mut Problems<'_>,
        read: impl FnOnce(&Value<'t, 'i>, &mut Problems<'_>) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.take(key) {
            None => Some(None),
            Some(value) => read(&value, problems).map(Some),
        }
    }

    /// Notes every key that nobody asked for.
    pub(crate) fn finish(self, problems: &mut Problems<'_>) {
        for key in self.entries.keys() {
            let name = key.get_ref().as_ref();
            if !self.known.contains(name) {
                let known: Vec<&str> = self.known.iter().copied().collect();
                let message = format!("unknown key; known here: {}", known.join(", "));
                problems.add(key.span().start, &self.path_of(&shown(name)), message);
            }
        }
    }
}

/// A text of the document as it may stand in a message: printable ASCII, the rest escaped, cut at 80 characters.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(80) {
        if matches!(c, ' '..='~') {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
    }
    out
}

impl<'t, 'i> Value<'t, 'i> {
    fn wrong<T>(&self, wanted: &str, problems: &mut Problems<'_>) -> Option<T> {
        problems.add(
            self.offset,
            &self.path,
            format!("expected {wanted}, found {}", self.value.type_str()),
        );
        None
    }

    /// Notes a fault at this value.
    pub(crate) fn fault<T>(
        &self,
        message: impl Into<String>,
        problems: &mut Problems<'_>,
    ) -> Option<T> {
        problems.add(self.offset, &self.path, message);
        None
    }

    /// Whether the value is a string.
    pub(crate) const fn is_text(&self) -> bool {
        matches!(self.value, DeValue::String(_))
    }

    /// A string.
    pub(crate) fn text(&self, problems: &mut Problems<'_>) -> Option<&'t str> {
        match self.value {
            DeValue::String(text) => Some(text.as_ref()),
            _ => self.wrong("a string", problems),
        }
    }

    /// A string of printable ASCII, 1 to `max` characters.
    pub(crate) fn label(&self, max: usize, problems: &mut Problems<'_>) -> Option<String> {
        let text = self.text(problems)?;
        if text.is_empty() || text.len() > max || text.chars().any(|c| !matches!(c, ' '..='~')) {
            return self.fault(
                format!("text must be 1 to {max} printable ASCII characters"),
                problems,
            );
        }
        Some(text.to_owned())
    }

    /// A string that a parser accepts.
    pub(crate) fn parsed<T, E: Display>(
        &self,
        problems: &mut Problems<'_>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(problems)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => self.fault(error.to_string(), problems),
        }
    }

    /// A whole number from 0 to 2^32 - 1, written in decimal.
    pub(crate) fn number(&self, problems: &mut Problems<'_>) -> Option<u32> {
        let DeValue::Integer(integer) = self.value else {
            return self.wrong("a whole number", problems);
        };
        match integer.as_str().parse() {
            Ok(number) if integer.radix() == 10 => Some(number),
            _ => self.fault("number must be decimal, from 0 to 4294967295", problems),
        }
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self, problems: &mut Problems<'_>) -> Option<bool> {
        match self.value {
            DeValue::Boolean(value) => Some(*value),
            _ => self.wrong("true or false", problems),
        }
    }

    /// A table.
    pub(crate) fn table(&self, problems: &mut Problems<'_>) -> Option<Table<'t, 'i>> {
        match self.value {
            DeValue::Table(entries) => Some(Table {
                entries,
                known: BTreeSet::new(),
                offset: self.offset,
                path: self.path.clone(),
            }),
            _ => self.wrong("a table", problems),
        }
    }

    /// The items of a list.
    pub(crate) fn items(&self, problems: &mut Problems<'_>) -> Option<Vec<Self>> {
        let DeValue::Array(items) = self.value else {
            return self.wrong("a list", problems);
        };
        if items.len() > MAX_ITEMS {
            return self.fault(
                format!(
                    "list has {} items; at most {MAX_ITEMS} are allowed",
                    items.len()
                ),
                problems,
            );
        }
        let list = items.iter().enumerate().map(|(index, item)| Self {
            value: item.get_ref(),
            offset: item.span().start,
            path: format!("{}[{index}]", self.path),
        });
        Some(list.collect())
    }

    /// Every item of a list, read in turn; `None` if one of them is faulty, after all were read.
    pub(crate) fn list<T>(
        &self,
        problems: &mut Problems<'_>,
        mut read: impl FnMut(&Self, &mut Problems<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let read: Vec<Option<T>> = self
            .items(problems)?
            .iter()
            .map(|item| read(item, problems))
            .collect();
        read.into_iter().collect()
    }

    /// A list without repetition.
    pub(crate) fn set<T: Ord + Display>(
        &self,
        problems: &mut Problems<'_>,
        mut read: impl FnMut(&Self, &mut Problems<'_>) -> Option<T>,
    ) -> Option<BTreeSet<T>> {
        let mut all = BTreeSet::new();
        let mut good = true;
        for item in self.items(problems)? {
            match read(&item, problems) {
                Some(value) if all.contains(&value) => {
                    good = false;
                    item.fault::<()>(format!("{value} is listed twice"), problems);
                }
                Some(value) => {
                    all.insert(value);
                }
                None => good = false,
            }
        }
        good.then_some(all)
    }

    /// One string, or a list of at least one, without repetition.
    pub(crate) fn one_or_more<T: Ord + Display, E: Display>(
        &self,
        problems: &mut Problems<'_>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<BTreeSet<T>> {
        if self.is_text() {
            return self
                .parsed(problems, parse)
                .map(|one| BTreeSet::from([one]));
        }
        let all = self.set(problems, |item, problems| item.parsed(problems, &parse))?;
        if all.is_empty() {
            return self.fault("list is empty; name at least one", problems);
        }
        Some(all)
    }
}
