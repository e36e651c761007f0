//! What must not compile: a permit that nobody decided. The messages are pinned, so that it fails for the right reason.

#[test]
fn permit_cannot_be_made_copied_or_stored_outside() {
    trybuild::TestCases::new().compile_fail("tests/fail/*.rs");
}
