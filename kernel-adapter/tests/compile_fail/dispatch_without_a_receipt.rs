//! A permit alone is no clearance.
use portcullis_kernel_adapter::{Dispatcher, NoLender, ResolvedCall};
use portcullis_policies::Permit;

async fn bypass(dispatcher: &Dispatcher, permit: Permit, call: ResolvedCall) {
    dispatcher.call(permit, call, &NoLender).await;
}

fn main() {}
