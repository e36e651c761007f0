//! Named crash points for the kill rounds.
//!
//! With the feature `failpoints`, a point whose configured action is `return` kills its own process with
//! SIGKILL, so that nothing (no destructor, no flush) runs after it. Configure with
//! `FAILPOINTS="vault_rewrap_before_replace=3*off->return"`: fires at the fourth pass. Without the feature
//! a point is an empty function.

#[cfg(not(feature = "failpoints"))]
#[inline]
pub(crate) const fn reached(_name: &str) {}

#[cfg(feature = "failpoints")]
pub(crate) fn reached(name: &str) {
    configure_from_environment();
    if fail::eval(name, |_| ()).is_some() {
        // A failing kill would let the round go on and report a false pass, so wait for the end.
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

/// `fail::FailScenario` is bound to the thread that made it; the points here are passed on others.
#[cfg(feature = "failpoints")]
fn configure_from_environment() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let written = std::env::var("FAILPOINTS").unwrap_or_default();
        for (name, actions) in written.split(';').filter_map(|point| point.split_once('=')) {
            if let Err(why) = fail::cfg(name.trim(), actions.trim()) {
                tracing::error!(name, why, "a failpoint is not valid; it stays off");
            }
        }
    });
}
