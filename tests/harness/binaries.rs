//! Where the binaries under test are: beside the test executable, so that both are of one build.

use std::path::PathBuf;

/// The executable `name` of the target folder that this test was built into.
///
/// Panics with the command that builds it when it is not there.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of the running test");
    // target/<profile>/deps/<test>-<hash>
    let profile = test.parent().and_then(std::path::Path::parent).expect("target/<profile>/deps");
    let binary = profile.join(name);
    assert!(
        binary.is_file(),
        "{} is not built; run: cargo build -p portcullis -p portcullis-audit --features portcullis/failpoints",
        binary.display()
    );
    binary
}
