//! Hides the length of a value: ISO/IEC 7816-4 padding up to a bucket.
//!
//! Buckets are 64 bytes at least, above that those of Padmé (Nikitin et al., "Reducing Metadata Leakage
//! from Encrypted Files and Communication with PURBs", PETS 2019): at most 12 % longer, and the length
//! tells O(log log n) bits. So a 36-byte token and a 40-byte password look the same.

/// Shortest padded text in bytes.
pub(crate) const SMALLEST: usize = 64;

const MARK: u8 = 0x80;

/// Appends `text`, a mark and zeros. The caller has reserved [`padded_len`] bytes: a buffer that grows
/// leaves a copy of the plaintext behind.
pub(crate) fn pad_into(into: &mut Vec<u8>, text: &[u8]) {
    let end = into.len() + padded_len(text.len());
    into.extend_from_slice(text);
    into.push(MARK);
    into.resize(end, 0);
}

/// Length of the text inside its padding; none when there is no mark.
pub(crate) fn unpadded_len(padded: &[u8]) -> Option<usize> {
    let mark = padded.iter().rposition(|byte| *byte != 0)?;
    (padded.get(mark) == Some(&MARK)).then_some(mark)
}

/// Length of a text of `length` bytes after padding.
pub(crate) fn padded_len(length: usize) -> usize {
    let marked = length.saturating_add(1).max(SMALLEST);
    let exponent = marked.ilog2();
    let kept_bits = exponent.ilog2() + 1;
    let mask = (1_usize << exponent.saturating_sub(kept_bits)) - 1;
    marked.saturating_add(mask) & !mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_values_share_one_length() {
        assert_eq!(padded_len(0), 64);
        assert_eq!(padded_len(63), 64);
        assert_eq!(padded_len(64), 72);
    }

    #[test]
    fn a_text_without_mark_is_refused() {
        assert_eq!(unpadded_len(&[0; 64]), None);
        assert_eq!(unpadded_len(&[1; 64]), None);
    }

    proptest! {
        #[test]
        fn padding_comes_off_again(text in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut padded = Vec::new();
            pad_into(&mut padded, &text);
            prop_assert_eq!(unpadded_len(&padded), Some(text.len()));
            prop_assert_eq!(&padded[..text.len()], &text[..]);
        }

        #[test]
        fn padding_costs_at_most_an_eighth(length in 64_usize..1 << 24) {
            let padded = padded_len(length);
            prop_assert!(padded > length && padded <= length + length / 8 + 1);
        }
    }
}
