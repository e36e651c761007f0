//! The framer between a socket and hyper.
//!
//! In the common case a packet holds whole heads: it is read straight into hyper's buffer, judged
//! there, and nothing is copied. Only an incomplete head is held back here until it is whole.
//! After an offence hyper gets one synthetic request instead, so that it asks the gate for an
//! answer in the right order after the answers to earlier pipelined requests; then it gets nothing
//! more.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use super::clock::Clock;
use super::{Framer, HeadLimits, Inspection};
use crate::edge::connection_state::{ConnectionState, Offence, Place};
use crate::edge::limits::Limits;
use crate::edge::malformed::Reason;

/// What hyper reads instead of a refused head.
const SYNTHETIC: &[u8] = b"GET / HTTP/1.1\r\nhost: refused.invalid\r\nconnection: close\r\n\r\n";
/// RFC 9113 section 3.4.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes read in one go while a head is incomplete.
const HELD_STEP: usize = 4096;
/// Bytes read and thrown away after the last answer.
const LINGER_BYTES: usize = 256 * 1024;

/// A socket whose read side is judged before hyper sees it.
#[derive(Debug)]
pub(in crate::edge) struct Guarded<T> {
    socket: T,
    limits: Limits,
    state: Arc<ConnectionState>,
    mode: Mode,
    /// Bytes read but not passed on; the first `ready` of them are sound.
    held: BytesMut,
    ready: usize,
    read_clock: Clock,
    /// Since when the peer owes the rest of a head or the next bytes of a body.
    owing_since: Option<Instant>,
    write_clock: Option<Clock>,
    write_stalled_since: Option<Instant>,
    linger_left: usize,
    lingering_since: Option<Instant>,
}

