//! Parts of a recovery key as words that can be printed, read aloud and typed again.
//!
//! A part is 45 bytes; with 36 bits of a hash they are 36 words of the English list of BIP 39, whose words differ in their
//! first four letters. One wrong word, or two neighbours exchanged, is not only noticed but named: of all the texts that
//! differ in so little, only the right one has the right hash. Parts of different keys, or the same part twice, are told
//! apart by what is in the bytes (see [`mpc_core::backup::RecoveryPart`]).

use bip39::Language;
use mpc_core::backup::{PART_BYTES, PartsError, RecoveryPart};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Words of one part.
pub const WORDS: usize = 36;
/// Bits of one word.
const BITS: usize = 11;
/// Bytes of the hash that are looked at; of the last one only the upper half counts.
const CHECK_BYTES: usize = 5;

/// Why printed parts do not give a recovery key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartProblem {
    /// A word that is not on the list.
    #[error("word {at} ({word:?}) is not on the list; nearest: {nearest}")]
    NotAWord {
        /// Its number, from 1.
        at: usize,
        /// What was typed.
        word: String,
        /// The word of the list that looks most like it.
        nearest: &'static str,
    },
    /// Too few or too many words.
    #[error("a part has {WORDS} words; here are {0}")]
    Count(usize),
    /// One word is another one of the list.
    #[error("word {at} is wrong; the part is whole with {right:?} there")]
    OneWrong {
        /// Its number, from 1.
        at: usize,
        /// What it must be.
        right: &'static str,
    },
    /// Two neighbours are exchanged.
    #[error("words {0} and the next one are exchanged")]
    Exchanged(usize),
    /// More than that is wrong.
    #[error("the words do not fit together: at least two of them are wrong")]
    Wrong,
    /// Not a part that this program knows.
    #[error("the words read well and are not a part of a recovery key: {0}")]
    Foreign(String),
    /// The parts do not belong together, or are too few.
    #[error(transparent)]
    Parts(#[from] PartsError),
}

/// The words of a part. Secret.
#[must_use]
pub fn print(part: &RecoveryPart) -> Zeroizing<Vec<String>> {
    let bytes = part.dangerous_to_bytes();
    let list = Language::English.word_list();
    let numbers = numbers(&bytes);
    Zeroizing::new(
        numbers
            .iter()
            .filter_map(|number| list.get(usize::from(*number)))
            .map(|word| (*word).to_owned())
            .collect(),
    )
}

/// The part's bytes and its check, 11 bits at a time.
fn numbers(bytes: &[u8]) -> Zeroizing<Vec<u16>> {
    let check = check(bytes);
    let all = bytes.iter().chain(&check).copied();
    let bits = all.flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let mut out = Zeroizing::new(Vec::with_capacity(WORDS));
    let mut number = 0_u16;
    for (at, bit) in bits.take(WORDS.saturating_mul(BITS)).enumerate() {
        number = number << 1 | u16::from(bit);
        if at % BITS == BITS - 1 {
            out.push(number);
            number = 0;
        }
    }
    out
}

fn check(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hash = Sha256::new();
    hash.update(b"quorate/part-words/v1\n");
    hash.update(bytes);
    let digest: [u8; 32] = hash.finalize().into();
    let [a, b, c, d, e, ..] = digest;
    [a, b, c, d, e & 0xf0]
}

/// The bytes of the numbers, if their check holds.
fn bytes_of(numbers: &[u16]) -> Option<Zeroizing<Vec<u8>>> {
    let bits = numbers
        .iter()
        .flat_map(|number| (0..BITS).rev().map(move |bit| (number >> bit & 1) as u8));
    let mut bytes = Zeroizing::new(Vec::with_capacity(PART_BYTES.saturating_add(CHECK_BYTES)));
    let (mut byte, mut filled) = (0_u8, 0_u8);
    for bit in bits {
        byte = byte << 1 | bit;
        filled = filled.saturating_add(1);
        if filled == 8 {
            bytes.push(byte);
            (byte, filled) = (0, 0);
        }
    }
    // 396 bits: four are left, the upper half of the last byte of the check.
    bytes.push(byte << 4);
    let (part, found) = bytes.split_at_checked(PART_BYTES)?;
    (found == check(part)).then(|| Zeroizing::new(part.to_vec()))
}

/// Reads a part: its words, or their first four letters, in order; numbers and punctuation between them do not matter.
///
/// If the text has a line `words:`, only what follows it is read, so that a printed page can be given as it is.
///
/// # Errors
/// [`PartProblem`], which says which word is wrong where that can be known.
pub fn read(text: &str) -> Result<RecoveryPart, PartProblem> {
    let words = text.split_once("words:").map_or(text, |(_, words)| words);
    let typed: Vec<Zeroizing<String>> = words
        .split(|c: char| !c.is_alphabetic())
        .filter(|word| !word.is_empty())
        .map(|word| Zeroizing::new(word.to_lowercase()))
        .collect();
    if typed.len() != WORDS {
        return Err(PartProblem::Count(typed.len()));
    }
    let mut numbers = Zeroizing::new(Vec::with_capacity(WORDS));
    for (at, word) in (1_usize..).zip(&typed) {
        numbers.push(number_of(word).ok_or_else(|| PartProblem::NotAWord {
            at,
            word: word.to_string(),
            nearest: nearest(word),
        })?);
    }
    let bytes = bytes_of(&numbers).ok_or_else(|| diagnose(&numbers))?;
    RecoveryPart::dangerous_from_bytes(&bytes).map_err(|e| PartProblem::Foreign(e.to_string()))
}

