//! A receipt alone is no clearance.
use portcullis_audit::IntentReceipt;
use portcullis_kernel_adapter::{Dispatcher, ResolvedCall};

async fn bypass(dispatcher: &Dispatcher, receipt: IntentReceipt, call: ResolvedCall) {
    dispatcher.call(receipt, call).await;
}

fn main() {}
