//! What must not compile. The messages are pinned, so that it fails for the reason that is meant.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

#[test]
fn a_secret_does_not_open_without_the_proof() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
