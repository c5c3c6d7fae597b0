//! What becomes of a body that no handler read to its end.
//!
//! A client that still writes when the server answers and closes sees a broken pipe instead of the answer: why it
//! was refused, it never learns. So the rest of the body is read and thrown away first, up to [`DRAIN_BYTES_MAX`]
//! and [`DRAIN_TIME_MAX`]; beyond them the connection is closed all the same. A client that waits for `100
//! Continue` gets the answer at once: it has not begun to write.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::{Stream, StreamExt as _};
use parking_lot::Mutex;

/// Twice the largest component of the default configuration, bytes.
const DRAIN_BYTES_MAX: usize = 64 << 20;
/// A client that takes longer is not worth its place.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// What a handler left of a body.
#[derive(Debug)]
struct Left {
    chunks: BodyDataStream,
    /// Whether anything was read.
    is_begun: bool,
}

/// A body that gives back what is left of it.
struct Lent {
    left: Option<Left>,
    back: Arc<Mutex<Option<Left>>>,
}

impl Stream for Lent {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(left) = &mut self.left else {
            return Poll::Ready(None);
        };
        left.is_begun = true;
        let chunk = left.chunks.poll_next_unpin(cx);
        if matches!(chunk, Poll::Ready(None | Some(Err(_)))) {
            self.left = None;
        }
        chunk
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.back.lock() = self.left.take();
    }
}

/// Answers, after it read what the handler left of the body.
pub(crate) async fn drain(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let is_waiting = request.headers().contains_key(header::EXPECT);
    let back = Arc::new(Mutex::new(None));
    let request = request.map(|body| {
        let left = Left {
            chunks: body.into_data_stream(),
            is_begun: false,
        };
        Body::from_stream(Lent {
            left: Some(left),
            back: Arc::clone(&back),
        })
    });
    let mut response = next.run(request).await;
    let left = back.lock().take();
    let is_read = match left {
        None => true,
        // To read it would be to ask for it.
        Some(left) if is_waiting && !left.is_begun => false,
        Some(left) => tokio::time::timeout(DRAIN_TIME_MAX, discard(left.chunks))
            .await
            .unwrap_or(false),
    };
    if !is_read {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// Whether it came to its end within [`DRAIN_BYTES_MAX`].
async fn discard(mut chunks: BodyDataStream) -> bool {
    let mut bytes: usize = 0;
    while let Some(chunk) = chunks.next().await {
        let Ok(chunk) = chunk else {
            return false;
        };
        bytes = bytes.saturating_add(chunk.len());
        if bytes > DRAIN_BYTES_MAX {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests;
