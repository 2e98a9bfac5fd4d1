use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::ApiError;

/// Bytes of a body beyond its limit that are read and thrown away. A client that is still sending
/// may otherwise meet a reset connection before it has read why.
pub(crate) const DISCARDED_BYTES_MAX: usize = 4 << 20;

/// How long they may take to come.
const DISCARD_LIMIT: Duration = Duration::from_secs(5);

/// Reads a body of up to `bytes_max` bytes.
///
/// A larger one is 413; if its rest is too large to be thrown away too, the connection closes.
pub async fn read_body(mut body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bytes_max.saturating_add(DISCARDED_BYTES_MAX) {
        return Err(too_large(bytes_max).closing());
    }
    let error = match Limited::new(&mut body, bytes_max).collect().await {
        Ok(read) => return Ok(read.to_bytes()),
        Err(error) => error,
    };
    if !error.is::<LengthLimitError>() {
        return Err(ApiError::bad_request("the body did not arrive completely"));
    }
    if discard(body, DISCARD_LIMIT).await {
        Err(too_large(bytes_max))
    } else {
        Err(too_large(bytes_max).closing())
    }
}

fn too_large(bytes_max: usize) -> ApiError {
    ApiError::too_large(format!("the body is larger than {} KiB", bytes_max / 1024))
}

/// Throws away what is left of a body; answers whether that was all of it.
async fn discard(body: Body, within: Duration) -> bool {
    let mut rest = Limited::new(body, DISCARDED_BYTES_MAX);
    let to_the_end = async {
        loop {
            match rest.frame().await {
                Some(Ok(_)) => {}
                Some(Err(_)) => return false,
                None => return true,
            }
        }
    };
    timeout(within, to_the_end).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use futures::StreamExt;
    use futures::stream;
    use http::header::CONNECTION;

    use super::*;

    const BYTES_MAX: usize = 1_024;
    const FRAME: &[u8] = &[b'x'; 512];

    fn frames(bytes: usize) -> impl Iterator<Item = std::io::Result<Bytes>> {
        (0..bytes)
            .step_by(FRAME.len())
            .map(move |at| Ok(Bytes::from_static(&FRAME[..FRAME.len().min(bytes - at)])))
    }

    /// In frames, of no announced length.
    fn chunked(bytes: usize) -> Body {
        Body::from_stream(stream::iter(frames(bytes)))
    }

    fn closes(error: ApiError) -> bool {
        assert_eq!(error.status(), 413);
        assert_eq!(error.detail(), "the body is larger than 1 KiB");
        let response = error.into_response();
        let connection = response.headers().get(CONNECTION);
        connection.is_some_and(|connection| connection == "close")
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_and_no_further() {
        for bytes in [0, 1, 512, 513, BYTES_MAX] {
            let read = read_body(chunked(bytes), BYTES_MAX).await.unwrap();
            assert_eq!(read.len(), bytes);
            let read = read_body(Body::from(vec![b'x'; bytes]), BYTES_MAX).await;
            assert_eq!(read.unwrap().len(), bytes);
        }
        for bytes in [BYTES_MAX + 1, DISCARDED_BYTES_MAX] {
            let error = read_body(chunked(bytes), BYTES_MAX).await.unwrap_err();
            assert!(!closes(error), "{bytes}: the rest was read");
        }
    }

    #[tokio::test]
    async fn a_rest_too_large_to_read_closes_the_connection() {
        let bytes = BYTES_MAX + FRAME.len() + DISCARDED_BYTES_MAX + 1;
        let error = read_body(chunked(bytes), BYTES_MAX).await.unwrap_err();
        assert!(closes(error));
        for (more, expected) in [(0, false), (1, true)] {
            let announced = Body::from(vec![b'x'; BYTES_MAX + DISCARDED_BYTES_MAX + more]);
            let error = read_body(announced, BYTES_MAX).await.unwrap_err();
            assert_eq!(closes(error), expected, "{more}");
        }
    }

    #[tokio::test]
    async fn a_rest_that_does_not_come_is_not_waited_for_longer_than_its_limit() {
        let body = stream::iter(frames(BYTES_MAX)).chain(stream::pending());
        assert!(!discard(Body::from_stream(body), Duration::from_millis(10)).await);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_400() {
        let broken = Err(std::io::ErrorKind::ConnectionReset.into());
        let body = stream::iter(frames(FRAME.len()).chain([broken]));
        let error = read_body(Body::from_stream(body), BYTES_MAX).await;
        assert_eq!(error.unwrap_err().status(), 400);
    }
}
