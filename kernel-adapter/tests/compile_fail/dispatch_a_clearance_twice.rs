//! One clearance is one dispatch.
use portcullis_kernel_adapter::{Cleared, Dispatcher, NoLender, ResolvedCall};

async fn bypass(dispatcher: &Dispatcher, cleared: Cleared, one: ResolvedCall, two: ResolvedCall) {
    let _ = dispatcher.call(cleared, one, &NoLender).await;
    let _ = dispatcher.call(cleared, two, &NoLender).await;
}

fn main() {}
