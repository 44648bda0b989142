//! Spans, and their way to a collector: OTLP over HTTP, in batches, from a thread of its own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{
    FutureExt as _, Link, SpanKind, Status, TraceContextExt as _, TraceId, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, ContextGuard, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SamplingResult, SdkTracer, SdkTracerProvider,
    ShouldSample,
};
use ureq::Agent;
use url::Url;

use crate::outgoing;
use crate::tls;
use crate::traces::parent::Parent;
use crate::traces::queue::{self, Entrance, Exit, Queue};
use crate::traces::{Settings, TracesError};

/// How long the collector may take with its answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a batch is tried again.
const RETRIES: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// The traces of a server.
#[derive(Clone)]
pub struct Traces(Option<Pipeline>);

#[derive(Clone)]
struct Pipeline {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    queue: Arc<Queue>,
}

/// What makes the steps of a trace, in the context of those who take them.
#[derive(Debug)]
struct Maker(SdkTracer);

/// A request that is recorded, and its context.
#[derive(Debug)]
pub struct Span(Context);

/// A step of what is recorded; ends when it is dropped.
#[must_use]
pub struct Step(Option<ContextGuard>);

impl Traces {
    /// Starts the thread that sends spans, where there is a collector.
    ///
    /// # Errors
    /// [`TracesError`] when the authorities that this machine trusts cannot be read, or a variable of OpenTelemetry's asks for what
    /// is not there.
    pub fn start(settings: &Settings) -> Result<Self, TracesError> {
        let Some(endpoint) = &settings.endpoint else { return Ok(Self(None)) };
        let queue = Arc::new(Queue::default());
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client { agent: agent(endpoint)?, queue: Arc::clone(&queue) })
            .with_endpoint(endpoint.as_str())
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(RETRIES)
            .build()
            .map_err(|error| TracesError(error.to_string()))?;
        let batches = BatchConfigBuilder::default().with_max_queue_size(queue::MOST).build();
        let processor = BatchSpanProcessor::builder(Exit { inner: exporter, queue: Arc::clone(&queue) })
            .with_batch_config(batches)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Entrance { inner: processor, queue: Arc::clone(&queue) })
            .with_sampler(Sampler::ParentBased(Box::new(Sampled::of_a_million(settings.sampled))))
            .with_resource(resource())
            .build();
        let tracer = provider.tracer("m2mint");
        Ok(Self(Some(Pipeline { provider, tracer, queue })))
    }

    /// Begins the span of a request that `parent` belongs to. `None` where it is not recorded, which is up to the parent if there
    /// is one.
    #[must_use]
    pub fn begin<'a>(&self, parent: impl FnOnce() -> Option<Parent<'a>>) -> Option<Span> {
        let Pipeline { tracer, .. } = self.0.as_ref()?;
        let context = match parent() {
            Some(parent) => TraceContextPropagator::new().extract_with_context(&Context::new(), &parent),
            None => Context::new(),
        };
        let span =
            tracer.span_builder("HTTP").with_kind(SpanKind::Server).start_with_context(tracer, &context);
        let context = context.with_span(span);
        context.span().is_recording().then(|| Span(context.with_value(Maker(tracer.clone()))))
    }

    /// Does work of the server's own: its steps are recorded, each as a trace.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        let maker = self.0.as_ref().map(|pipeline| Context::new().with_value(Maker(pipeline.tracer.clone())));
        let _entered = maker.map(Context::attach);
        work()
    }

    /// Sends what waits, for as long as `patience`, and ends the thread.
    pub fn stop(&self, patience: Duration) {
        let Some(pipeline) = &self.0 else { return };
        // What did not go is counted.
        let _ = pipeline.provider.shutdown_with_timeout(patience);
        pipeline.queue.settle();
    }
}

impl Span {
    /// Calls it something more telling.
    pub fn name(&self, name: String) {
        self.0.span().update_name(name);
    }

