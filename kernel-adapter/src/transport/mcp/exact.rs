//! Arguments as an MCP client library takes them: values, which it spells anew (`1e2` as `100.0`, escapes as letters).
//! What was decided and shown are exact bytes, so every value must survive that; a number that does not, because it
//! has more digits than a 64-bit number keeps, is not sent.
//!
//! INVARIANT: what is sent has the value of what was decided (`a_number_is_sent_as_it_is_or_not_at_all`).

use std::collections::BTreeMap;

use rmcp::model::JsonObject;
use serde_json::value::RawValue;

/// Why the arguments are not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Inexact {
    /// They are no JSON object.
    #[error("the arguments are no JSON object")]
    NoObject,
    /// A number would arrive as another one.
    #[error(
        "the number {0} has more digits than an MCP call keeps; send fewer, or send it as a text"
    )]
    Number(String),
}

/// Reads the arguments of a call.
pub(super) fn arguments(bytes: &[u8]) -> Result<JsonObject, Inexact> {
    let read = || serde_json::from_slice(bytes).map_err(|_| Inexact::NoObject);
    numbers_survive(read()?)?;
    serde_json::from_slice(bytes).map_err(|_| Inexact::NoObject)
}

/// As deep as the JSON reader goes, which has its own bound.
fn numbers_survive(raw: &RawValue) -> Result<(), Inexact> {
    let no_object = |_| Inexact::NoObject;
    match raw.get().as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> =
                serde_json::from_str(raw.get()).map_err(no_object)?;
            members.into_values().try_for_each(numbers_survive)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(no_object)?;
            items.into_iter().try_for_each(numbers_survive)
        }
        Some(b'-' | b'0'..=b'9') => {
            let number: serde_json::Number = serde_json::from_str(raw.get()).map_err(no_object)?;
            match decimal(raw.get()) == decimal(&number.to_string()) {
                true => Ok(()),
                false => Err(Inexact::Number(raw.get().chars().take(80).collect())),
            }
        }
        _ => Ok(()),
    }
}

/// A number of JSON's grammar as sign, digits without zeros at either end, and the power of ten of the last digit.
/// `None` for an exponent that no 64-bit number has.
fn decimal(text: &str) -> Option<(bool, String, i64)> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let mut power: i64 = exponent.parse().ok()?;
    let negative = mantissa.starts_with('-');
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = format!("{}{fraction}", whole.trim_start_matches('-'));
    power = power.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let kept = digits.trim_end_matches('0').len();
    power = power.checked_add(i64::try_from(digits.len() - kept).ok()?)?;
    digits.truncate(kept);
    let digits = digits.trim_start_matches('0').to_owned();
    // Zero has one sign and one power here: no app tells -0 from 0 by what it is asked to do.
    if digits.is_empty() { Some((false, digits, 0)) } else { Some((negative, digits, power)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sent(number: &str) -> Result<String, Inexact> {
        let read = arguments(format!(r#"{{"a":[{{"b":{number}}}]}}"#).as_bytes())?;
        Ok(read["a"][0]["b"].to_string())
    }

    #[test]
    fn a_number_is_sent_as_it_is_or_not_at_all() {
        for number in [
            "0",
            "-0",
            "1e2",
            "1.00E+2",
            "0.1",
            "-12.50",
            "1e-7",
            "9007199254740993",
            "18446744073709551615",
            "-9223372036854775808",
            "1.7976931348623157e308",
            "0e999",
        ] {
            let sent = sent(number).unwrap();
            assert_eq!(decimal(&sent), decimal(number), "{number} as {sent}");
        }
        for number in [
            "18446744073709551617",
            "-9223372036854775809",
            "123456789012345678901234567890",
            "0.1234567890123456789",
            "9007199254740993.0",
            "1e-400",
        ] {
            assert_eq!(sent(number), Err(Inexact::Number(number.to_owned())), "{number}");
        }
    }

    #[test]
    fn what_is_no_object_is_not_sent() {
        for bytes in ["", "[]", "1", "null", r#"{"a":1e999}"#, r#"{"a":"#] {
            assert_eq!(arguments(bytes.as_bytes()), Err(Inexact::NoObject), "{bytes}");
        }
        let texts = r#"{"a":"123456789012345678901234567890","b":true,"c":null}"#;
        assert!(arguments(texts.as_bytes()).is_ok(), "a text keeps all its digits");
    }

    proptest! {
        #[test]
        fn any_number_of_sixty_four_bits_is_sent(whole: i64, natural: u64, real: f64) {
            prop_assert!(sent(&whole.to_string()).is_ok());
            prop_assert!(sent(&natural.to_string()).is_ok());
            if real.is_finite() {
                let real = format!("{real:?}");
                prop_assert!(sent(&real).is_ok(), "{}", real);
            }
        }
    }
}
