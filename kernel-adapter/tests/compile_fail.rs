//! What must not compile, with the compiler's words pinned: the proof types are the lock.

#[test]
fn a_dispatch_that_was_not_decided_and_written_down_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
