//! What nobody should send is refused with the status the contract names and the member that is
//! wrong, nothing of it is stored, and the process does not mind.

use anyhow::{Context, Result};
use e2e::{Installation, Mode, in_both_modes};
use serde_json::{Value, json};
use testkit::Client;

in_both_modes!(
    a_bad_event_is_refused_whole_and_its_member_named,
    an_event_is_taken_up_to_256_kib_and_no_byte_more,
    a_batch_is_taken_up_to_1000_events_and_no_more,
    a_bad_request_of_any_kind_is_answered_with_a_problem_document,
    a_bad_endpoint_is_refused_with_every_mistake_at_once,
);

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// Publishes a body; answers the problem's status, detail and members.
async fn refused(client: &Client, body: impl Into<Vec<u8>>) -> Result<(u16, String)> {
    let answer = client.post_raw("/v1/events", &JSON, body.into()).await?;
    let problem = answer.json();
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json"),
        "{problem}"
    );
    assert_eq!(problem["status"], answer.status, "{problem}");
    assert!(
        problem["type"].is_string() && problem["title"].is_string(),
        "{problem}"
    );
    Ok((answer.status, problem.to_string()))
}

async fn stored(client: &Client) -> Result<Value> {
    Ok(client.get("/v1/events").await?.expect(200)?["items"].clone())
}

