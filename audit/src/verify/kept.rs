//! The file in which a caller keeps what its answers promised.

use super::counts::Kept;
use crate::promise::Promise;
use crate::session_seq::Counted;

/// The headers of an answer that are kept, and what any other header of the gateway's begins with.
const PROMISE: &str = "x-portcullis-promise:";
const NUMBER: &str = "x-portcullis-session-seq:";
const OURS: &str = "x-portcullis-";

/// What a file of kept answers says, each with a name for reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptFile {
    /// Signed promises, as notes.
    pub promises: Vec<(String, String)>,
    /// Numbers that came without being signed.
    pub numbers: Vec<Kept>,
}

impl KeptFile {
    /// Reads a file of header lines as they came (`x-portcullis-promise: ...`,
    /// `x-portcullis-session-seq: ...`), or of bare values of these headers. Other headers of the
    /// gateway's, empty lines and `#` comments are passed over.
    ///
    /// # Errors
    /// The line that is none of these, or that nothing was kept.
    pub fn parse(file: &str, text: &str) -> Result<Self, String> {
        let mut kept = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            let name = format!("{file}, line {}", index + 1);
            let header = line.to_ascii_lowercase();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let value = if header.starts_with(PROMISE) || header.starts_with(NUMBER) {
                line.split_once(':').map_or(line, |(_, value)| value.trim())
            } else if header.starts_with(OURS) {
                continue;
            } else {
                line
            };
            if let Some(counted) = Counted::parse(value) {
                kept.numbers.push(Kept { name, counted, signed: false });
            } else if let Some(note) =
                Promise::note_from(value).filter(|note| Promise::origin_of(note).is_some())
            {
                kept.promises.push((name, note));
            } else {
                return Err(format!(
                    "{name}: it is no value of `x-portcullis-promise` or `x-portcullis-session-seq`"
                ));
            }
        }
        if kept.promises.is_empty() && kept.numbers.is_empty() {
            return Err(format!("{file}: it has no promise and no number of an answer"));
        }
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::LogKey;
    use crate::session_seq::SessionSeq;

    #[test]
    fn header_lines_and_bare_values_are_kept_and_anything_else_is_named() {
        use base64::Engine as _;
        let key = LogKey::from_seed(&[7; 32]).unwrap();
        let session = Some(SessionSeq { since: 4, number: 3 });
        let promise = Promise { origin: "d/t/x".to_owned(), seq: 7, leaf: [9; 32], session };
        let note = promise.sign(&key);
        let value = base64::engine::general_purpose::STANDARD.encode(&note);
        let number = "3;since=4;log=\"d/t/x\"";
        let text = format!(
            "# mine\n\nX-Portcullis-Promise: {value}\r\nx-portcullis-op: 1\n{number}\n\
             x-portcullis-session-seq: {number}\n{value}\n"
        );
        let kept = KeptFile::parse("f", &text).unwrap();
        let name = |line: u32| format!("f, line {line}");
        assert_eq!(kept.promises, [(name(3), note.clone()), (name(7), note)]);
        let names: Vec<&str> = kept.numbers.iter().map(|kept| kept.name.as_str()).collect();
        assert_eq!(names, [name(5), name(6)]);
        assert!(KeptFile::parse("f", &format!("{number}\nhello")).unwrap_err().contains("line 2"));
        assert!(KeptFile::parse("f", "# none\n").is_err());
    }
}