/// The number of a word, given whole or by its first four letters.
fn number_of(word: &str) -> Option<u16> {
    let list = Language::English.word_list();
    let exact = list.iter().position(|known| *known == word);
    let short = || {
        let mut known = list
            .iter()
            .enumerate()
            .filter(|(_, known)| word.chars().count() == 4 && known.starts_with(word));
        match (known.next(), known.next()) {
            (Some((at, _)), None) => Some(at),
            _ => None,
        }
    };
    u16::try_from(exact.or_else(short)?).ok()
}

/// Tries every part that differs in one word or in two exchanged neighbours.
fn diagnose(numbers: &[u16]) -> PartProblem {
    let mut tried = Zeroizing::new(numbers.to_vec());
    for at in 1..tried.len() {
        tried.swap(at.saturating_sub(1), at);
        if bytes_of(&tried).is_some() {
            return PartProblem::Exchanged(at);
        }
        tried.swap(at.saturating_sub(1), at);
    }
    for (at, original) in numbers.iter().enumerate() {
        for (number, word) in (0_u16..).zip(Language::English.word_list()) {
            if let Some(slot) = tried.get_mut(at) {
                *slot = number;
            }
            if bytes_of(&tried).is_some() {
                return PartProblem::OneWrong {
                    at: at.saturating_add(1),
                    right: word,
                };
            }
        }
        if let Some(slot) = tried.get_mut(at) {
            *slot = *original;
        }
    }
    PartProblem::Wrong
}

/// The word of the list with the smallest edit distance.
fn nearest(word: &str) -> &'static str {
    let list = Language::English.word_list();
    list.iter()
        .min_by_key(|known| distance(word, known))
        .copied()
        .unwrap_or("")
}

/// How many letters must be changed, added or left out.
fn distance(a: &str, b: &str) -> usize {
    let width = b.chars().count();
    let mut above: Vec<usize> = (0..=width).collect();
    for (row, x) in (1_usize..).zip(a.chars()) {
        let mut left = row;
        let mut line = vec![row];
        for (y, pair) in b.chars().zip(above.windows(2)) {
            let [diagonal, up] = pair else { continue };
            let changed = diagonal.saturating_add(usize::from(x != y));
            left = changed
                .min(up.saturating_add(1))
                .min(left.saturating_add(1));
            line.push(left);
        }
        above = line;
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use mpc_core::{
        backup::{join, split},
        id::Params,
        identity::ExchangeKey,
    };
    use rand_core::UnwrapErr;

    use super::*;

    fn parts(threshold: u16, count: u16) -> (ExchangeKey, Vec<RecoveryPart>) {
        let mut rng = UnwrapErr(getrandom::SysRng);
        let key = ExchangeKey::generate(&mut rng);
        let params = Params::new(threshold, count).expect("good numbers");
        let parts = split(&key, params, &mut rng);
        (key, parts)
    }

    fn refused(words: &[String]) -> PartProblem {
        read(&words.join(" ")).expect_err("it is not as printed")
    }

    #[test]
    fn printed_parts_give_the_key_back() {
        let (key, parts) = parts(2, 3);
        let page = |part: &RecoveryPart| {
            let mut text = String::from("Part 1, of the key abcd\nwords:\n");
            for (at, word) in (1..).zip(print(part).iter()) {
                text.push_str(&format!("{at:>2}. {}\n", word.to_uppercase()));
            }
            text
        };
        let short: String = print(&parts[2])
            .iter()
            .map(|word| word.chars().take(4).chain([' ']).collect::<String>())
            .collect();
        let read = [
            read(&page(&parts[0])).expect("as it was printed"),
            read(&short).expect("four letters are enough"),
        ];
        assert_eq!((read[0].index().get(), read[1].index().get()), (1, 3));
        assert_eq!(join(&read).expect("two are enough").public(), key.public());
    }

    /// A word of the list that is not the one that is there.
    fn another(word: &str) -> String {
        let other = if word == "ability" { "able" } else { "ability" };
        other.to_owned()
    }

    #[test]
    fn what_is_wrong_with_a_part_is_named() {
        let (_, parts) = parts(2, 3);
        let good = print(&parts[0]);
        assert_eq!(refused(&good[1..]), PartProblem::Count(35));

        let mut typo = good.to_vec();
        typo[4] = "zoooo".to_owned();
        let PartProblem::NotAWord { at, nearest, .. } = refused(&typo) else {
            panic!("not on the list");
        };
        assert_eq!((at, nearest), (5, "zoo"));

        let mut other = good.to_vec();
        other[20] = another(&good[20]);
        let PartProblem::OneWrong { at, right } = refused(&other) else {
            panic!("one word is wrong");
        };
        assert_eq!((at, right), (21, good[20].as_str()));

        let at = (1..WORDS)
            .find(|at| good[*at] != good[*at - 1])
            .expect("not all words are the same");
        let mut exchanged = good.to_vec();
        exchanged.swap(at, at - 1);
        assert_eq!(refused(&exchanged), PartProblem::Exchanged(at));

        let mut two = other.clone();
        two[3] = another(&good[3]);
        assert_eq!(refused(&two), PartProblem::Wrong);
    }

    #[test]
    fn parts_of_two_keys_and_too_few_parts_are_told() {
        let ((_, mine), (_, others)) = (parts(3, 5), parts(3, 5));
        let again = |part: &RecoveryPart| read(&print(part).join(" ")).expect("as printed");
        let mixed = [again(&mine[0]), again(&others[1]), again(&mine[2])];
        assert_eq!(
            join(&mixed).map(|_| ()),
            Err(PartsError::Mixed { index: 2 })
        );
        let few = [again(&mine[0]), again(&mine[0]), again(&mine[4])];
        assert_eq!(
            join(&few).map(|_| ()),
            Err(PartsError::TooFew { have: 2, need: 3 })
        );
    }
}
