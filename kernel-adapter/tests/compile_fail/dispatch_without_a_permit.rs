//! A receipt alone is no clearance.
use portcullis_audit::IntentReceipt;
use portcullis_kernel_adapter::{Dispatcher, NoLender, ResolvedCall};

async fn bypass(dispatcher: &Dispatcher, receipt: IntentReceipt, call: ResolvedCall) {
    dispatcher.call(receipt, call, &NoLender).await;
}

fn main() {}
