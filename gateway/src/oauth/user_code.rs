//! What a person reads off a terminal and types into a page (RFC 8628 section 6.1).

use std::fmt;
use std::str::FromStr;

/// Twenty consonants: no letter looks like another or like a digit, and no code is a word.
const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const LETTERS: usize = 8;

/// A code of eight letters: 34 bits, enough with few tries and ten minutes.
#[derive(Clone, PartialEq, Eq)]
pub struct UserCode([u8; LETTERS]);

impl UserCode {
    /// A random one; none when the host has no randomness.
    #[must_use]
    pub fn fresh() -> Option<Self> {
        let mut letters = Vec::with_capacity(LETTERS);
        while letters.len() < LETTERS {
            let mut bytes = [0; 16];
            getrandom::fill(&mut bytes).ok()?;
            let missing = LETTERS - letters.len();
            letters.extend(bytes.iter().filter_map(|&byte| unbiased(byte)).take(missing));
        }
        letters.try_into().ok().map(Self)
    }

    /// The letters without the dash, as they are hashed.
    #[must_use]
    pub fn letters(&self) -> String {
        self.0.iter().copied().map(char::from).collect()
    }
}

/// Shown as `BCDF-GHJK`.
impl fmt::Display for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left, right) = self.0.split_at(LETTERS / 2);
        let text = |half: &[u8]| half.iter().copied().map(char::from).collect::<String>();
        write!(f, "{}-{}", text(left), text(right))
    }
}

/// A code lets whoever knows it be asked about, so it stays out of logs.
impl fmt::Debug for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserCode")
    }
}

/// Reads what was typed: any case, blanks and dashes anywhere.
impl FromStr for UserCode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        // Room for a blank or dash around each letter.
        if text.len() > 4 * LETTERS {
            return Err(());
        }
        let typed = text.bytes().filter(|b| !b" -".contains(b)).map(|b| b.to_ascii_uppercase());
        let letters: Vec<u8> = typed.collect();
        let known = letters.iter().all(|letter| ALPHABET.contains(letter));
        letters.try_into().ok().filter(|_| known).map(Self).ok_or(())
    }
}

/// Bytes beyond the last whole alphabet are dropped, since they would favour the first letters.
fn unbiased(byte: u8) -> Option<u8> {
    let index = usize::from(byte);
    if index >= 256 / ALPHABET.len() * ALPHABET.len() {
        return None;
    }
    ALPHABET.get(index % ALPHABET.len()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        let code = UserCode::fresh().unwrap();
        let shown = code.to_string();
        assert_eq!(shown.len(), 9);
        for typed in [shown.clone(), shown.to_lowercase(), shown.replace('-', " "), code.letters()]
        {
            assert_eq!(typed.parse(), Ok(code.clone()), "{typed}");
        }
        assert!(!format!("{code:?}").contains(&code.letters()));
    }

    #[test]
    fn what_is_no_code_is_none() {
        for text in ["", "BCDF-GHJ", "BCDF-GHJKL", "ACDF-GHJK", "BCDF-GHJ0", "BCDF_GHJK", "ßCDFGHJ"]
        {
            assert_eq!(text.parse::<UserCode>(), Err(()), "{text}");
        }
        assert_eq!(" ".repeat(100).parse::<UserCode>(), Err(()));
    }

    #[test]
    fn every_letter_comes_about_as_often() {
        let mut counts = [0_u32; 20];
        for byte in 0..=255 {
            if let Some(letter) = unbiased(byte) {
                counts[ALPHABET.iter().position(|l| *l == letter).unwrap()] += 1;
            }
        }
        assert_eq!(counts, [12; 20]);
    }
}
