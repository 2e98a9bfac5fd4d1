//! One trace from the publisher to the receiver, as a collector gets it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use e2e::{Installation, Mode, SOON, id_of, in_both_modes};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;
use testkit::{Behavior, Client, Received, Receiver, eventually};

use crate::rejected;

in_both_modes!(
    one_trace_leads_from_the_publisher_to_the_receiver,
    while_traces_are_off_a_publishers_goes_on_as_it_came,
    a_collector_that_is_away_keeps_nobody_waiting,
);

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const PUBLISHER: &str = "b7ad6b7169203331";
const HOOK: &str = "/hook?token=hunter2";

fn published_in() -> String {
    format!("00-{TRACE_ID}-{PUBLISHER}-01")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A collector of OTLP over HTTP.
struct Collector(Receiver);

impl Collector {
    const PATH: &str = "/v1/traces";

    async fn start() -> Result<Self> {
        let receiver = Receiver::start().await?;
        receiver.behave(Self::PATH, Behavior::status(200));
        Ok(Self(receiver))
    }

    async fn installation(&self, mode: Mode) -> Result<Installation> {
        let endpoint = self.0.url("");
        let to_here =
            |settings: testkit::Settings| settings.with("FANFARE__OTEL__ENDPOINT", &endpoint);
        Installation::start_with(mode, to_here).await
    }

    /// The spans so far, by their begin.
    fn spans(&self) -> Result<Vec<Span>> {
        let mut spans = Vec::new();
        for request in self.0.received(Self::PATH) {
            ensure!(request.header("content-type") == Some("application/x-protobuf"));
            let request = ExportTraceServiceRequest::decode(request.body)?;
            let scopes = request
                .resource_spans
                .into_iter()
                .flat_map(|r| r.scope_spans);
            spans.extend(scopes.flat_map(|scope| scope.spans));
        }
        spans.sort_by_key(|span| (span.start_time_unix_nano, span.end_time_unix_nano));
        Ok(spans)
    }
}

fn attributes(span: &Span) -> BTreeMap<&str, String> {
    let text = |value: &Attribute| match value {
        Attribute::StringValue(text) => text.clone(),
        Attribute::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pairs = span.attributes.iter().filter_map(|attribute| {
        let value = attribute.value.as_ref()?.value.as_ref()?;
        Some((attribute.key.as_str(), text(value)))
    });
    pairs.collect()
}

fn named<'s>(spans: &'s [Span], name: &str) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

async fn publish(client: &Client, license: &str) -> Result<()> {
    let event = json!({"type": "license.created", "data": {
        "license": {"id": license, "key": "KP-HUNTER2"}, "customer": {"email": "zoe@example.com"}}});
    let trace = published_in();
    let headers = [
        ("content-type", "application/json"),
        ("traceparent", &trace),
    ];
    client
        .post_raw("/v1/events", &headers, event.to_string().into())
        .await?
        .expect(202)?;
    Ok(())
}

/// Every process ends, and what it had not sent is sent with that.
async fn end(mut installation: Installation) -> Result<()> {
    for process in installation.processes_mut() {
        process.terminate()?;
        let status = process.ended(SOON).await?;
        ensure!(status.success(), "{status}");
    }
    Ok(())
}

async fn one_trace_leads_from_the_publisher_to_the_receiver(mode: Mode) -> Result<()> {
    let collector = Collector::start().await?;
    let installation = collector.installation(mode).await?;
    let (tenant, client) = installation.named_tenant().await?;
    let receiver = Receiver::start().await?;
    receiver.script(HOOK, [Behavior::status(503)]);
    let retry = json!({"retry": {"delays_s": [1]}});
    let endpoint = client.create_endpoint(&receiver.url(HOOK), retry).await?;
    publish(&client, "lic_traced").await?;
    let requests = receiver.wait_for(HOOK, 2, SOON).await?;
    delivered(&client).await?;
    end(installation).await?;

    let spans = collector.spans()?;
    for span in &spans {
        assert_eq!(hex(&span.trace_id), TRACE_ID);
    }
    let [accept] = named(&spans, "accept")[..] else {
        panic!("{spans:?}");
    };
    assert_eq!(hex(&accept.parent_span_id), PUBLISHER);
    let expected = [
        ("event.type", "license.created"),
        ("outcome", "new"),
        ("tenant", &tenant),
    ];
    assert_eq!(
        attributes(accept),
        expected.map(|(k, v)| (k, v.to_owned())).into()
    );
    let (queues, attempts) = (named(&spans, "queue"), named(&spans, "attempt"));
    assert_eq!((queues.len(), attempts.len(), spans.len()), (2, 2, 5));
    for (index, outcome) in ["5xx", "2xx"].into_iter().enumerate() {
        let (queue, attempt) = (queues[index], attempts[index]);
        assert_eq!(queue.parent_span_id, accept.span_id);
        assert_eq!(attempt.parent_span_id, queue.span_id);
        let sent = format!("00-{TRACE_ID}-{}-01", hex(&attempt.span_id));
        assert_eq!(traces_of(&requests[index]), [sent]);
        let shown = attributes(attempt);
        assert_eq!(shown["attempt"], (index + 1).to_string());
        assert_eq!(shown["outcome"], outcome);
        assert_eq!(shown["endpoint.id"], id_of(&endpoint));
        assert!(shown["delivery.id"].starts_with("dlv_"));
        assert_eq!(shown.len(), 6, "{shown:?}");
    }
    for secret in ["HUNTER2", "hunter2", "zoe@example.com", "lic_traced"] {
        assert!(!format!("{spans:?}").contains(secret), "{secret}");
    }
    Ok(())
}

/// Waits until the only delivery of a tenant is delivered.
async fn delivered(client: &Client) -> Result<()> {
    eventually("it is delivered", SOON, async || {
        let list = client.get("/v1/deliveries?status=delivered").await.ok()?;
        (e2e::items(&list.json()).len() == 1).then_some(())
    })
    .await
}

fn traces_of(request: &Received) -> Vec<&str> {
    let headers = request.headers.iter();
    let those = headers.filter(|(name, _)| name == "traceparent");
    those.map(|(_, value)| value.as_str()).collect()
}

async fn while_traces_are_off_a_publishers_goes_on_as_it_came(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    let untraced = json!({"type": "license.created", "data": {}});
    client.publish(&untraced).await?;
    let requests = receiver.wait_for("/hook", 1, SOON).await?;
    assert!(traces_of(&requests[0]).is_empty());
    publish(&client, "lic_traced").await?;
    let requests = receiver.wait_for("/hook", 2, SOON).await?;
    assert_eq!(traces_of(&requests[1]), [published_in()]);
    Ok(())
}

async fn a_collector_that_is_away_keeps_nobody_waiting(mode: Mode) -> Result<()> {
    let collector = Collector::start().await?;
    collector.0.behave(Collector::PATH, Behavior::Hang);
    let installation = collector.installation(mode).await?;
    let client = installation.tenant().await?;
    let receiver = Receiver::start().await?;
    client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    publish(&client, "lic_1").await?;
    receiver.wait_for("/hook", 1, SOON).await?;
    collector.0.wait_for(Collector::PATH, 1, SOON).await?;
    end(installation).await
}

#[tokio::test]
async fn an_endpoint_keeps_its_own_header() -> Result<()> {
    let _turn = testkit::among_others().await;
    let collector = Collector::start().await?;
    let installation = collector.installation(Mode::Embedded).await?;
    let client = installation.tenant().await?;
    let receiver = Receiver::start().await?;
    let own = json!({"headers": {"TraceParent": "its-own"}});
    client.create_endpoint(&receiver.url("/own"), own).await?;
    publish(&client, "lic_1").await?;
    let requests = receiver.wait_for("/own", 1, SOON).await?;
    assert_eq!(traces_of(&requests[0]), ["its-own"]);
    Ok(())
}

#[tokio::test]
async fn a_trace_begun_over_amqp_goes_on() -> Result<()> {
    let _turn = testkit::among_others().await;
    let collector = Collector::start().await?;
    let installation = collector.installation(Mode::Services).await?;
    let (tenant, client) = installation.named_tenant().await?;
    let receiver = Receiver::start().await?;
    client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    let event = json!({"id": "amqp-1", "type": "license.created", "data": {}});
    let mut message = rejected::message(&tenant, "license.created", event);
    message["headers"]["traceparent"] = published_in().into();
    rejected::publish(&installation, "license.events", &[message]).await?;
    let requests = receiver.wait_for("/hook", 1, SOON).await?;
    delivered(&client).await?;
    end(installation).await?;

    let spans = collector.spans()?;
    let accept = named(&spans, "accept");
    let accept = accept.first().context("an accept span")?;
    assert_eq!(hex(&accept.trace_id), TRACE_ID);
    assert_eq!(hex(&accept.parent_span_id), PUBLISHER);
    let attempt = named(&spans, "attempt");
    let attempt = attempt.first().context("an attempt span")?;
    let sent = format!("00-{TRACE_ID}-{}-01", hex(&attempt.span_id));
    assert_eq!(traces_of(&requests[0]), [sent]);
    Ok(())
}
