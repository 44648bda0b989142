//! Recognising a whole, good answer in the bytes of a connection.

use memchr::memmem::{self, Finder};

/// What a good answer looks like: 200, with a `Content-Length`, and a certain text in its body.
pub struct Expected(Finder<'static>);

/// How far an answer has come.
pub enum Progress {
    /// More bytes have to come.
    Partial,
    /// It is whole, and good.
    Good,
}

impl Expected {
    /// Bodies have to contain this text.
    pub fn new(text: &str) -> Self {
        Self(Finder::new(text).into_owned())
    }

    /// Looks at what has come so far.
    ///
    /// # Errors
    /// What is wrong with the answer, and its beginning.
    pub fn judge(&self, received: &[u8]) -> Result<Progress, String> {
        let wrong = |what: &str| {
            Err(format!("{what}: {}", String::from_utf8_lossy(&received[..received.len().min(1000)])))
        };
        let Some(end) = memmem::find(received, b"\r\n\r\n") else { return Ok(Progress::Partial) };
        let (head, body) = (&received[..end], &received[end + 4..]);
        if !head.starts_with(b"HTTP/1.1 200 ") {
            return wrong("not a 200");
        }
        let Some(length) = content_length(head) else { return wrong("no Content-Length") };
        match body.len().cmp(&length) {
            std::cmp::Ordering::Less => Ok(Progress::Partial),
            std::cmp::Ordering::Greater => wrong("more than Content-Length says"),
            std::cmp::Ordering::Equal if self.0.find(body).is_none() => wrong("not the expected answer"),
            std::cmp::Ordering::Equal => Ok(Progress::Good),
        }
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let line = head
        .split(|byte| *byte == b'\n')
        .find(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))?;
    std::str::from_utf8(line[NAME.len()..].trim_ascii()).ok()?.parse().ok()
}
