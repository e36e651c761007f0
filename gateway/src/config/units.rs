//! Sizes and durations as people write them.

use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

/// A day in seconds.
const DAY: u64 = 86_400;

/// A length of time: `2s`, `500ms`, `1h 30m`, or whole days: `30d`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(
    inline,
    extend(
        "pattern" = r"^([0-9]+d|[0-9]+(ms|s|m|h)( ?[0-9]+(ms|s|m|h))*)$",
        "x-help" = "write a time with its unit: `500ms`, `2s`, `15m`, `1h 30m` or `30d`",
    )
)]
pub(super) struct TimeSpan(String);

/// An amount of memory: `512B`, `64KiB`, `1MiB`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(
    inline,
    extend(
        "pattern" = r"^[0-9]+(B|KiB|MiB|GiB)$",
        "x-help" = "write a size with its unit: `512B`, `64KiB` or `1MiB`",
    )
)]
pub(super) struct Bytes(String);

impl TimeSpan {
    /// None when it is too long to count.
    pub(super) fn duration(&self) -> Option<Duration> {
        if let Some(days) = self.0.strip_suffix('d') {
            return days.parse::<u64>().ok()?.checked_mul(DAY).map(Duration::from_secs);
        }
        let span: jiff::SignedDuration = self.0.parse().ok()?;
        span.try_into().ok()
    }
}

impl Bytes {
    /// None when there are more bytes than can be counted.
    pub(super) fn bytes(&self) -> Option<usize> {
        let (shift, unit) = match self.0.trim_start_matches(|c: char| c.is_ascii_digit()) {
            "B" => (0, "B"),
            "KiB" => (10, "KiB"),
            "MiB" => (20, "MiB"),
            "GiB" => (30, "GiB"),
            _ => return None,
        };
        let count: usize = self.0.strip_suffix(unit)?.parse().ok()?;
        count.checked_mul(1 << shift)
    }
}

/// A duration as it would be written: the largest unit that leaves nothing over.
pub(super) fn show_duration(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match seconds {
        _ if millis != 0 => format!("{}ms", duration.as_millis()),
        s if s > DAY && s % DAY == 0 => format!("{}d", s / DAY),
        s if s >= 3600 && s % 3600 == 0 => format!("{}h", s / 3600),
        s if s >= 60 && s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// A size as it would be written.
pub(super) fn show_bytes(bytes: usize) -> String {
    match bytes {
        b if b >= 1 << 30 && b % (1 << 30) == 0 => format!("{}GiB", b >> 30),
        b if b >= 1 << 20 && b % (1 << 20) == 0 => format!("{}MiB", b >> 20),
        b if b >= 1 << 10 && b % (1 << 10) == 0 => format!("{}KiB", b >> 10),
        b => format!("{b}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_written() {
        for (text, millis) in [
            ("2s", 2000),
            ("500ms", 500),
            ("15m", 900_000),
            ("1h 30m", 5_400_000),
            ("1m30s", 90_000),
            ("30d", 2_592_000_000),
        ] {
            let read = TimeSpan(text.to_owned()).duration();
            assert_eq!(read, Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(TimeSpan("99999999999999999999h".to_owned()).duration(), None);
    }

    #[test]
    fn sizes_are_read_as_written_and_never_wrap() {
        for (text, bytes) in [("512B", 512), ("64KiB", 65536), ("1MiB", 1 << 20), ("2GiB", 2 << 30)]
        {
            assert_eq!(Bytes(text.to_owned()).bytes(), Some(bytes), "{text}");
        }
        assert_eq!(Bytes("99999999999999GiB".to_owned()).bytes(), None);
        assert_eq!(Bytes("1MB".to_owned()).bytes(), None);
    }

    #[test]
    fn what_is_shown_can_be_written() {
        for text in ["250ms", "2s", "15m", "3h", "90s", "24h", "30d"] {
            let duration = TimeSpan(text.to_owned()).duration().unwrap();
            assert_eq!(show_duration(duration), text);
        }
        for text in ["100B", "32KiB", "1MiB", "3GiB"] {
            assert_eq!(show_bytes(Bytes(text.to_owned()).bytes().unwrap()), text);
        }
    }
}
