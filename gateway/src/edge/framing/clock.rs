//! A deadline that is cheap to move later.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// One timer for all waits of one direction of a connection. Moving a deadline later costs
/// nothing until the old one passes: the timer wheel is touched every few seconds, not for every
/// request.
#[derive(Debug)]
pub(in crate::edge) struct Clock {
    sleep: Pin<Box<Sleep>>,
}

impl Clock {
    pub(in crate::edge) fn new(first: Duration) -> Clock {
        Clock { sleep: Box::pin(sleep(first)) }
    }

    /// Whether `deadline` has passed; if not, the task is woken when it does.
    pub(in crate::edge) fn poll_passed(
        &mut self,
        cx: &mut Context<'_>,
        deadline: Instant,
    ) -> Poll<()> {
        if self.sleep.deadline() > deadline {
            self.sleep.as_mut().reset(deadline);
        }
        while self.sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}
