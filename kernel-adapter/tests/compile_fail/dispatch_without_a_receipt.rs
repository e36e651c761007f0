//! A permit alone is no clearance.
use portcullis_kernel_adapter::{Dispatcher, ResolvedCall};
use portcullis_policies::Permit;

async fn bypass(dispatcher: &Dispatcher, permit: Permit, call: ResolvedCall) {
    dispatcher.call(permit, call).await;
}

fn main() {}