#[derive(Debug)]
enum Mode {
    /// Not known yet which version is spoken.
    Detecting,
    Http1(Framer),
    /// Bytes pass; h2 does its own framing.
    Http2,
    /// Refused in a head; so much of the synthetic request is still to be given to hyper.
    RefusedHead(&'static [u8]),
    /// Refused in a body; whether hyper was told.
    RefusedBody {
        told: bool,
    },
}

/// What hyper must speak on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::edge) enum Spoken {
    Http1,
    Http2,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Guarded<T> {
    pub(in crate::edge) fn new(socket: T, limits: Limits, state: Arc<ConnectionState>) -> Self {
        Guarded {
            socket,
            limits,
            state,
            mode: Mode::Detecting,
            held: BytesMut::new(),
            ready: 0,
            read_clock: Clock::new(limits.header_timeout),
            owing_since: None,
            write_clock: None,
            write_stalled_since: None,
            linger_left: LINGER_BYTES,
            lingering_since: None,
        }
    }

    /// Reads just enough to know the version; the bytes stay for hyper.
    ///
    /// # Errors
    /// The socket's, `TimedOut` when the peer stays silent, `UnexpectedEof` when it leaves.
    pub(in crate::edge) async fn detect(&mut self) -> io::Result<Spoken> {
        std::future::poll_fn(|cx| self.poll_detect(cx)).await
    }

    fn poll_detect(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Spoken>> {
        loop {
            if self.held.starts_with(HTTP2_PREFACE) {
                self.mode = Mode::Http2;
                self.ready = self.held.len();
                return Poll::Ready(Ok(Spoken::Http2));
            }
            if !HTTP2_PREFACE.starts_with(&self.held) {
                let limits = HeadLimits {
                    max_bytes: self.limits.max_head_bytes,
                    max_fields: self.limits.max_fields,
                };
                self.mode = Mode::Http1(Framer::new(limits));
                self.owing_since = Some(self.state.opened());
                self.judge_held();
                return Poll::Ready(Ok(Spoken::Http1));
            }
            match self.poll_more(cx) {
                Poll::Ready(result) => match result? {
                    0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                    _ => continue,
                },
                Poll::Pending => {
                    let deadline = self.state.opened() + self.limits.header_timeout;
                    ready!(self.read_clock.poll_passed(cx, deadline));
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
    }

    /// Reads into `held`.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.held.reserve(HELD_STEP);
        poll_read_buf(Pin::new(&mut self.socket), cx, &mut self.held)
    }

    /// Judges what is held; `ready` grows by what is sound.
    fn judge_held(&mut self) {
        if let Mode::Http1(framer) = &mut self.mode {
            let inspection = framer.inspect(self.held.get(self.ready..).unwrap_or_default());
            self.ready += inspection.sound;
            self.after_inspection(inspection);
        }
    }

    /// Tells the gate how many heads passed, and what was refused.
    fn after_inspection(&mut self, inspection: Inspection) {
        let Mode::Http1(framer) = &self.mode else { return };
        self.state.release(framer.heads());
        if inspection.sound > 0 {
            self.owing_since = None;
        }
        if let Some(reason) = inspection.refused {
            self.refuse(reason);
        }
    }

    fn refuse(&mut self, reason: Reason) {
        let Mode::Http1(framer) = &self.mode else { return };
        let heads = framer.heads();
        let (place, request, mode) = match framer.is_at_head() {
            true => (Place::Head, heads, Mode::RefusedHead(SYNTHETIC)),
            false => (Place::Body, heads.saturating_sub(1), Mode::RefusedBody { told: false }),
        };
        self.held.truncate(self.ready);
        self.owing_since = None;
        self.state.condemn(Offence { request, place, reason });
        self.mode = mode;
    }

    /// Reads straight into hyper's buffer and judges there; whatever is not sound goes to `held`.
    fn poll_direct(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Direct>> {
        let before = out.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, out))?;
        let fresh = out.filled().get(before..).unwrap_or_default();
        if fresh.is_empty() {
            return Poll::Ready(Ok(Direct::End));
        }
        let Mode::Http1(framer) = &mut self.mode else {
            return Poll::Ready(Ok(Direct::Passed));
        };
        let inspection = framer.inspect(fresh);
        if inspection.sound < fresh.len() {
            if inspection.refused.is_none() {
                self.held.extend_from_slice(fresh.get(inspection.sound..).unwrap_or_default());
            }
            out.set_filled(before + inspection.sound);
        }
        self.after_inspection(inspection);
        match inspection.sound {
            0 => Poll::Ready(Ok(Direct::Withheld)),
            _ => Poll::Ready(Ok(Direct::Passed)),
        }
    }

    /// Waits on the clock that belongs to what the peer owes; `Ready` when it has run out.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<Lapse> {
        let limits = &self.limits;
        let is_between = match &self.mode {
            Mode::Http1(framer) => framer.is_at_head() && self.held.is_empty(),
            _ => true,
        };
        if is_between && self.owing_since.is_none() {
            let since = if self.state.is_busy() { Instant::now() } else { self.state.idle_since() };
            ready!(self.read_clock.poll_passed(cx, since + limits.idle_timeout));
            return Poll::Ready(Lapse::Idle);
        }
        let (patience, reason) = match &self.mode {
            Mode::Http1(framer) if !framer.is_at_head() => {
                (limits.body_timeout, Reason::BodyTimeout)
            }
            _ => (limits.header_timeout, Reason::HeadTimeout),
        };
        let since = *self.owing_since.get_or_insert_with(Instant::now);
        ready!(self.read_clock.poll_passed(cx, since + patience));
        Poll::Ready(Lapse::Owing(reason))
    }

    /// One turn of reading: `Ready(true)` when hyper has got what it gets for now.
    fn poll_turn(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        if self.ready > 0 {
            let count = self.ready.min(out.remaining());
            out.put_slice(self.held.get(..count).unwrap_or_default());
            self.held.advance(count);
            self.ready -= count;
            return Poll::Ready(Ok(true));
        }
        match &mut self.mode {
            Mode::RefusedHead([]) | Mode::RefusedBody { told: true } => {}
            Mode::RefusedHead(left) => {
                let count = left.len().min(out.remaining());
                let (now, later) = left.split_at_checked(count).unwrap_or((left, b""));
                out.put_slice(now);
                *left = later;
                return Poll::Ready(Ok(true));
            }
            Mode::RefusedBody { told } => {
                *told = true;
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            _ if self.held.is_empty() => {
                return self.poll_direct(cx, out).map_ok(|direct| direct != Direct::Withheld);
            }
            _ => {
                let count = ready!(self.poll_more(cx))?;
                self.judge_held();
                return Poll::Ready(Ok(count == 0));
            }
        }
        Poll::Pending
    }

    /// Bounds how long a peer may leave the gateway's answer unread.
    fn watch_write<R>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if polled.is_ready() {
            self.write_stalled_since = None;
            return polled;
        }
        let patience = self.limits.write_timeout;
        let since = *self.write_stalled_since.get_or_insert_with(Instant::now);
        let clock = self.write_clock.get_or_insert_with(|| Clock::new(patience));
        ready!(clock.poll_passed(cx, since + patience));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads and throws away what the peer still sends, for a moment.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.lingering_since.get_or_insert_with(Instant::now);
        loop {
            self.held.clear();
            match self.poll_more(cx) {
                Poll::Ready(Ok(count)) if count > 0 && count < self.linger_left => {
                    self.linger_left -= count;
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    return self.read_clock.poll_passed(cx, since + self.limits.linger);
                }
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Direct {
    Passed,
    Withheld,
    End,
}

/// Which patience ran out.
#[derive(Debug)]
enum Lapse {
    Idle,
    Owing(Reason),
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            match this.poll_turn(cx, out) {
                Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(false)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => match ready!(this.poll_patience(cx)) {
                    Lapse::Idle => return Poll::Ready(Ok(())),
                    Lapse::Owing(reason) if matches!(this.mode, Mode::Http1(_)) => {
                        this.refuse(reason);
                    }
                    Lapse::Owing(_) => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                },
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.watch_write(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, parts);
        self.watch_write(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_flush(cx);
        self.watch_write(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_shutdown(cx);
        ready!(self.watch_write(cx, polled))?;
        let is_amid = matches!(&self.mode, Mode::Http1(framer) if !framer.is_at_head());
        if is_amid || self.state.lingers() {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
