//! The lexical rules of the manifest, one predicate each, without a regex engine: they run on
//! text from strangers and must be linear.

/// `^[a-z0-9][a-z0-9-]*[a-z0-9]$`, at most 64 characters (V1).
pub(super) fn app_id(s: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (2..=64).contains(&s.len()) && s.chars().all(inner) && !s.starts_with('-') && !s.ends_with('-')
}

/// `^\d+\.\d+\.\d+(?:[.-][A-Za-z0-9.-]+)?$` (V2).
pub(super) fn semver(s: &str) -> bool {
    let mut rest = s;
    for last in [false, false, true] {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let Some(after) = rest.get(digits..).filter(|_| digits > 0) else { return false };
        match (last, after.strip_prefix('.')) {
            (false, Some(next)) => rest = next,
            (false, None) => return false,
            (true, _) => rest = after,
        }
    }
    match rest.strip_prefix(['.', '-']) {
        None => rest.is_empty(),
        Some(tail) => {
            !tail.is_empty()
                && tail.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')
        }
    }
}

/// `^(?:\*|[a-z][a-z0-9_-]*(?:[.:][a-z0-9_*-]+)+)$`.
pub(super) fn scope(s: &str) -> bool {
    if s == "*" {
        return true;
    }
    let mut parts = s.split(['.', ':']);
    let first = parts.next().unwrap_or_default();
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let head = first.starts_with(|c: char| c.is_ascii_lowercase()) && first.chars().all(word);
    let mut tail = parts.peekable();
    head && s.len() <= 128
        && tail.peek().is_some()
        && tail.all(|p| !p.is_empty() && p.chars().all(|c| word(c) || c == '*'))
}

/// `^[a-zA-Z_][a-zA-Z0-9_]*$`, at most 128 characters.
pub(super) fn tool_name(s: &str) -> bool {
    s.len() <= 128
        && s.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && s.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `^[a-z][a-z0-9_]{0,62}$`.
pub(super) fn snake(s: &str) -> bool {
    s.len() <= 63
        && s.starts_with(|c: char| c.is_ascii_lowercase())
        && s.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// `^[a-z][a-z0-9_-]+$`.
pub(super) fn item_id(s: &str) -> bool {
    (2..=128).contains(&s.len())
        && s.starts_with(|c: char| c.is_ascii_lowercase())
        && s.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c))
}

/// `^[a-z0-9_]{1,64}$`.
pub(super) fn entity(s: &str) -> bool {
    (1..=64).contains(&s.len())
        && s.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// `^/[a-z0-9_/-]+$`.
pub(super) fn webhook_path(s: &str) -> bool {
    s.len() <= 256
        && s.strip_prefix('/').is_some_and(|rest| {
            !rest.is_empty()
                && rest
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_/-".contains(c))
        })
}

/// `IMPERAL_APPSECRET_` and at least one more character of an environment name.
pub(super) fn app_secret_env(s: &str) -> bool {
    s.strip_prefix("IMPERAL_APPSECRET_").is_some_and(|rest| {
        !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// Five cron fields within their ranges, or `@hourly` .. `@reboot`.
pub(super) fn cron(s: &str) -> bool {
    const KEYWORDS: [&str; 7] =
        ["@hourly", "@daily", "@weekly", "@monthly", "@yearly", "@annually", "@reboot"];
    const RANGES: [(u32, u32, &[&str]); 5] = [
        (0, 59, &[]),
        (0, 23, &[]),
        (1, 31, &[]),
        (
            1,
            12,
            &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
        ),
        (0, 7, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
    ];
    if KEYWORDS.contains(&s) {
        return true;
    }
    let fields: Vec<&str> = s.split_whitespace().take(6).collect();
    fields.len() == RANGES.len()
        && fields
            .iter()
            .zip(RANGES)
            .all(|(f, (lo, hi, names))| f.split(',').all(|part| cron_part(part, lo, hi, names)))
}

/// `*`, `n`, `n-m`, each with an optional `/step`.
fn cron_part(part: &str, lo: u32, hi: u32, names: &[&str]) -> bool {
    let (range, step) = part.split_once('/').map_or((part, None), |(r, s)| (r, Some(s)));
    let step_fits = step.is_none_or(|s| s.parse::<u32>().is_ok_and(|n| n > 0 && n <= hi.max(1)));
    let number = |s: &str| {
        let lower = s.to_ascii_lowercase();
        let named = names.iter().position(|n| *n == lower).and_then(|i| u32::try_from(i).ok());
        let digits = s.len() <= 2 && s.chars().all(|c| c.is_ascii_digit());
        let n = named.map(|i| i + lo).or_else(|| if digits { s.parse().ok() } else { None })?;
        (lo..=hi).contains(&n).then_some(n)
    };
    let range_fits = match range.split_once('-') {
        _ if range == "*" => true,
        Some((a, b)) => matches!((number(a), number(b)), (Some(a), Some(b)) if a <= b),
        None => number(range).is_some(),
    };
    step_fits && range_fits
}
