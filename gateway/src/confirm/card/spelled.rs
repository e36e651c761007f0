//! How a text is spelled for a person: between quotes, so that it is no number, no word of ours and has no unseen
//! end, and with a number for every character that a screen hides, turns around or shows as another.
//!
//! INVARIANT: two texts are never spelled alike (`what_is_spelled_can_be_read_back`).

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};
use sha2::{Digest as _, Sha256};
use unicode_normalization::is_nfc;
use unicode_security::{MixedScript as _, RestrictionLevel, RestrictionLevelDetection as _};

/// Line breaks of a text that break the line; later ones are only spelled, so that no text pushes others far away.
const MAX_BREAKS: usize = 40;
/// Combining marks over one letter that are drawn; more of them would be drawn over the lines around.
const MAX_MARKS: usize = 4;
/// Characters of a name that are shown.
const MAX_NAME: usize = 200;
/// Characters of a name's beginning and of its end that are shown when it is cut.
const NAME_HEAD: usize = 120;
const NAME_TAIL: usize = 40;
/// Words that a note points at.
const MAX_WORDS: usize = 3;
/// Characters in which such words are looked for: as many as are shown of a value.
const MAX_LOOKED_AT: usize = 2_000;
/// Characters of such a word that the note repeats.
const MAX_WORD: usize = 40;
/// Characters that a look at an address goes by.
const OF_ADDRESSES: &str = "./:@";

/// The text between quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(2));
    out.push('"');
    spell(text, MAX_BREAKS, &mut out);
    out.push('"');
    out
}

/// A text of one line, without quotes.
pub(super) fn bare(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    spell(text, 0, &mut out);
    out
}

/// The beginning of a text whose end is not shown: the quotes stay open.
pub(super) fn open_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(2));
    out.push('"');
    spell(text, MAX_BREAKS, &mut out);
    out.push('…');
    out
}

/// A member's name: as it is when it is a plain word, between quotes otherwise.
pub(super) fn name(member: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if member.chars().nth(MAX_NAME).is_some() {
        return cut(member);
    }
    if !member.is_empty() && member.chars().all(is_plain) {
        return member.to_owned();
    }
    let mut out = String::with_capacity(member.len().saturating_add(2));
    out.push('"');
    spell(member, 0, &mut out);
    out.push('"');
    out
}

/// The name of a value with all that it is in, cut in the middle when it is long.
pub(super) fn path(path: &str) -> String {
    if path.chars().nth(MAX_NAME).is_none() {
        return path.to_owned();
    }
    // Its parts are spelled already.
    format!("{}…{}~{}", head(path, NAME_HEAD), tail(path, NAME_TAIL), fingerprint(path))
}

/// Whether a name is not shown whole.
pub(super) fn is_cut(name: &str) -> bool {
    name.contains('~') && name.contains('…')
}

fn cut(member: &str) -> String {
    let mut out = String::from("\"");
    spell(head(member, NAME_HEAD), 0, &mut out);
    out.push('…');
    spell(tail(member, NAME_TAIL), 0, &mut out);
    out.push_str("\"~");
    out.push_str(&fingerprint(member));
    out
}

/// Enough of a SHA-256 that nobody finds two texts with the same.
fn fingerprint(text: &str) -> String {
    let mut hash = hex::encode(Sha256::digest(text.as_bytes()));
    hash.truncate(32);
    hash
}

/// The first characters of a text.
pub(super) fn head(text: &str, count: usize) -> &str {
    let end = text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text)
}

fn tail(text: &str, count: usize) -> &str {
    let from = text.char_indices().rev().take(count).last().map_or(0, |(at, _)| at);
    text.get(from..).unwrap_or(text)
}

