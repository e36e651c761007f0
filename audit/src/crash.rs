//! Named crash points for the kill rounds.
//!
//! With the feature `failpoints`, a point whose configured action is `return` kills its own
//! process with SIGKILL, so that nothing (no destructor, no flush) runs after it. Configure with
//! `FAILPOINTS="ledger_before_write=3*off->return"`: fires at the fourth pass. Without the
//! feature a point is an empty function.

/// Kills the own process when the point is configured to fire; nothing otherwise.
#[macro_export]
macro_rules! crash_point {
    ($name:expr) => {
        $crate::crash::reached($name)
    };
}

/// What [`crate::crash_point!`] calls.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub const fn reached(_name: &str) {}

/// What [`crate::crash_point!`] calls.
#[cfg(feature = "failpoints")]
pub fn reached(name: &str) {
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
