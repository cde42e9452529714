//! A TLS stream that can be closed from elsewhere.
use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Reads and writes go to `io` until `close` is cancelled; after that both fail and the peer sees the end of the
/// connection. `held` lives as long as the stream.
pub(crate) struct Closable<I, H> {
    io: I,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    _held: H,
}

impl<I, H> fmt::Debug for Closable<I, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closable").finish_non_exhaustive()
    }
}

impl<I: Unpin, H: Unpin> Closable<I, H> {
    pub(crate) fn new(io: I, close: CancellationToken, held: H) -> Self {
        Self {
            io,
            closed: Box::pin(close.cancelled_owned()),
            _held: held,
        }
    }

    /// The stream, if it is still open. Registers for the close as well, since the caller may be about to wait.
    fn open(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut I>> {
        match self.closed.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "connection closed: its certificate is no longer admitted",
            )),
            Poll::Pending => Ok(Pin::new(&mut self.io)),
        }
    }
}

impl<I: AsyncRead + Unpin, H: Unpin> AsyncRead for Closable<I, H> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.open(cx) {
            Ok(io) => io.poll_read(cx, buf),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl<I: AsyncWrite + Unpin, H: Unpin> AsyncWrite for Closable<I, H> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.open(cx) {
            Ok(io) => io.poll_write(cx, buf),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.open(cx) {
            Ok(io) => io.poll_flush(cx),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
