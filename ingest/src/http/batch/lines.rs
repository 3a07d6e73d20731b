//! Splits a request's body into lines as it arrives, each within a limit. Not what the lines mean.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::{Buf, Bytes, BytesMut};
use futures::{FutureExt, StreamExt};
use tidewheel_api::{Code, Problem};

/// How long the next part of a batch may take to arrive.
const PART_TIMEOUT: Duration = Duration::from_secs(30);

/// A line, or why there are no more.
pub(super) enum Line {
    /// A line without its newline.
    Text(Bytes),
    /// A line over the limit; it was skipped.
    TooLong,
    /// The body is over.
    End,
    /// The body broke off.
    Broken(Problem),
}

/// The lines of a body.
pub(super) struct Lines {
    body: BodyDataStream,
    buffer: BytesMut,
    /// Bytes of `buffer` known to hold no newline.
    searched: usize,
    /// The current line is over the limit and being skipped.
    skipping: bool,
    ended: bool,
    line_bytes_max: usize,
}

impl Lines {
    pub(super) fn new(body: Body, line_bytes_max: usize) -> Self {
        let body = body.into_data_stream();
        Self { body, buffer: BytesMut::new(), searched: 0, skipping: false, ended: false, line_bytes_max }
    }

    /// The next line, if it has arrived already.
    pub(super) fn ready(&mut self) -> Option<Line> {
        self.next().now_or_never()
    }

    /// The next line. Cancel-safe.
    pub(super) async fn next(&mut self) -> Line {
        loop {
            if let Some(line) = self.split() {
                return line;
            }
            if self.ended {
                return Line::End;
            }
            match tokio::time::timeout(PART_TIMEOUT, self.body.next()).await {
                Ok(Some(Ok(part))) => self.buffer.extend_from_slice(&part),
                Ok(None) => self.ended = true,
                Ok(Some(Err(_))) => {
                    self.stop();
                    return Line::Broken(Problem::new(
                        Code::MalformedRequest,
                        "the body broke off or was framed wrongly; what came before was taken",
                    ));
                }
                Err(_) => {
                    self.stop();
                    return Line::Broken(Problem::new(
                        Code::RequestTimeout,
                        format!(
                            "nothing arrived for {} s; what came before was taken",
                            PART_TIMEOUT.as_secs()
                        ),
                    ));
                }
            }
        }
    }

    fn stop(&mut self) {
        self.ended = true;
        self.buffer.clear();
        self.searched = 0;
        self.skipping = false;
    }

    fn split(&mut self) -> Option<Line> {
        let newline = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
        let Some(newline) = newline.map(|at| at + self.searched) else {
            if self.ended && !self.buffer.is_empty() {
                let text = self.buffer.split().freeze();
                self.searched = 0;
                return Some(self.line(text));
            }
            if self.ended && std::mem::take(&mut self.skipping) {
                return Some(Line::TooLong);
            }
            self.searched = self.buffer.len();
            if self.searched > self.line_bytes_max {
                self.buffer.clear();
                self.searched = 0;
                self.skipping = true;
            }
            return None;
        };
        let text = self.buffer.split_to(newline).freeze();
        self.buffer.advance(1);
        self.searched = 0;
        Some(self.line(text))
    }

    fn line(&mut self, text: Bytes) -> Line {
        if std::mem::take(&mut self.skipping) || text.len() > self.line_bytes_max {
            Line::TooLong
        } else {
            Line::Text(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use tidewheel_api::body::JSON_BODY_BYTES_MAX;

    use super::*;

    async fn all(parts: Vec<Vec<u8>>) -> Vec<Option<Vec<u8>>> {
        let parts = futures::stream::iter(parts.into_iter().map(Ok::<_, std::convert::Infallible>));
        let mut lines = Lines::new(Body::from_stream(parts), JSON_BODY_BYTES_MAX);
        let mut found = Vec::new();
        loop {
            match lines.next().await {
                Line::Text(text) => found.push(Some(text.to_vec())),
                Line::TooLong => found.push(None),
                Line::End => return found,
                Line::Broken(problem) => panic!("{problem}"),
            }
        }
    }

    #[tokio::test]
    async fn a_line_over_the_limit_is_skipped_alone() {
        let mut long = vec![b'x'; JSON_BODY_BYTES_MAX + 1];
        long.extend_from_slice(b"\nafter\n");
        let parts = vec![b"before\n".to_vec(), long];
        assert_eq!(all(parts).await, [Some(b"before".to_vec()), None, Some(b"after".to_vec())]);
        let parts = vec![vec![b'x'; JSON_BODY_BYTES_MAX], vec![b'x'; JSON_BODY_BYTES_MAX]];
        assert_eq!(all(parts).await, [None]);
    }

    proptest::proptest! {
        #[test]
        fn lines_do_not_depend_on_how_the_body_was_cut(text in "[ab\n]{0,60}", cuts in proptest::collection::vec(1_usize..7, 1..60)) {
            let mut rest = text.as_bytes();
            let mut parts = Vec::new();
            for cut in cuts {
                let (part, after) = rest.split_at(cut.min(rest.len()));
                parts.push(part.to_vec());
                rest = after;
            }
            parts.push(rest.to_vec());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let found = runtime.block_on(all(parts));
            let expected: Vec<_> = text.lines().map(|line| Some(line.as_bytes().to_vec())).collect();
            proptest::prop_assert_eq!(found, expected);
        }
    }
}
