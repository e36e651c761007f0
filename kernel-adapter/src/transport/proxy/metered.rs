//! A body that counts and hashes what passes, and tells its end to whoever waits for it.
//!
//! The telling is a channel, not a destructor: a body that is dropped before its end tells nothing,
//! and the waiting side reads that as "the client went away".

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::outcome::bounded;
use crate::transport::{Body, BoxError};

/// Size and hash of a body that passed whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 of them.
    pub sha256: [u8; 32],
}

/// How a body ended.
#[derive(Debug)]
pub(super) enum Ending {
    Whole(Tally),
    Broken(String),
}

impl Ending {
    pub(super) fn tally(&self) -> Option<Tally> {
        match self {
            Ending::Whole(tally) => Some(*tally),
            Ending::Broken(_) => None,
        }
    }
}

/// A body under watch. Trailers are dropped: they would be headers that nobody checked.
pub(super) struct Metered {
    inner: Body,
    hash: Sha256,
    bytes: u64,
    tell: Option<oneshot::Sender<Ending>>,
    idle: Duration,
    /// Set when there is first something to wait for; most bodies come with their head.
    alarm: Option<Pin<Box<Sleep>>>,
    /// When the last frame came, or the body.
    since: Instant,
}

impl Metered {
    pub(super) fn new(inner: Body, idle: Duration) -> (Metered, oneshot::Receiver<Ending>) {
        let (tell, ending) = oneshot::channel();
        let mut metered = Metered {
            inner,
            hash: Sha256::new(),
            bytes: 0,
            tell: Some(tell),
            idle,
            alarm: None,
            since: Instant::now(),
        };
        metered.end_if_over();
        (metered, ending)
    }

    /// Whoever reads a body may stop at the last frame without asking for the end.
    fn end_if_over(&mut self) {
        if self.inner.is_end_stream() {
            self.end_whole();
        }
    }

    fn end_whole(&mut self) {
        let tally = Tally { bytes: self.bytes, sha256: self.hash.clone().finalize().into() };
        self.tell(Ending::Whole(tally));
    }

    fn tell(&mut self, ending: Ending) {
        if let Some(tell) = self.tell.take() {
            // Nobody waits when the call was given up; then nobody needs to know.
            let _ = tell.send(ending);
        }
    }

    /// Ready when nothing came for the idle limit.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.since + self.idle;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if alarm.deadline() != due {
            alarm.as_mut().reset(due);
        }
        alarm.as_mut().poll(cx)
    }

    fn broken(&mut self, why: BoxError) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.tell(Ending::Broken(bounded(&why)));
        Poll::Ready(Some(Err(why)))
    }
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
                ready!(self.poll_idle(cx));
                return self.broken("no data within the idle limit".into());
            };
            self.since = Instant::now();
            match frame {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    self.hash.update(&data);
                    self.bytes += data.len() as u64;
                    self.end_if_over();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(e)) => return self.broken(e),
                None => {
                    self.end_whole();
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
