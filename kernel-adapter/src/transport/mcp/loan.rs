//! The headers that are on loan to one connection, for as long as a call uses it.
//!
//! The SDK sends more than calls: answers to the server's questions, word that a call was given up, the
//! stream of events. All of that goes out with what some call has on loan at that moment, and not at
//! all when no call has. A connection has one version of each value: a call with another one takes
//! another connection.

use std::sync::Arc;

use tokio::sync::watch;

use crate::lend::Headers;

/// What a connection shows its server now; empty while nobody calls.
#[derive(Clone)]
pub(super) struct OnLoan(Arc<watch::Sender<Counter>>);

#[derive(Default)]
struct Counter {
    users: usize,
    headers: Option<Arc<Headers>>,
}

/// Holds headers on loan; the last one that is dropped takes them away.
#[derive(Default)]
pub(super) struct Shown(Option<OnLoan>);

impl Default for OnLoan {
    fn default() -> OnLoan {
        OnLoan(Arc::new(watch::Sender::new(Counter::default())))
    }
}

impl OnLoan {
    pub(super) fn show(&self, headers: Arc<Headers>) -> Shown {
        self.0.send_modify(|counter| {
            counter.users = counter.users.saturating_add(1);
            counter.headers = Some(headers);
        });
        Shown(Some(self.clone()))
    }

    /// What is on loan now.
    pub(super) fn now(&self) -> Option<Arc<Headers>> {
        self.0.borrow().headers.clone()
    }

    /// What is on loan now, or to the next call.
    pub(super) async fn next(&self) -> Option<Arc<Headers>> {
        let mut changes = self.0.subscribe();
        let there = changes.wait_for(|counter| counter.headers.is_some()).await.ok()?;
        there.headers.clone()
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let Some(on_loan) = &self.0 else { return };
        on_loan.0.send_modify(|counter| {
            counter.users = counter.users.saturating_sub(1);
            if counter.users == 0 {
                counter.headers = None;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers() -> Arc<Headers> {
        let name = HeaderName::from_static("x-api-key");
        Arc::new(vec![(name, HeaderValue::from_static("lent"))])
    }

    #[tokio::test]
    async fn headers_are_on_loan_for_as_long_as_one_call_has_them() {
        let on_loan = OnLoan::default();
        let waiting = tokio::spawn({
            let on_loan = on_loan.clone();
            async move { on_loan.next().await }
        });
        assert!(on_loan.now().is_none());
        let first = on_loan.show(headers());
        let second = on_loan.show(headers());
        assert!(waiting.await.unwrap().is_some());
        drop(first);
        assert!(on_loan.now().is_some());
        drop(second);
        assert!(on_loan.now().is_none());
    }
}
