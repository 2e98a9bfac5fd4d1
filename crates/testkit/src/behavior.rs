use std::time::Duration;

use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::net::TcpStream;

/// What a receiver does with a request it has read.
#[derive(Clone, Debug)]
pub enum Behavior {
    /// Answers after a while.
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
        after: Duration,
    },
    /// Never answers, keeps the connection.
    Hang,
    /// Cuts the connection with a TCP reset.
    Reset,
    /// Closes the connection in good order, without an answer.
    Close,
    /// Promises a body and sends a byte of it every second.
    DripBody,
    /// Sends the head a byte every second.
    DripHead,
    /// A 200 with a body of so many bytes.
    HugeBody { bytes: u64 },
    /// A 200 with so many bytes of headers.
    HugeHeaders { bytes: usize },
    /// Promises a body and closes in the middle of it.
    CloseInBody,
    /// Something that is not HTTP.
    Garbage,
}

/// Whether the connection takes another request.
pub(crate) enum Then {
    KeepOpen,
    Close,
}

/// How far apart dripped bytes are.
const DRIP_EVERY: Duration = Duration::from_secs(1);

impl Behavior {
    /// Answers at once with nothing but a status.
    pub fn status(status: u16) -> Self {
        Self::Answer {
            status,
            headers: Vec::new(),
            body: String::new(),
            after: Duration::ZERO,
        }
    }

    /// Answers 204 after a while.
    pub fn slow(after: Duration) -> Self {
        Self::Answer {
            status: 204,
            headers: Vec::new(),
            body: String::new(),
            after,
        }
    }

    /// Answers at once with a status and a header.
    pub fn with_header(status: u16, name: &str, value: &str) -> Self {
        let headers = vec![(name.to_owned(), value.to_owned())];
        Self::Answer {
            status,
            headers,
            body: String::new(),
            after: Duration::ZERO,
        }
    }

    pub(crate) async fn act(&self, stream: &mut TcpStream) -> std::io::Result<Then> {
        match self {
            Self::Answer {
                status,
                headers,
                body,
                after,
            } => {
                if !after.is_zero() {
                    tokio::time::sleep(*after).await;
                }
                answer(stream, *status, headers, body).await
            }
            Self::Hang => std::future::pending().await,
            Self::Reset => {
                socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
                Ok(Then::Close)
            }
            Self::Close => Ok(Then::Close),
            Self::DripBody => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                    .await?;
                drip(stream, b'x').await
            }
            Self::DripHead => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nX-Slow: ").await?;
                drip(stream, b'x').await
            }
            Self::HugeBody { bytes } => huge_body(stream, *bytes).await,
            Self::HugeHeaders { bytes } => huge_headers(stream, *bytes).await,
            Self::CloseInBody => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of")
                    .await?;
                Ok(Then::Close)
            }
            Self::Garbage => {
                stream
                    .write_all(b"220 mail.example.com ESMTP\r\n\r\n")
                    .await?;
                Ok(Then::Close)
            }
        }
    }
}

async fn answer(
    stream: &mut TcpStream,
    status: u16,
    headers: &[(String, String)],
    body: &str,
) -> std::io::Result<Then> {
    if status == 204 && headers.is_empty() {
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
        return Ok(Then::KeepOpen);
    }
    let mut head = format!("HTTP/1.1 {status} Status\r\n");
    if status != 204 {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    if status != 204 {
        head += body;
    }
    stream.write_all(head.as_bytes()).await?;
    Ok(Then::KeepOpen)
}

async fn drip(stream: &mut TcpStream, byte: u8) -> std::io::Result<Then> {
    loop {
        stream.write_all(&[byte]).await?;
        stream.flush().await?;
        tokio::time::sleep(DRIP_EVERY).await;
    }
}

async fn huge_body(stream: &mut TcpStream, bytes: u64) -> std::io::Result<Then> {
    static CHUNK: [u8; 64 * 1024] = [b'x'; 64 * 1024];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left).map_or(CHUNK.len(), |left| left.min(CHUNK.len()));
        stream.write_all(&CHUNK[..now]).await?;
        left -= now as u64;
    }
    Ok(Then::KeepOpen)
}

async fn huge_headers(stream: &mut TcpStream, bytes: usize) -> std::io::Result<Then> {
    let mut writer = BufWriter::new(&mut *stream);
    writer
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")
        .await?;
    let line = format!("X-Filler: {}\r\n", "x".repeat(1000));
    for _ in 0..bytes.div_ceil(line.len()) {
        writer.write_all(line.as_bytes()).await?;
    }
    writer.write_all(b"\r\n").await?;
    writer.flush().await?;
    Ok(Then::Close)
}
