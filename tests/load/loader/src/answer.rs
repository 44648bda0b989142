//! Recognising a whole, good answer in the bytes of a connection.

use std::time::Duration;

use memchr::memmem::{self, Finder};

/// What a good answer looks like: 200, with a `Content-Length`, and a certain text in its body.
pub struct Expected(Finder<'static>);

/// How far an answer has come.
pub enum Progress {
    /// More bytes have to come.
    Partial,
    /// It is whole, and good.
    Good,
    /// It is whole, and says to try again after so long: 429 or 503.
    Refused(Duration),
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
        let refusals: [&[u8]; 2] = [b"HTTP/1.1 429 ", b"HTTP/1.1 503 "];
        let is_refusal = refusals.iter().any(|refusal| head.starts_with(refusal));
        if !is_refusal && !head.starts_with(b"HTTP/1.1 200 ") {
            return wrong("neither a 200 nor a refusal");
        }
        let Some(length) = number(head, b"content-length:") else { return wrong("no Content-Length") };
        let pause = number(head, b"retry-after:").map(|seconds| Duration::from_secs(seconds as u64));
        match body.len().cmp(&length) {
            std::cmp::Ordering::Less => Ok(Progress::Partial),
            std::cmp::Ordering::Greater => wrong("more than Content-Length says"),
            std::cmp::Ordering::Equal if is_refusal => match pause {
                Some(pause) => Ok(Progress::Refused(pause)),
                None => wrong("a refusal without Retry-After"),
            },
            std::cmp::Ordering::Equal if self.0.find(body).is_none() => wrong("not the expected answer"),
            std::cmp::Ordering::Equal => Ok(Progress::Good),
        }
    }
}

/// The number in the header `name`, which stands there with its colon.
fn number(head: &[u8], name: &[u8]) -> Option<usize> {
    let line = head
        .split(|byte| *byte == b'\n')
        .find(|line| line.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)))?;
    std::str::from_utf8(line[name.len()..].trim_ascii()).ok()?.parse().ok()
}
