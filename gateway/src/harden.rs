//! What keeps plaintext inside the process: no core dumps, no other process of the user looks in, no
//! panic message quotes what was in hand.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Prepares the process; call it first in `main`, before any secret is read.
///
/// # Errors
/// When the system does not allow it: then nothing should be run.
pub fn process() -> std::io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // Also closes /proc/<pid>/mem and ptrace to other processes of the same user.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    std::panic::set_hook(Box::new(report));
    Ok(())
}

/// Where it happened and nothing of what: a payload may quote a value that was being handled.
fn report(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map_or_else(String::new, |at| format!(" at {at}"));
    crate::command::panicked(&place);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_closed_to_dumps_and_to_other_processes() {
        process().unwrap();
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        let limit = rustix::process::getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
    }
}
