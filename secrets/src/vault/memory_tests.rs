//! What is dropped is not found in the process's own memory any more.

use crate::context::{Context, Purpose, Scope};
use crate::vault::Vault;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::FileExt as _;

/// A value that stands nowhere in memory as it is: two parts, whose exclusive or it is.
struct Hidden([u8; 32], [u8; 32]);

impl Hidden {
    fn of(value: &[u8]) -> Self {
        let mask: [u8; 32] = crate::single_use::random().unwrap();
        let mut masked = mask;
        masked.iter_mut().zip(value).for_each(|(byte, of)| *byte ^= of);
        Self(mask, masked)
    }

    fn is(&self, window: &[u8]) -> bool {
        // Nearly every window ends here; the rest would make a search of minutes.
        if window[0] != self.0[0] ^ self.1[0] {
            return false;
        }
        window.iter().zip(self.0.iter().zip(&self.1)).all(|(byte, (a, b))| *byte == a ^ b)
    }
}

/// How often the value stands in the writable memory of this process, the search's own buffer left out.
fn found(hidden: &Hidden) -> usize {
    let memory = File::open("/proc/self/mem").unwrap();
    let maps = BufReader::new(File::open("/proc/self/maps").unwrap());
    let mut buffer = vec![0; 1 << 20];
    let own = buffer.as_ptr() as u64..buffer.as_ptr() as u64 + buffer.len() as u64;
    let mut count = 0;
    for line in maps.lines().map(Result::unwrap) {
        let (range, rest) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let from = u64::from_str_radix(from, 16).unwrap();
        let to = u64::from_str_radix(to, 16).unwrap();
        if !rest.starts_with("rw") {
            continue;
        }
        let mut at = from;
        while at < to {
            let length = buffer.len().min((to - at) as usize);
            let Ok(read) = memory.read_at(&mut buffer[..length], at) else { break };
            let windows = buffer[..read].windows(32).enumerate();
            count += windows
                .filter(|(offset, window)| {
                    !own.contains(&(at + *offset as u64)) && hidden.is(window)
                })
                .count();
            // The next reading overlaps, so that nothing hides on a border.
            at += if length == buffer.len() { (length - 31) as u64 } else { length as u64 };
        }
    }
    buffer.fill(0);
    count
}

/// Writes over the part of the stack that the calls before may have used.
#[inline(never)]
fn scrub_stack() {
    let mut page = [0_u8; 256 << 10];
    std::hint::black_box(&mut page);
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

#[test]
fn a_dropped_lease_leaves_no_plaintext_in_memory() {
    let vault = Vault::<()>::ephemeral().unwrap();
    let scope = Scope::new("t", "u", "x").unwrap();
    let context = Context::new(scope, "n", Purpose::Confirmation).unwrap();
    let hidden = Hidden(crate::single_use::random().unwrap(), crate::single_use::random().unwrap());
    let mut plaintext = zeroize::Zeroizing::new(vec![0; 32]);
    plaintext.iter_mut().zip(hidden.0.iter().zip(&hidden.1)).for_each(|(at, (a, b))| *at = a ^ b);
    let blob = run(vault.seal(&context, &plaintext)).unwrap();
    drop(plaintext);
    let lease = run(vault.open(&context, &blob)).unwrap();
    assert!(found(&hidden) > 0, "the search finds what is there");
    drop(lease);
    scrub_stack();
    assert_eq!(found(&hidden), 0);
}

#[test]
fn a_dropped_scope_key_leaves_no_key_in_memory() {
    let vault = Vault::<()>::ephemeral().unwrap();
    let scope = Scope::new("t", "u", "x").unwrap();
    let context = Context::new(scope.clone(), "n", Purpose::Confirmation).unwrap();
    let blob = run(vault.seal(&context, b"hunter2")).unwrap();
    run(vault.open(&context, &blob)).unwrap().with(|_| ());
    let hidden = {
        let key = run(vault.keys.active(&scope)).unwrap();
        Hidden::of(key.secret())
    };
    assert!(found(&hidden) > 0, "the search finds what is there");
    vault.purge_all();
    scrub_stack();
    assert_eq!(found(&hidden), 0);
}
