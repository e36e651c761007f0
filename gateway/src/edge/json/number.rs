//! Whether numbers survive a round trip through the types that serde_json keeps them in.

use super::{JsonError, JsonFault};

/// The exact readings of all numbers that serde_json keeps as `f64`, in the order of the text,
/// which is already known to be valid JSON.
pub(super) fn exact_floats(bytes: &[u8]) -> Result<Vec<f64>, JsonError> {
    let mut floats = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let rest = bytes.get(at..).unwrap_or_default();
        match byte {
            b'"' => at += string_len(rest),
            b'-' | b'0'..=b'9' => {
                let len = rest.iter().take_while(|byte| is_number_byte(**byte)).count();
                let token = rest.get(..len).and_then(|token| std::str::from_utf8(token).ok());
                match token.and_then(read_token).ok_or_else(|| refuse_at(bytes, at))? {
                    Token::Integer => {}
                    Token::Float(value) => floats.push(value),
                }
                at += len;
            }
            _ => at += 1,
        }
    }
    Ok(floats)
}

enum Token {
    Integer,
    Float(f64),
}

/// Reads a number token; `None` when it would change its value.
fn read_token(token: &str) -> Option<Token> {
    if !token.contains(['.', 'e', 'E']) {
        let fits = token.parse::<i64>().is_ok() || token.parse::<u64>().is_ok();
        return match token {
            "-0" => Some(Token::Float(-0.0)), // serde_json keeps the sign by making it a float
            _ => fits.then_some(Token::Integer),
        };
    }
    let value = token.parse::<f64>().ok().filter(|value| value.is_finite())?;
    // As serde_json writes it and not as `{:e}` does: of two shortest spellings that are equally
    // near, serde_json (like JavaScript and Python) takes the even one, the standard library the upper.
    let written = serde_json::Number::from_f64(value)?.to_string();
    (Decimal::read(&written)? == Decimal::read(token)?).then_some(Token::Float(value))
}

/// A decimal number as its significant digits and the power of ten of the first one: equal values
/// are equal whatever their spelling. The sign of zero is kept out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    magnitude: i64,
}

impl Decimal {
    /// Reads a JSON number token; `None` when its exponent is beyond any `f64`.
    pub(super) fn read(token: &str) -> Option<Decimal> {
        let (negative, token) = match token.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, token),
        };
        let (mantissa, exponent) = match token.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (token, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let leading = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..leading);
        digits.truncate(digits.len() - digits.iter().rev().take_while(|d| **d == b'0').count());
        if digits.is_empty() {
            return Some(Decimal { negative: false, digits, magnitude: 0 });
        }
        let shift = i64::try_from(whole.len()).ok()? - i64::try_from(leading).ok()?;
        let magnitude = exponent.checked_add(shift)?;
        Some(Decimal { negative, digits, magnitude })
    }
}

/// Length of a string literal with both quotes.
fn string_len(literal: &[u8]) -> usize {
    let mut escaped = false;
    for (at, byte) in literal.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    literal.len()
}

const fn is_number_byte(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
}

fn refuse_at(bytes: &[u8], at: usize) -> JsonError {
    let before = bytes.get(..at).unwrap_or_default();
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    JsonError { fault: JsonFault::InexactNumber, line, column }
}