    /// Adds an attribute.
    pub fn note(&self, key: &'static str, value: impl Into<String>) {
        self.0.span().set_attribute(KeyValue::new(key, value.into()));
    }

    /// Adds an attribute that is a number.
    pub fn count(&self, key: &'static str, value: i64) {
        self.0.span().set_attribute(KeyValue::new(key, value));
    }

    /// It came to no good end, and that is the server's fault.
    pub fn fail(&self) {
        self.0.span().set_status(Status::error(""));
    }

    /// It is over.
    pub fn end(self) {
        self.0.span().end();
    }
}

impl Step {
    /// Adds an attribute.
    pub fn note(&self, key: &'static str, value: impl Into<String>) {
        if self.0.is_some() {
            Context::map_current(|context| context.span().set_attribute(KeyValue::new(key, value.into())));
        }
    }
}

/// The steps of what `future` does belong to `span`.
pub fn within<F: Future>(span: Option<&Span>, future: F) -> impl Future<Output = F::Output> {
    future.with_context(span.map(|span| span.0.clone()).unwrap_or_default())
}

/// The steps of what `work` does, on whatever thread, belong to what is recorded here.
pub fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let context = Context::current();
    move || {
        let _carried = context.attach();
        work()
    }
}

/// Begins a step of what is recorded here, if anything is.
pub fn step(name: &'static str) -> Step {
    let is_recorded = Context::map_current(Context::has_active_span);
    if is_recorded { task(name) } else { Step(None) }
}

/// Begins something of the server's own, which may be a trace by itself.
pub fn task(name: &'static str) -> Step {
    let begun = Context::map_current(|context| {
        let Maker(tracer) = context.get::<Maker>()?;
        let span = tracer.start_with_context(name, context);
        Some(context.with_span(span))
    });
    Step(begun.map(Context::attach))
}

/// Which requests that belong to no trace yet begin one. What the server does by itself is rare, and always recorded.
#[derive(Debug, Clone)]
struct Sampled(Sampler);

impl Sampled {
    fn of_a_million(requests: u32) -> Self {
        Self(Sampler::TraceIdRatioBased(f64::from(requests) / 1e6))
    }
}

impl ShouldSample for Sampled {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let sampler = if *kind == SpanKind::Server { &self.0 } else { &Sampler::AlwaysOn };
        sampler.should_sample(parent, trace, name, kind, attributes, links)
    }
}

impl Extractor for Parent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(self.traceparent),
            "tracestate" => Some(&self.tracestate),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

/// What sends spans. Variables of OpenTelemetry's may say more, and otherwise.
fn resource() -> Resource {
    let named = std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty());
    let ours = Resource::builder_empty()
        .with_attribute(KeyValue::new("service.name", "m2mint"))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detector(Box::new(EnvResourceDetector::new()));
    match named {
        Some(name) => ours.with_service_name(name).build(),
        None => ours.build(),
    }
}

fn agent(endpoint: &Url) -> Result<Agent, TracesError> {
    let roots = match tls::trusted_authorities().filter(|_| endpoint.scheme() == "https") {
        None => Vec::new(),
        Some(path) => outgoing::authorities(&path)
            .map_err(|error| TracesError(format!("{}: {error}", path.display())))?,
    };
    Ok(outgoing::agent(&roots, PATIENCE))
}

/// Sends batches, on the thread that they are made on.
#[derive(Debug)]
struct Client {
    agent: Agent,
    queue: Arc<Queue>,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.send(request);
        if let Err(error) = &sent {
            self.queue.note(error);
        }
        Ok(sent?)
    }
}

impl Client {
    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let (head, body) = request.into_parts();
        let answer = self.agent.run(Request::from_parts(head, &body[..]))?;
        let (head, mut body) = answer.into_parts();
        let body = body.with_config().limit(LONGEST_ANSWER).read_to_vec()?;
        Ok(Response::from_parts(head, body.into()))
    }
}
