//! A clearance cannot be made up.
use portcullis_kernel_adapter::{Cleared, ResolvedCall};

fn bypass(call: &ResolvedCall) -> Cleared {
    Cleared { op: call.op(), call_digest: *call.digest() }
}

fn main() {}
