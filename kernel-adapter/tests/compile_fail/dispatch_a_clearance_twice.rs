//! One clearance is one dispatch.
use portcullis_kernel_adapter::{Cleared, Dispatcher, ResolvedCall};

async fn bypass(dispatcher: &Dispatcher, cleared: Cleared, one: ResolvedCall, two: ResolvedCall) {
    let _ = dispatcher.call(cleared, one).await;
    let _ = dispatcher.call(cleared, two).await;
}

fn main() {}
