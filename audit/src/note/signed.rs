//! A note and its signature lines, not yet believed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::BadNote;

/// Longest note that is read; a checkpoint has a few hundred bytes.
pub const MAX_NOTE_BYTES: usize = 64 * 1024;

/// Most signatures that a note may have; the specification asks for at least 16.
pub const MAX_SIGNATURES: usize = 64;

/// A note in its form. Its text must not be used before a key has verified it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote<'a> {
    text: &'a str,
    signatures: Vec<Signature<'a>>,
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature<'a> {
    /// Name of the key.
    pub name: &'a str,
    /// Key id: tells keys of the same name apart.
    pub id: [u8; 4],
    /// What the key's type says; of any length.
    pub bytes: Vec<u8>,
}

impl<'a> SignedNote<'a> {
    /// Splits a note into its text and its signatures, of which it has 1 to [`MAX_SIGNATURES`].
    ///
    /// # Errors
    /// [`BadNote::Form`], [`BadNote::TooManySignatures`].
    pub fn parse(note: &'a str) -> Result<Self, BadNote> {
        let bad = note.len() > MAX_NOTE_BYTES
            || note.bytes().any(|b| b < 0x20 && b != b'\n')
            || !note.ends_with('\n');
        if bad {
            return Err(BadNote::Form);
        }
        let at = note.rfind("\n\n").ok_or(BadNote::Form)?;
        let (text, lines) = note.split_at_checked(at + 1).ok_or(BadNote::Form)?;
        let lines = lines.strip_prefix('\n').ok_or(BadNote::Form)?;
        let signatures = parse_lines(lines)?;
        if signatures.is_empty() { Err(BadNote::Form) } else { Ok(Self { text, signatures }) }
    }

    /// The text, with its final newline.
    #[must_use]
    pub const fn text(&self) -> &'a str {
        self.text
    }

    /// The signatures in their order, of known and unknown keys.
    #[must_use]
    pub fn signatures(&self) -> &[Signature<'a>] {
        &self.signatures
    }
}

/// Adds signature lines to a note; those that it has already are left out.
///
/// # Errors
/// [`BadNote::Form`], [`BadNote::TooManySignatures`].
pub fn append(note: &str, lines: &str) -> Result<String, BadNote> {
    let parsed = SignedNote::parse(note)?;
    let mut grown = note.to_owned();
    for (line, signature) in lines.split_inclusive('\n').zip(parse_lines(lines)?) {
        if !parsed.signatures.contains(&signature) {
            grown.push_str(line);
        }
    }
    SignedNote::parse(&grown)?;
    Ok(grown)
}

/// Lines of signatures as the answer of a witness has them.
pub(crate) fn parse_lines(lines: &str) -> Result<Vec<Signature<'_>>, BadNote> {
    if lines.bytes().filter(|b| *b == b'\n').count() > MAX_SIGNATURES {
        return Err(BadNote::TooManySignatures);
    }
    lines.split_inclusive('\n').map(parse_line).collect()
}

/// Writes a signature line.
pub(super) fn signature_line(name: &str, id: [u8; 4], signature: &[u8]) -> String {
    format!("\u{2014} {name} {}\n", BASE64.encode([&id, signature].concat()))
}

pub(super) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('+') && !name.contains(char::is_whitespace)
}

fn parse_line(line: &str) -> Result<Signature<'_>, BadNote> {
    let rest = line.strip_prefix("\u{2014} ").and_then(|rest| rest.strip_suffix('\n'));
    let (name, signature) = rest.and_then(|rest| rest.split_once(' ')).ok_or(BadNote::Form)?;
    let signature = BASE64.decode(signature).map_err(|_| BadNote::Form)?;
    match signature.split_first_chunk::<4>() {
        Some((id, bytes)) if is_key_name(name) => {
            Ok(Signature { name, id: *id, bytes: bytes.to_vec() })
        }
        _ => Err(BadNote::Form),
    }
}
