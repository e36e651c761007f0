//! One permit joins one receipt.
use portcullis_audit::IntentReceipt;
use portcullis_kernel_adapter::Cleared;
use portcullis_policies::Permit;

fn bypass(permit: Permit, one: IntentReceipt, two: IntentReceipt) {
    let _first = Cleared::join(permit, one);
    let _second = Cleared::join(permit, two);
}

fn main() {}
