use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use model::{Event, Timestamp, TraceParent, Work};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags,
    TraceId, TraceState, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanData,
    SpanExporter,
};

/// Ended spans of a process that wait to be sent at most; more are dropped.
pub const SPANS_WAITING_MAX: usize = 8_192;
/// Spans in one request to the collector at most.
pub const SPANS_PER_REQUEST_MAX: usize = 512;
/// For the whole of a request to the collector.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an ended span waits for others.
const LINGER: Duration = Duration::from_secs(1);

/// Where traces go, and which.
#[derive(Clone, Copy, Debug)]
pub struct TracesConfig<'a> {
    /// The base URL of a collector that takes OTLP over HTTP.
    pub endpoint: &'a str,
    /// The share of traces begun here that are recorded, 0 to 1. Those begun elsewhere are
    /// recorded if they are there.
    pub sample_ratio: f64,
    /// What the process does.
    pub role: &'static str,
    pub version: &'static str,
}

/// Traces that cannot be begun.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be sent")]
pub struct TracesError(#[from] opentelemetry_otlp::ExporterBuildError);

/// The traces of a process; off by default, and then nothing is done for them.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Tracing>);

#[derive(Clone, Debug)]
struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// A span under way. Boxed: most processes have none, and then it takes no room either.
#[derive(Debug)]
pub struct Span(Box<opentelemetry_sdk::trace::Span>);

impl Traces {
    /// Sends traces to a collector, from a thread of its own.
    pub fn to_collector(config: TracesConfig<'_>) -> Result<Self, TracesError> {
        let url = format!("{}/v1/traces", config.endpoint.trim_end_matches('/'));
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_endpoint(url)
            .with_timeout(REQUEST_TIMEOUT)
            .build()?;
        let exporter = Reporting {
            exporter,
            is_away: AtomicBool::new(false),
        };
        Ok(Self::to(exporter, config))
    }

    fn to(exporter: impl SpanExporter + 'static, config: TracesConfig<'_>) -> Self {
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(SPANS_WAITING_MAX)
            .with_max_export_batch_size(SPANS_PER_REQUEST_MAX)
            .with_scheduled_delay(LINGER)
            .build();
        let processor = BatchSpanProcessor::builder(exporter)
            .with_batch_config(batches)
            .build();
        let root = Sampler::TraceIdRatioBased(config.sample_ratio);
        let resource = Resource::builder()
            .with_service_name("fanfare")
            .with_attribute(KeyValue::new("service.version", config.version))
            .with_attribute(KeyValue::new("fanfare.role", config.role))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(Sampler::ParentBased(Box::new(root)))
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("fanfare");
        Self(Some(Tracing { provider, tracer }))
    }

    /// Begins the span `accept`: an event on its way into the store, since its `accepted_at`.
    pub fn accept(&self, parent: Option<TraceParent>, event: &Event) -> Option<Span> {
        let tracing = self.0.as_ref()?;
        let span = SpanBuilder::from_name("accept")
            .with_kind(SpanKind::Server)
            .with_start_time(system_time(event.accepted_at))
            .with_attributes(of_event(event));
        Some(tracing.begin(span, parent))
    }

    /// Writes the span `queue`, for as long as `work` was queued until `now`, and begins the span
    /// `attempt` that follows from it.
    pub fn attempt(&self, work: &Work, now: Timestamp) -> Option<Span> {
        let tracing = self.0.as_ref()?;
        let attributes = || {
            let delivery = [
                KeyValue::new("endpoint.id", work.endpoint.to_string()),
                KeyValue::new("delivery.id", work.delivery.to_string()),
                KeyValue::new("attempt", i64::from(work.attempt)),
            ];
            of_event(&work.event).into_iter().chain(delivery)
        };
        // A retry is queued long before it is due.
        let queued_at = Timestamp::from_millis(work.queued_at_ms.max(work.due_at_ms)).min(now);
        let queue = SpanBuilder::from_name("queue")
            .with_kind(SpanKind::Consumer)
            .with_start_time(system_time(queued_at))
            .with_attributes(attributes());
        let mut queue = tracing.begin(queue, work.trace);
        queue.0.end_with_timestamp(system_time(now));
        let attempt = SpanBuilder::from_name("attempt")
            .with_kind(SpanKind::Client)
            .with_start_time(system_time(now))
            .with_attributes(attributes());
        Some(tracing.begin(attempt, Some(queue.trace_parent())))
    }

    /// Sends what has ended, for at most `limit`, and begins no more. Blocks.
    pub fn shutdown(&self, limit: Duration) {
        let Some(tracing) = &self.0 else { return };
        if let Err(error) = tracing.provider.shutdown_with_timeout(limit) {
            tracing::warn!(error = %error, "the last traces are lost");
        }
    }
}

impl Tracing {
    fn begin(&self, span: SpanBuilder, parent: Option<TraceParent>) -> Span {
        let context = Context::new();
        let context = match parent {
            Some(parent) => context.with_remote_span_context(span_context(parent)),
            None => context,
        };
        Span(Box::new(self.tracer.build_with_context(span, &context)))
    }
}

impl Span {
    /// For those that follow from it.
    pub fn trace_parent(&self) -> TraceParent {
        let context = self.0.span_context();
        TraceParent {
            trace_id: context.trace_id().to_bytes(),
            span_id: context.span_id().to_bytes(),
            sampled: context.is_sampled(),
        }
    }

    /// Ends it with its outcome, one of few: `Err` if it failed.
    pub fn end(mut self, outcome: Result<&'static str, &'static str>, now: Timestamp) {
        let (Ok(label) | Err(label)) = outcome;
        self.0.set_attribute(KeyValue::new("outcome", label));
        if outcome.is_err() {
            self.0.set_status(Status::error(label));
        }
        self.0.end_with_timestamp(system_time(now));
    }
}

fn of_event(event: &Event) -> [KeyValue; 2] {
    [
        KeyValue::new("tenant", event.tenant.as_str().to_owned()),
        KeyValue::new("event.type", event.event_type.as_str().to_owned()),
    ]
}

fn span_context(parent: TraceParent) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(parent.trace_id),
        SpanId::from_bytes(parent.span_id),
        TraceFlags::default().with_sampled(parent.sampled),
        true,
        TraceState::NONE,
    )
}

fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + at.since(Timestamp::EPOCH)
}

/// Says once that the collector is away, and once that it is back.
#[derive(Debug)]
struct Reporting<E> {
    exporter: E,
    is_away: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Reporting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        let was_away = self.is_away.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !was_away => {
                tracing::warn!(error = %error, "the collector does not take traces: they are lost");
            }
            Ok(()) if was_away => tracing::info!("the collector takes traces again"),
            Ok(()) | Err(_) => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{DeliveryId, EndpointId, Submission, TenantId};
    use parking_lot::{Mutex, RwLock};

    use super::*;

    /// Keeps what it gets, once it may.
    #[derive(Clone, Debug, Default)]
    struct Collector {
        kept: Arc<Mutex<Vec<SpanData>>>,
        gate: Arc<RwLock<()>>,
    }

    impl SpanExporter for Collector {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            drop(self.gate.read());
            self.kept.lock().extend(batch);
            Ok(())
        }
    }

    const LIMIT: Duration = Duration::from_secs(10);
    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    fn traces(sample_ratio: f64) -> (Collector, Traces) {
        let collector = Collector::default();
        let config = TracesConfig {
            endpoint: "",
            sample_ratio,
            role: "serve",
            version: "0",
        };
        (collector.clone(), Traces::to(collector, config))
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn work(trace: Option<TraceParent>) -> Work {
        let body = br#"{"type":"license.created","data":{}}"#;
        let tenant = TenantId::new("acme").unwrap();
        let event = Submission::parse(body).unwrap();
        let event = event.into_event(tenant, at(100), 1);
        let (delivery, endpoint) = (DeliveryId::from_u128(1), EndpointId::from_u128(2));
        Work {
            trace,
            ..Work::first(delivery, endpoint, Arc::new(event))
        }
    }

    #[test]
    fn one_trace_leads_from_acceptance_through_the_queue_to_the_attempt() {
        let (collector, traces) = traces(0.0);
        let parent: TraceParent = SAMPLED.parse().unwrap();
        let accept = traces.accept(Some(parent), &work(None).event).unwrap();
        let work = work(Some(accept.trace_parent()));
        accept.end(Ok("new"), at(101));
        let attempt = traces.attempt(&work, at(103)).unwrap();
        attempt.end(Err("5xx"), at(104));
        traces.shutdown(LIMIT);

        let spans = collector.kept.lock();
        let [accept, queue, attempt] = &spans[..] else {
            panic!("{spans:?}");
        };
        let names = [accept, queue, attempt].map(|span| span.name.as_ref());
        assert_eq!(names, ["accept", "queue", "attempt"]);
        assert_eq!(accept.parent_span_id, SpanId::from_bytes(parent.span_id));
        assert_eq!(queue.parent_span_id, accept.span_context.span_id());
        assert_eq!(attempt.parent_span_id, queue.span_context.span_id());
        for span in &spans[..] {
            assert_eq!(
                span.span_context.trace_id(),
                TraceId::from_bytes(parent.trace_id)
            );
        }
        assert_eq!(queue.start_time, system_time(at(100)));
        assert_eq!(queue.end_time, attempt.start_time);
        assert_eq!(attempt.end_time, system_time(at(104)));
        assert_eq!(attempt.status, Status::error("5xx"));
        assert_eq!(accept.status, Status::Unset);
        let keys: Vec<_> = attempt.attributes.iter().map(|a| a.key.as_str()).collect();
        let expected = [
            "tenant",
            "event.type",
            "endpoint.id",
            "delivery.id",
            "attempt",
            "outcome",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn the_planned_delay_of_a_retry_is_no_time_in_the_queue() {
        let (collector, traces) = traces(1.0);
        let retry = Work {
            queued_at_ms: at(101).as_millis(),
            due_at_ms: at(401).as_millis(),
            ..work(None)
        };
        traces
            .attempt(&retry, at(403))
            .unwrap()
            .end(Ok("2xx"), at(404));
        traces.shutdown(LIMIT);
        let spans = collector.kept.lock();
        assert_eq!(spans[0].name, "queue");
        assert_eq!(spans[0].start_time, system_time(at(401)));
    }

    #[test]
    fn a_trace_begun_elsewhere_is_recorded_if_it_is_there_and_others_by_the_ratio() {
        let recorded = |ratio: f64, parent: Option<&str>| {
            let (collector, traces) = traces(ratio);
            let parent: Option<TraceParent> = parent.map(|parent| parent.parse().unwrap());
            let accept = traces.accept(parent, &work(None).event).unwrap();
            let follows = accept.trace_parent();
            assert!(parent.is_none_or(|parent| parent.trace_id == follows.trace_id));
            accept.end(Ok("new"), at(101));
            traces.shutdown(LIMIT);
            let count = collector.kept.lock().len();
            assert_eq!(follows.sampled, count == 1);
            count
        };
        assert_eq!(recorded(0.0, Some(SAMPLED)), 1);
        assert_eq!(recorded(1.0, Some(UNSAMPLED)), 0);
        assert_eq!(recorded(1.0, None), 1);
        assert_eq!(recorded(0.0, None), 0);
    }

    #[test]
    fn no_more_spans_wait_than_may_and_nobody_waits_for_the_collector() {
        let (collector, traces) = traces(1.0);
        let shut = collector.gate.write();
        let event = work(None).event;
        for _ in 0..2 * SPANS_WAITING_MAX {
            traces.accept(None, &event).unwrap().end(Ok("new"), at(101));
        }
        drop(shut);
        traces.shutdown(LIMIT);
        let sent = collector.kept.lock().len();
        let under_way = SPANS_PER_REQUEST_MAX;
        assert!(
            (SPANS_WAITING_MAX..=SPANS_WAITING_MAX + under_way).contains(&sent),
            "{sent}"
        );
    }

    #[test]
    fn off_begins_nothing() {
        let traces = Traces::default();
        assert!(traces.accept(None, &work(None).event).is_none());
        assert!(traces.attempt(&work(None), at(103)).is_none());
        traces.shutdown(Duration::ZERO);
    }
}
