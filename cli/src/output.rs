//! What reaches the terminal: one reply on standard output, progress, notes and errors on standard error.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::fail::{Exit, Fail};

/// What a verb has to say when it is done.
#[derive(Debug)]
pub struct Reply {
    human: String,
    json: Value,
    exit: Exit,
}

impl Reply {
    /// A reply for both kinds of reader.
    pub fn new(human: impl Into<String>, json: Value) -> Self {
        Self {
            human: human.into(),
            json,
            exit: Exit::Done,
        }
    }

    /// Leaves with another exit code than 0.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

/// Where and how to print.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    /// An output in the asked form.
    #[must_use]
    pub const fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Whether the reader is a program.
    #[must_use]
    pub const fn is_json(self) -> bool {
        self.json
    }

    /// Prints the end of a verb and says which code to exit with.
    ///
    /// A reader that went away is not an error of the verb: what was done stays done.
    #[must_use]
    pub fn finish(self, end: Result<Reply, Fail>) -> u8 {
        match end {
            Ok(reply) => {
                if self.json {
                    line(&mut io::stdout().lock(), &reply.json.to_string());
                } else if !reply.human.is_empty() {
                    line(&mut io::stdout().lock(), reply.human.trim_end());
                }
                reply.exit.code()
            }
            Err(fail) => {
                if self.json {
                    let error = json!({"error": {
                        "code": fail.exit.word(), "message": fail.message, "hint": fail.hint,
                    }});
                    line(&mut io::stdout().lock(), &error.to_string());
                }
                let mut stderr = io::stderr().lock();
                line(&mut stderr, &format!("quorate: error: {}", fail.message));
                if let Some(hint) = &fail.hint {
                    line(&mut stderr, &format!("hint: {hint}"));
                }
                fail.exit.code()
            }
        }
    }

    /// A line that belongs to the reply and is printed before the verb ends; nothing with `--json`.
    pub fn say(self, text: &str) {
        if !self.json {
            line(&mut io::stdout().lock(), text);
        }
    }

    /// A remark for whoever watches.
    pub fn note(self, text: &str) {
        if !self.quiet {
            line(&mut io::stderr().lock(), text);
        }
    }

    /// A line that must be seen whatever was asked for: what somebody is about to sign.
    pub fn must_see(self, text: &str) {
        line(&mut io::stderr().lock(), text);
    }

    /// A spinner on standard error, if that is a terminal and somebody may want it.
    #[must_use]
    pub fn spinner(self, text: &str) -> Progress {
        if self.quiet || !io::stderr().is_terminal() {
            return Progress(None);
        }
        let bar = ProgressBar::new_spinner();
        bar.set_message(text.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress(Some(bar))
    }

    /// A bar of `length` steps on standard error, under the same conditions.
    #[must_use]
    pub fn bar(self, length: u64, text: &str) -> Progress {
        if self.quiet || !io::stderr().is_terminal() {
            return Progress(None);
        }
        let bar = ProgressBar::new(length);
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {per_sec}") {
            bar.set_style(style);
        }
        bar.set_message(text.to_owned());
        Progress(Some(bar))
    }
}

/// Progress that disappears when the work is over.
#[derive(Debug)]
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// What is going on now.
    pub fn message(&self, text: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(text.to_owned());
        }
    }

    /// One step further.
    pub fn step(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn line(to: &mut impl Write, text: &str) {
    // A closed pipe has nobody left to tell.
    let _closed = writeln!(to, "{}", plain(text));
}

/// The text without anything that could steer a terminal: much of it comes from services that are not trusted.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' && c != '\t' {
            plain.extend(c.escape_unicode());
        } else {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_printed_steers_the_terminal() {
        assert_eq!(
            plain("a\u{1b}[2Kb\r\u{9b}c\n\td"),
            "a\\u{1b}[2Kb\\u{d}\\u{9b}c\n\td"
        );
    }
}