/// What is no event, and the member that is to be named.
const BAD_EVENTS: &[(&str, &str)] = &[
    ("", ""),
    ("{", ""),
    ("null", ""),
    ("[]", ""),
    ("\"license.created\"", ""),
    ("\u{feff}{}", ""),
    (r#"{"data":{}}"#, "/type"),
    (r#"{"type":"license.created"}"#, "/data"),
    (r#"{"type":7,"data":{}}"#, "/type"),
    (r#"{"type":"license.exploded","data":{}}"#, "/type"),
    (r#"{"type":"LICENSE.CREATED","data":{}}"#, "/type"),
    (r#"{"type":"license.created","data":[]}"#, "/data"),
    (r#"{"type":"license.created","data":"x"}"#, "/data"),
    (r#"{"type":"license.created","data":null}"#, "/data"),
    (r#"{"type":"license.created","data":{},"id":""}"#, "/id"),
    (r#"{"type":"license.created","data":{},"id":"a b"}"#, "/id"),
    (r#"{"type":"license.created","data":{},"id":5}"#, "/id"),
    (
        r#"{"type":"license.created","data":{},"occurred_at":"yesterday"}"#,
        "/occurred_at",
    ),
    (
        r#"{"type":"license.created","data":{},"occurred_at":1760000000}"#,
        "/occurred_at",
    ),
    (
        r#"{"type":"license.created","data":{},"occurred_at":"-005000-01-01T00:00:00Z"}"#,
        "/occurred_at",
    ),
    (
        r#"{"type":"license.bulk_revoked","data":{}}"#,
        "/data/licenses",
    ),
    (
        r#"{"type":"license.created","data":{},"environment":"moon"}"#,
        "/environment",
    ),
    (
        r#"{"type":"license.created","data":{"license":{"id":7}}}"#,
        "/data/license/id",
    ),
    (
        r#"{"type":"license.created","data":{"name":"\ud800"}}"#,
        "/data/name",
    ),
    (r#"{"type":"license.created","data":{"a":1,"a":2}}"#, "a"),
    (
        r#"{"type":"license.created","type":"license.revoked","data":{}}"#,
        "type",
    ),
];

async fn a_bad_event_is_refused_whole_and_its_member_named(mode: Mode) -> Result<()> {
    let installation = Installation::shared(mode).await?;
    let client = installation.tenant().await?;
    let pid = installation.ingest.pid();
    let deep = format!(
        r#"{{"type":"license.created","data":{{"a":{}{}}}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let deep_case = (deep.as_str(), "/data/a");
    for (body, member) in BAD_EVENTS.iter().chain([&deep_case]) {
        let shown = &body[..body.len().min(80)];
        let (status, problem) = refused(&client, *body).await?;
        assert!(
            status == 400 || status == 422,
            "{shown}: {status} {problem}"
        );
        assert!(
            problem.contains(member),
            "{shown}: {member} is not named: {problem}"
        );
    }
    let not_utf8 = [
        br#"{"type":"license.created","data":{"a":""#.as_slice(),
        b"\xff\xfe\"}}",
    ];
    assert_eq!(refused(&client, not_utf8.concat()).await?.0, 400);
    let long_id = format!(
        r#"{{"type":"license.created","data":{{}},"id":"{}"}}"#,
        "x".repeat(129)
    );
    assert!(refused(&client, long_id).await?.1.contains("/id"));

    assert_eq!(stored(&client).await?, json!([]), "nothing is stored");
    assert_eq!(installation.ingest.pid(), pid);
    client
        .publish(&json!({"type": "license.created", "data": {}}))
        .await?;
    Ok(())
}

async fn an_event_is_taken_up_to_256_kib_and_no_byte_more(mode: Mode) -> Result<()> {
    const BYTES_MAX: usize = 256 * 1024;
    let client = Installation::shared(mode).await?.tenant().await?;
    let of_bytes = |bytes: usize| {
        let frame = r#"{"type":"license.created","data":{"pad":""}}"#.len();
        format!(
            r#"{{"type":"license.created","data":{{"pad":"{}"}}}}"#,
            "x".repeat(bytes - frame)
        )
    };
    for bytes in [BYTES_MAX + 1, 257 * 1024, 4 * BYTES_MAX] {
        let answer = refused(&client, of_bytes(bytes)).await;
        let (status, problem) = answer.with_context(|| format!("{bytes} bytes"))?;
        assert_eq!(status, 413, "{bytes}: {problem}");
        assert!(problem.contains("256"), "the limit is named: {problem}");
    }
    assert_eq!(stored(&client).await?, json!([]));
    client
        .post_raw("/v1/events", &JSON, of_bytes(BYTES_MAX).into())
        .await?
        .expect(202)?;
    Ok(())
}

async fn a_batch_is_taken_up_to_1000_events_and_no_more(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let batch = |count| json!(vec![json!({"type": "license.created", "data": {}}); count]);
    let answer = client.post("/v1/events/batch", &batch(1001)).await?;
    assert!(
        [400, 413, 422].contains(&answer.status),
        "{} {}",
        answer.status,
        answer.text()
    );
    assert!(
        answer.text().contains("1,000") || answer.text().contains("1000"),
        "{}",
        answer.text()
    );
    assert_eq!(stored(&client).await?, json!([]), "none of them");
    let answer = client
        .post("/v1/events/batch", &batch(1000))
        .await?
        .expect(200)?;
    assert_eq!(answer["results"].as_array().map(Vec::len), Some(1000));
    Ok(())
}

async fn a_bad_request_of_any_kind_is_answered_with_a_problem_document(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let answers = [
        (404, client.get("/v1/nothing").await?),
        (405, client.delete("/v1/events").await?),
        (404, client.get("/v1/events/none").await?),
        (
            404,
            client
                .get("/v1/endpoints/ep_00000000000000000000000000")
                .await?,
        ),
        (400, client.get("/v1/events?limit=1000000").await?),
        (400, client.get("/v1/events?limit=-1").await?),
        (400, client.get("/v1/events?cursor=nonsense").await?),
        (400, client.get("/v1/deliveries?status=lost").await?),
        (
            400,
            client
                .post_raw(
                    "/v1/events",
                    &[("content-type", "text/xml")],
                    b"<a/>".into(),
                )
                .await?,
        ),
    ];
    for (status, answer) in answers {
        let problem = answer.json();
        assert_eq!(answer.status, status, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{problem}"
        );
        for leaked in ["sqlx", "SELECT", "panicked", "rusqlite", "lapin", ".rs:"] {
            assert!(!answer.text().contains(leaked), "{problem}");
        }
    }
    Ok(())
}

async fn a_bad_endpoint_is_refused_with_every_mistake_at_once(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let endpoint = json!({
        "url": "ftp://example.com/", "dialect": "standard", "event_types": ["license.exploded"],
        "timeout_s": 0, "max_in_flight": 0, "rate_limit": {"per_second": 0},
        "retry": {"delays_s": [0]}, "headers": {"bad name": "x", "Content-Length": "1"},
    });
    let answer = client.post("/v1/endpoints", &endpoint).await?;
    assert_eq!(answer.status, 422, "{}", answer.text());
    let problem = answer.json();
    let pointers: Vec<_> = problem["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|error| error["pointer"].as_str().unwrap_or_default())
        .collect();
    for member in [
        "/url",
        "/event_types/0",
        "/timeout_s",
        "/max_in_flight",
        "/rate_limit",
        "/retry",
        "/headers",
    ] {
        assert!(
            pointers.iter().any(|pointer| pointer.starts_with(member)),
            "{member}: {problem}"
        );
    }
    let nothing = json!({"url": "https://example.com/", "dialect": "morse", "event_types": ["*"]});
    let answer = client.post("/v1/endpoints", &nothing).await?;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.text().contains("/dialect"), "{}", answer.text());
    assert_eq!(
        client.get("/v1/endpoints").await?.expect(200)?["items"],
        json!([])
    );
    Ok(())
}