fn spell(text: &str, breaks: usize, out: &mut String) {
    let mut broken = 0_usize;
    // The last letter that was drawn with the marks on it; empty behind what is spelled otherwise, since a mark there
    // would be drawn over that.
    let mut drawn = String::new();
    for c in text.chars() {
        if c == '\n' && broken < breaks {
            broken = broken.saturating_add(1);
            out.push_str("\\n\n");
            drawn.clear();
        } else if is_drawn(&drawn, c) {
            if !is_mark(c) {
                drawn.clear();
            }
            drawn.push(c);
            out.push(c);
        } else {
            drawn.clear();
            match c {
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                '"' | '\\' => out.extend(['\\', c]),
                c => out.push_str(&number(c)),
            }
        }
    }
}

/// Whether the character is shown as it is behind this letter. Of texts that Unicode calls equivalent, and which look
/// the same, only the composed one (NFC) is.
fn is_drawn(before: &str, c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control() && c != '"' && c != '\\';
    }
    let is_mark = is_mark(c);
    if is_unseen(c) || (is_mark && (before.is_empty() || before.chars().count() > MAX_MARKS)) {
        return false;
    }
    let together: String = before.chars().chain([c]).collect();
    is_nfc(&together)
}

fn number(c: char) -> String {
    format!("\\u{{{:x}}}", u32::from(c))
}

fn is_mark(c: char) -> bool {
    matches!(
        CodePointMapData::<GeneralCategory>::new().get(c),
        GeneralCategory::NonspacingMark
            | GeneralCategory::SpacingMark
            | GeneralCategory::EnclosingMark
    )
}

/// Controls, what turns or joins or fills, what no font draws, and blanks other than the space.
fn is_unseen(c: char) -> bool {
    use GeneralCategory::{
        Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, SpaceSeparator, Surrogate,
        Unassigned,
    };
    match CodePointMapData::<GeneralCategory>::new().get(c) {
        Control | Format | LineSeparator | ParagraphSeparator | PrivateUse | Surrogate
        | Unassigned => true,
        SpaceSeparator => c != ' ',
        // Two symbols that are drawn as nothing: a braille cell without dots and a note without a head.
        _ => {
            matches!(c, '\u{2800}' | '\u{1d159}')
                || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        }
    }
}

/// What looks like something else in the text: words of letters from several scripts or of other scripts' letters that
/// look like Latin ones, and signs that look like those of an address.
pub(super) fn looks(text: &str) -> Option<String> {
    let text = head(text, MAX_LOOKED_AT);
    if text.is_ascii() {
        return None;
    }
    let words = text.split(|c: char| !is_of_word(c)).filter(|word| is_deceptive(word));
    let signs = text.char_indices().filter(|(_, c)| is_false_sign(*c));
    let signs = signs.filter_map(|(at, c)| text.get(at..at.saturating_add(c.len_utf8())));
    let mut found: Vec<String> = Vec::new();
    for word in words.chain(signs) {
        let told = told(word);
        if !found.contains(&told) {
            found.push(told);
        }
        if found.len() == MAX_WORDS {
            break;
        }
    }
    (!found.is_empty()).then(|| format!("look closely: {}", found.join("; ")))
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || is_mark(c)
}

fn is_deceptive(word: &str) -> bool {
    if word.is_ascii() {
        return false;
    }
    let is_mixed = !word.is_single_script()
        && !word.check_restriction_level(RestrictionLevel::HighlyRestrictive);
    is_mixed || skeleton_is_ascii(word)
}

fn is_false_sign(c: char) -> bool {
    if c.is_ascii() || is_of_word(c) {
        return false;
    }
    let mut buffer = [0; 4];
    let mut skeleton = unicode_security::skeleton(c.encode_utf8(&mut buffer));
    let first = skeleton.next();
    skeleton.next().is_none() && first.is_some_and(|c| OF_ADDRESSES.contains(c))
}

fn skeleton_is_ascii(text: &str) -> bool {
    unicode_security::skeleton(text).all(|c| c.is_ascii())
}

