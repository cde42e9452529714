//! How old the shares of a key are, and when they are replaced next.

use policy::time::format_utc;
use proto::v1::KeyInfo;
use serde_json::{Value, json};

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A length of time in its largest unit, such as `3 d`; never more than it is.
fn length(ms: u64) -> String {
    [(DAY, "d"), (HOUR, "h"), (MINUTE, "min")]
        .into_iter()
        .find(|(unit, _)| ms >= *unit)
        .map_or_else(
            || format!("{} s", ms / SECOND),
            |(unit, word)| format!("{} {word}", ms.checked_div(unit).unwrap_or_default()),
        )
}

/// How long the active shares have been in use; nothing for a key that is not active.
#[must_use]
pub(super) fn of(key: &KeyInfo, now_ms: u64) -> Option<u64> {
    (key.since_ms != 0).then(|| now_ms.saturating_sub(key.since_ms))
}

/// The age and the next refresh in one short phrase, for a list.
#[must_use]
pub(super) fn short(key: &KeyInfo, now_ms: u64) -> String {
    let Some(age) = of(key, now_ms) else {
        return "-".to_owned();
    };
    let next = if key.state == "retired" || key.refresh_due_ms == 0 {
        "no refresh set".to_owned()
    } else if key.refresh_overdue || key.refresh_due_ms <= now_ms {
        "refresh OVERDUE".to_owned()
    } else {
        format!(
            "refresh in {}",
            length(key.refresh_due_ms.saturating_sub(now_ms))
        )
    };
    format!("{} old, {next}", length(age))
}

/// The same in lines, for one key.
#[must_use]
pub(super) fn lines(key: &KeyInfo, now_ms: u64) -> String {
    let Some(age) = of(key, now_ms) else {
        return String::new();
    };
    let next = if key.state == "retired" {
        "never: the key is retired".to_owned()
    } else if key.refresh_due_ms == 0 {
        "by order only; set refresh_every at a wallet of this key to have it done by itself"
            .to_owned()
    } else {
        let due = format_utc(key.refresh_due_ms);
        let every = length(key.refresh_every_ms);
        if key.refresh_overdue || key.refresh_due_ms <= now_ms {
            format!("OVERDUE since {due} (every {every}): see `quorate order list --ended` for why")
        } else {
            let left = length(key.refresh_due_ms.saturating_sub(now_ms));
            format!("{due}, in {left} (every {every})")
        }
    };
    let mut text = format!(
        "created     {}\nshares from {} ({} old)\nrefresh     {next}\n",
        format_utc(key.created_ms),
        format_utc(key.since_ms),
        length(age)
    );
    if key.imported {
        text.push_str("imported    yes: whoever kept a copy of it can sign alone\n");
    }
    if !key.order.is_empty() {
        text.push_str(&format!(
            "order       {} is under way\n",
            hex::encode(&key.order)
        ));
    }
    text
}

/// The same for a program; times are Unix milliseconds, nothing where there is none.
#[must_use]
pub(super) fn object(key: &KeyInfo, now_ms: u64) -> Value {
    let time = |ms: u64| (ms != 0).then_some(ms);
    json!({
        "created_ms": time(key.created_ms), "since_ms": time(key.since_ms), "age_ms": of(key, now_ms),
        "refresh_every_ms": time(key.refresh_every_ms), "refresh_due_ms": time(key.refresh_due_ms),
        "refresh_overdue": key.refresh_overdue, "imported": key.imported,
        "order": (!key.order.is_empty()).then(|| hex::encode(&key.order)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(since_ms: u64, every_ms: u64) -> KeyInfo {
        KeyInfo {
            state: "active".to_owned(),
            since_ms,
            refresh_every_ms: every_ms,
            refresh_due_ms: if every_ms == 0 {
                0
            } else {
                since_ms.saturating_add(every_ms)
            },
            ..KeyInfo::default()
        }
    }

    #[test]
    fn a_list_says_how_old_and_when_next() {
        let (since, now) = (1_000_000, 1_000_000 + 3 * DAY + 5);
        assert_eq!(short(&key(since, 0), now), "3 d old, no refresh set");
        assert_eq!(short(&key(since, 7 * DAY), now), "3 d old, refresh in 3 d");
        assert_eq!(short(&key(since, 2 * DAY), now), "3 d old, refresh OVERDUE");
        assert_eq!(short(&key(0, 0), now), "-", "not active yet");
        let retired = KeyInfo {
            state: "retired".to_owned(),
            ..key(since, 7 * DAY)
        };
        assert_eq!(short(&retired, now), "3 d old, no refresh set");
    }

    #[test]
    fn units_change_where_they_are_whole() {
        assert_eq!(length(0), "0 s");
        assert_eq!(length(59_999), "59 s");
        assert_eq!(length(MINUTE), "1 min");
        assert_eq!(length(HOUR - 1), "59 min");
        assert_eq!(length(47 * HOUR), "1 d");
    }

    #[test]
    fn one_key_says_what_to_do() {
        let now = 1_000_000 + 3 * DAY;
        assert!(lines(&key(1_000_000, 0), now).contains("refresh_every"));
        assert!(lines(&key(1_000_000, DAY), now).contains("OVERDUE since 1970-01-02T00:16:40Z"));
        assert!(lines(&key(1_000_000, 4 * DAY), now).contains("in 1 d (every 4 d)"));
        assert_eq!(object(&key(1_000_000, 0), now)["age_ms"], 3 * DAY);
    }
}
