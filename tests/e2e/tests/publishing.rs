//! What is published arrives, signed, once, and in every form that is accepted.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use e2e::{Installation, Mode, SOON, in_both_modes, items, verifies};
use serde_json::json;
use testkit::Receiver;

in_both_modes!(
    an_event_arrives_signed_with_its_data_untouched,
    a_batch_of_1000_arrives_whole,
    ndjson_is_taken_line_by_line_and_bad_lines_are_named,
    cloud_events_arrive_in_all_three_forms,
    an_endpoint_gets_what_it_asked_for_and_nothing_else,
);

async fn an_event_arrives_signed_with_its_data_untouched(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    let endpoint = client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    let data = r#"{"z":1.0,"a":"zoë é <&>","license":{"id":"lic_1","key":"KP-ABCD"}}"#;
    let body = format!(
        r#"{{"id":"evt-1","type":"license.activated","occurred_at":"2026-04-15T12:00:00.000Z","data":{data}}}"#
    );
    let answer = client
        .post_raw("/v1/events", &JSON, body.into_bytes())
        .await?
        .expect(202)?;
    assert_eq!(
        answer,
        json!({"id": "evt-1", "sequence": 1, "duplicate": false})
    );

    let received = receiver.wait_for("/hook", 1, SOON).await?.remove(0);
    let secret = endpoint["secret"].as_str().context("a secret, this once")?;
    assert!(verifies(&received, secret), "{received:?}");
    assert!(!verifies(
        &received,
        "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    ));
    assert_eq!(received.id(), "evt-1");
    let text = String::from_utf8_lossy(&received.body);
    assert!(text.contains(data), "byte for byte: {text}");
    assert_eq!(received.json()["type"], "license.activated");

    let delivery = client
        .delivery_with_status("evt-1", "delivered", SOON)
        .await?;
    assert_eq!(
        delivery["attempts"].as_array().map(Vec::len),
        Some(1),
        "{delivery}"
    );
    assert_eq!(receiver.count("/hook"), 1);
    Ok(())
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

async fn a_batch_of_1000_arrives_whole(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    let batch: Vec<_> = (0..1000)
        .map(|n| {
            json!({"id": format!("b-{n}"), "type": "license.validated",
            "data": {"license": {"id": format!("lic_{}", n % 10)}}})
        })
        .collect();
    let answer = client
        .post("/v1/events/batch", &json!(batch))
        .await?
        .expect(200)?;
    let results = answer["results"].as_array().context("results")?;
    assert_eq!(results.len(), 1000);
    for (index, result) in results.iter().enumerate() {
        assert_eq!(
            (&result["index"], &result["status"]),
            (&json!(index), &json!(202)),
            "{result}"
        );
        assert_eq!(result["id"], format!("b-{index}"));
    }
    receiver.wait_for_distinct("/hook", 1000, SOON).await?;
    assert_eq!(receiver.count("/hook"), 1000, "each once");
    let again = client
        .post("/v1/events/batch", &json!(batch))
        .await?
        .expect(200)?;
    assert!(
        again["results"]
            .as_array()
            .is_some_and(|all| all.iter().all(|r| r["status"] == 202))
    );
    let timeline = client
        .get("/v1/licenses/lic_3/events?limit=200")
        .await?
        .expect(200)?;
    let sequences: Vec<_> = items(&timeline)
        .iter()
        .map(|event| event["sequence"].clone())
        .collect();
    assert_eq!(json!(sequences), json!((1..=100).collect::<Vec<_>>()));
    Ok(())
}

async fn ndjson_is_taken_line_by_line_and_bad_lines_are_named(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let lines = concat!(
        r#"{"id":"n-0","type":"license.created","data":{}}"#,
        "\n",
        r#"{"id":"n-1","type":"license.exploded","data":{}}"#,
        "\n",
        "{broken\n",
        r#"{"id":"n-3","type":"license.created","data":{}}"#,
        "\n",
    );
    let headers = [("content-type", "application/x-ndjson")];
    let answer = client
        .post_raw("/v1/events/batch", &headers, lines.into())
        .await?
        .expect(200)?;
    let results = answer["results"].as_array().context("results")?;
    let statuses: Vec<_> = results
        .iter()
        .map(|result| result["status"].as_u64())
        .collect();
    assert_eq!(statuses.len(), 4, "{answer}");
    assert_eq!(
        (statuses[0], statuses[3]),
        (Some(202), Some(202)),
        "{answer}"
    );
    for bad in [1, 2] {
        assert!(
            statuses[bad].is_some_and(|status| (400..500).contains(&status)),
            "{answer}"
        );
        assert!(results[bad]["detail"].is_string(), "{answer}");
    }
    assert!(
        results[1]["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("type")),
        "{answer}"
    );
    assert_eq!(client.get("/v1/events/n-0").await?.status, 200);
    assert_eq!(client.get("/v1/events/n-1").await?.status, 404);
    Ok(())
}

async fn cloud_events_arrive_in_all_three_forms(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    client
        .create_endpoint(&receiver.url("/hook"), json!({}))
        .await?;
    let cloud_event = |id: &str| {
        json!({"specversion": "1.0", "id": id, "source": "/licenses", "type": "license.created",
            "time": "2026-04-15T12:00:00Z", "datacontenttype": "application/json",
            "data": {"license": {"id": "lic_ce"}, "form": id}})
    };
    let structured = [("content-type", "application/cloudevents+json")];
    let body = serde_json::to_vec(&cloud_event("ce-structured"))?;
    client
        .post_raw("/v1/events", &structured, body)
        .await?
        .expect(202)?;

    let batch = [("content-type", "application/cloudevents-batch+json")];
    let body = serde_json::to_vec(&json!([
        cloud_event("ce-batch-0"),
        cloud_event("ce-batch-1")
    ]))?;
    let answer = client
        .post_raw("/v1/events/batch", &batch, body)
        .await?
        .expect(200)?;
    assert_eq!(
        answer["results"].as_array().map(Vec::len),
        Some(2),
        "{answer}"
    );

    let binary = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "ce-binary"),
        ("ce-source", "/licenses"),
        ("ce-type", "license.created"),
        ("ce-time", "2026-04-15T12:00:00Z"),
    ];
    let body = serde_json::to_vec(&cloud_event("ce-binary")["data"])?;
    client
        .post_raw("/v1/events", &binary, body)
        .await?
        .expect(202)?;

    let received = receiver.wait_for("/hook", 4, SOON).await?;
    let forms: BTreeSet<_> = received
        .iter()
        .map(|one| one.json()["data"]["form"].clone().to_string())
        .collect();
    let wanted = ["ce-structured", "ce-batch-0", "ce-batch-1", "ce-binary"];
    assert_eq!(
        forms,
        wanted.iter().map(|id| json!(id).to_string()).collect()
    );
    let ids: BTreeSet<_> = received.iter().map(|one| one.id().to_owned()).collect();
    assert_eq!(ids, wanted.iter().map(|id| (*id).to_owned()).collect());
    let timeline = client
        .get("/v1/licenses/lic_ce/events")
        .await?
        .expect(200)?;
    assert_eq!(items(&timeline).len(), 4);
    Ok(())
}

async fn an_endpoint_gets_what_it_asked_for_and_nothing_else(mode: Mode) -> Result<()> {
    let client = Installation::shared(mode).await?.tenant().await?;
    let receiver = Receiver::start().await?;
    let wishes = [
        (
            "/types",
            json!({"event_types": ["license.revoked", "activation.*"]}),
        ),
        ("/staging", json!({"environment": "staging"})),
        ("/product", json!({"product": "prod_1"})),
    ];
    for (path, wish) in wishes {
        client.create_endpoint(&receiver.url(path), wish).await?;
    }
    let events = [
        json!({"id": "1", "type": "license.created", "data": {}}),
        json!({"id": "2", "type": "license.revoked", "data": {}}),
        json!({"id": "3", "type": "activation.created", "data": {}, "environment": "staging"}),
        json!({"id": "4", "type": "license.created", "data": {}, "product": "prod_1"}),
    ];
    for event in &events {
        client.publish(event).await?;
    }
    let ids = async |path: &str, count| {
        let received = receiver.wait_for(path, count, SOON).await?;
        anyhow::Ok(
            received
                .iter()
                .map(|one| one.id().to_owned())
                .collect::<BTreeSet<_>>(),
        )
    };
    assert_eq!(
        ids("/types", 2).await?,
        ["2", "3"].map(str::to_owned).into()
    );
    assert_eq!(ids("/staging", 1).await?, ["3"].map(str::to_owned).into());
    assert_eq!(ids("/product", 1).await?, ["4"].map(str::to_owned).into());
    assert!(client.deliveries_of("1").await?.is_empty());
    Ok(())
}