fn told(word: &str) -> String {
    let word = head(word, MAX_WORD);
    let mut spelled = String::new();
    spell(word, 0, &mut spelled);
    let foreign = word.chars().filter(|c| !c.is_ascii()).map(number);
    let foreign: Vec<String> = foreign.take(8).collect();
    format!("“{spelled}” is written with {}", foreign.join(" "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a spelled text back; the breaks after `\n` are for the eye.
    fn read_back(spelled: &str) -> String {
        let inner = spelled.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
        let mut chars = inner.chars().peekable();
        let mut out = String::new();
        while let Some(c) = chars.next() {
            if c != '\\' {
                assert!(c != '"' && !c.is_control(), "{spelled:?}");
                out.push(c);
                continue;
            }
            match chars.next().unwrap() {
                'n' => {
                    chars.next_if_eq(&'\n');
                    out.push('\n');
                }
                't' => out.push('\t'),
                'r' => out.push('\r'),
                'u' => {
                    assert_eq!(chars.next(), Some('{'));
                    let digits: String = chars.by_ref().take_while(|c| *c != '}').collect();
                    out.push(char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap());
                }
                other => out.push(other),
            }
        }
        out
    }

    proptest! {
        #[test]
        fn what_is_spelled_can_be_read_back(
            text in r#"(?s)([a\\"\n{}u2 ]|\\u\{202e\}|[\u{202e}\u{300}\u{2800}e\u{301}\u{323}\u{1161}\u{212b}]|.){0,60}"#
        ) {
            let spelled = quoted(&text);
            prop_assert!(is_nfc(&spelled), "{:?}", spelled);
            prop_assert_eq!(read_back(&spelled), text);
        }

        #[test]
        fn a_name_is_one_line_that_is_not_longer_than_it_may_be(text in r"(?s).{0,400}") {
            let spelled = name(&text);
            prop_assert!(!spelled.chars().any(char::is_control), "{:?}", spelled);
            let shown = path(&spelled);
            prop_assert!(shown.chars().count() <= MAX_NAME + 40, "{:?}", shown);
        }
    }

    #[test]
    fn what_hides_turns_or_fills_has_a_number() {
        for c in "\u{202e}\u{2066}\u{200b}\u{feff}\u{1bca0}\u{1bca3}\u{2800}\u{3164}\u{e0041}\u{a0}\u{3000}\u{e000}\u{7f}\u{85}\u{2028}\u{34f}\u{180e}\u{fe0f}\u{fff9}".chars() {
            assert_eq!(quoted(&format!("a{c}b")), format!("\"a{}b\"", number(c)));
        }
        assert_eq!(quoted("né 日本 🙂 naïve"), "\"né 日本 🙂 naïve\"");
        assert_eq!(quoted("\u{301}a"), "\"\\u{301}a\"", "no mark over the quote");
        assert_eq!(quoted("\\u{202e}"), "\"\\\\u{202e}\"");
        for (one, other) in [
            ("é", "e\u{301}"),
            ("Å", "\u{212b}"),
            ("가", "\u{1100}\u{1161}"),
            ("ộ", "o\u{302}\u{323}"),
        ] {
            assert_eq!(quoted(one), format!("\"{one}\""));
            assert!(quoted(other).contains("\\u{"), "{other} looks like {one}");
        }
        let tower = quoted(&format!("q{}", "\u{301}".repeat(500)));
        assert_eq!(tower.matches('\u{301}').count(), MAX_MARKS);
    }

    #[test]
    fn words_that_look_like_others_are_pointed_at() {
        for (text, letter) in [
            ("pay to p\u{430}ypal now", "\\u{430}"),
            ("\u{440}\u{430}\u{443}\u{440}\u{430}l", "\\u{440}"),
            ("\u{ff41}dmin", "\\u{ff41}"),
            ("https://evil.example\u{2044}good", "\\u{2044}"),
            ("evil\u{ff0e}example", "\\u{ff0e}"),
        ] {
            let note = looks(text);
            assert!(note.as_ref().is_some_and(|note| note.contains(letter)), "{text}: {note:?}");
        }
        for text in [
            "plain",
            "né naïve Müller",
            "привет мир",
            "日本語 text",
            "don’t – stop…",
            "東京とTokyo",
        ] {
            assert_eq!(looks(text), None, "{text}");
        }
    }
}
