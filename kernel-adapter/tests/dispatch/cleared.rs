//! What a clearance proves.

use std::time::Duration;

use portcullis_kernel_adapter::{
    Class, Cleared, Dispatcher, DispatcherOptions, NoLender, NotTheSameCall, Outcome,
};
use serde_json::json;

use crate::support::{at, nobody, notes};

const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn refuses_a_receipt_of_another_call() {
    let house = notes(at(nobody().await));
    let one = house.call("notes/delete", &json!({"id": 1}), LONG);
    let other = house.call("notes/delete", &json!({"id": 1}), LONG);
    let joined = Cleared::join(house.permit(&one), house.receipt(&other).await);
    assert_eq!(joined.unwrap_err(), NotTheSameCall::Operation);
}

#[tokio::test]
async fn refuses_a_receipt_for_other_arguments_of_the_same_operation() {
    let house = notes(at(nobody().await));
    let one = house.call("notes/delete", &json!({"id": 1}), LONG);
    let swapped = portcullis_kernel_adapter::ResolvedCall::new(
        one.op(),
        one.app().clone(),
        one.tool().clone(),
        bytes::Bytes::from_static(b"{\"id\":2}"),
        one.caller().clone(),
        one.deadline(),
    );
    let joined = Cleared::join(house.permit(&one), house.receipt(&swapped).await);
    assert_eq!(joined.unwrap_err(), NotTheSameCall::Digest);
}

#[tokio::test]
async fn refuses_to_dispatch_a_clearance_for_another_call() {
    let (address, seen) = crate::support::scripted(vec![]).await;
    let house = notes(at(address));
    let dispatcher = Dispatcher::new(DispatcherOptions::default());
    let cleared = house.clear(&house.call("notes/list", &json!({}), LONG)).await;
    let other = house.call("notes/delete", &json!({}), LONG);
    let outcome = dispatcher.call(cleared, other, &NoLender).await;
    assert_eq!(outcome.class(), Some(Class::NotTheSameCall));
    assert_eq!(outcome.status(), "failed");
    assert_eq!(seen.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_call_whose_deadline_passed_is_not_sent() {
    let (address, seen) = crate::support::scripted(vec![]).await;
    let house = notes(at(address));
    let dispatcher = Dispatcher::new(DispatcherOptions::default());
    let call = house.call("notes/save", &json!({}), Duration::ZERO);
    let outcome = dispatcher.call(house.clear(&call).await, call, &NoLender).await;
    assert!(matches!(outcome, Outcome::Failed { class: Class::TooLate, .. }), "{outcome:?}");
    assert_eq!(seen.load(std::sync::atomic::Ordering::SeqCst), 0);
}
