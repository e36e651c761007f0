//! A clearance cannot be copied.
use portcullis_kernel_adapter::Cleared;

fn bypass(cleared: &Cleared) -> Cleared {
    Cleared::clone(cleared)
}

fn main() {}
