//! Spans that wait for the collector: so many and no more, and what becomes of them when it cannot be reached.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use parking_lot::Mutex;

/// How many spans wait, at most. Each takes one or two KiB.
pub const MOST: usize = 2048;

/// What is known of the spans that wait.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: AtomicUsize,
    /// Spans that nobody will see, since the collector was last reached.
    lost: AtomicU64,
    /// Whether that was said: once, until it is reached again.
    told: AtomicBool,
    /// What the last attempt came to.
    cause: Mutex<String>,
}

impl Queue {
    /// Notes why the collector could not be reached.
    pub fn note(&self, cause: impl fmt::Display) {
        *self.cause.lock() = cause.to_string();
    }

    /// Whether another span may wait. Whoever may not is lost.
    fn admits(&self) -> bool {
        let admitted = self.waiting.fetch_add(1, Ordering::AcqRel) < MOST;
        if !admitted {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            self.lose(1, "more spans are made than the collector takes");
        }
        admitted
    }

    fn lose(&self, spans: usize, why: &str) {
        self.lost.fetch_add(spans as u64, Ordering::Relaxed);
        if !self.told.swap(true, Ordering::Relaxed) {
            let cause = self.cause.lock().clone();
            tracing::warn!(cause, "traces are lost until the collector takes them again: {why}");
        }
    }

    /// So many spans wait no more, and went, or did not.
    fn went(&self, spans: usize, sent: &OTelSdkResult) {
        self.waiting.fetch_sub(spans, Ordering::AcqRel);
        match sent {
            Err(error) => self.lose(spans, &error.to_string()),
            Ok(()) => {
                self.cause.lock().clear();
                let lost = self.lost.swap(0, Ordering::Relaxed);
                if self.told.swap(false, Ordering::Relaxed) {
                    tracing::info!(lost, "the collector takes traces again");
                }
            }
        }
    }

    /// Says how many spans the collector never got, where there are any.
    pub fn settle(&self) {
        let lost = self.lost.swap(0, Ordering::Relaxed) + self.waiting.load(Ordering::Acquire) as u64;
        if lost > 0 {
            tracing::warn!(lost, "spans that the collector did not take are gone");
        }
    }
}

/// The way into the queue.
#[derive(Debug)]
pub struct Entrance<P> {
    /// What holds the spans.
    pub inner: P,
    /// How many those are.
    pub queue: Arc<Queue>,
}

impl<P: SpanProcessor> SpanProcessor for Entrance<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        // What is not sampled never comes out again.
        if span.span_context.is_sampled() && self.queue.admits() {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// The way out of it.
#[derive(Debug)]
pub struct Exit<E> {
    /// What sends the spans.
    pub inner: E,
    /// How many wait.
    pub queue: Arc<Queue>,
}

impl<E: SpanExporter> SpanExporter for Exit<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let sent = self.inner.export(batch).await;
        self.queue.went(spans, &sent);
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
