use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Api, Submitted, get};

/// The calls of the public contract that this crate answers.
const CALLS: &[(&str, &str)] = &[
    ("get", "/v1/events"),
    ("get", "/v1/events/{id}"),
    ("get", "/v1/licenses/{license}/events"),
    ("get", "/v1/rejected"),
    ("post", "/v1/rejected/discard"),
    ("post", "/v1/rejected/retry"),
    ("get", "/v1/parked"),
    ("get", "/v1/event-types"),
    ("post", "/v1/event-types"),
    ("get", "/v1/dialects"),
    ("get", "/v1/signing-keys"),
    ("get", "/v1/signing-keys/{account}"),
    ("get", "/v1/egress-addresses"),
    ("get", "/v1/endpoints"),
    ("post", "/v1/endpoints"),
    ("get", "/v1/endpoints/{id}"),
    ("patch", "/v1/endpoints/{id}"),
    ("delete", "/v1/endpoints/{id}"),
    ("post", "/v1/endpoints/{id}/rotate_secret"),
    ("post", "/v1/endpoints/{id}/test"),
    ("post", "/v1/endpoints/{id}/enable"),
    ("post", "/v1/endpoints/{id}/disable"),
    ("get", "/v1/endpoints/{id}/stats"),
    ("get", "/v1/handshake/confirm"),
    ("post", "/v1/handshake/confirm"),
    ("post", "/api/webhooks"),
    ("post", "/api/webhooks/test"),
    ("get", "/v1/sources"),
    ("post", "/v1/sources"),
    ("get", "/v1/sources/{id}"),
    ("patch", "/v1/sources/{id}"),
    ("delete", "/v1/sources/{id}"),
    ("post", "/v1/sources/{id}/rotate_secret"),
    ("get", "/v1/deliveries"),
    ("get", "/v1/deliveries/{id}"),
    ("post", "/v1/deliveries/{id}/retry"),
    ("post", "/v1/deliveries/retry"),
    ("get", "/v1/tenants"),
    ("post", "/v1/tenants"),
    ("get", "/v1/tenants/{id}"),
    ("patch", "/v1/tenants/{id}"),
    ("get", "/v1/keys"),
    ("post", "/v1/keys"),
    ("delete", "/v1/keys/{id}"),
    ("get", "/openapi.json"),
    ("get", "/docs"),
];

fn documented(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    let calls = paths.iter().flat_map(|(path, item)| {
        item.as_object()
            .unwrap()
            .keys()
            .map(|method| (method.clone(), path.clone()))
    });
    calls.collect()
}

#[tokio::test]
async fn the_document_lists_every_route_and_every_listed_route_is_there() {
    let api = Api::start().await;
    let anybody = api.operator.with_key(None);
    let document = get(&anybody, "/openapi.json", 200).await;
    let mut calls = documented(&document);
    assert!(
        calls.remove(&("get".to_owned(), "/elsewhere".to_owned())),
        "what others add"
    );
    let wanted = CALLS
        .iter()
        .map(|(method, path)| ((*method).to_owned(), (*path).to_owned()));
    assert_eq!(calls, wanted.collect());
    for (method, path) in calls {
        let path = ["{id}", "{license}", "{account}"]
            .iter()
            .fold(path, |path, variable| path.replace(variable, "none"));
        let body = json!({});
        let answer = match method.as_str() {
            "get" => anybody.get(&path).await,
            "post" => anybody.post(&path, &body).await,
            "patch" => anybody.patch(&path, &body).await,
            "delete" => anybody.delete(&path).await,
            other => panic!("{other}"),
        };
        let expected = match path.as_str() {
            "/openapi.json" | "/docs" => 200,
            // Whoever has its key may; without one it makes no sense.
            "/v1/handshake/confirm" => 400,
            // Public, if it were there.
            "/v1/signing-keys/none" => 404,
            _ => 401,
        };
        assert_eq!(answer.unwrap().status, expected, "{method} {path}");
    }
}

#[tokio::test]
async fn every_reference_in_the_document_leads_somewhere() {
    let api = Api::start().await;
    let document = get(&api.operator, "/openapi.json", 200).await;
    let text = document.to_string();
    let mut count = 0;
    for reference in text.split(r##""$ref":"#"##).skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
        count += 1;
    }
    assert!(count > 20, "{count}");
    assert_eq!(
        document["components"]["securitySchemes"]["key"]["scheme"],
        "bearer"
    );
}

#[tokio::test]
async fn every_response_is_described() {
    let api = Api::start().await;
    let document = get(&api.operator, "/openapi.json", 200).await;
    for (method, path) in CALLS {
        let responses = document["paths"][path][method]["responses"]
            .as_object()
            .unwrap();
        for (status, response) in responses {
            let description = response["description"].as_str().unwrap_or_default();
            assert!(!description.is_empty(), "{method} {path} {status}");
        }
    }
}

/// The members that a schema documents, those of its parts too.
fn members(document: &Value, schema: &Value) -> BTreeSet<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return members(document, document.pointer(&reference[1..]).unwrap());
    }
    let own = schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(|it| it.keys().cloned());
    let parts = schema["allOf"].as_array().into_iter().flatten();
    own.chain(parts.flat_map(|part| members(document, part)))
        .collect()
}

#[tokio::test]
async fn answers_have_the_members_that_are_documented() {
    let api = Api::start().await;
    let endpoint = api.endpoint("http://127.0.0.1:9/hook").await;
    let delivery = api
        .accept(Submitted {
            endpoints: &[endpoint],
            ..Submitted::default()
        })
        .await[0];
    let document = get(&api.operator, "/openapi.json", 200).await;
    for (route, path) in [
        ("/v1/endpoints/{id}", format!("/v1/endpoints/{endpoint}")),
        (
            "/v1/endpoints/{id}/stats",
            format!("/v1/endpoints/{endpoint}/stats"),
        ),
        ("/v1/deliveries/{id}", format!("/v1/deliveries/{delivery}")),
        ("/v1/events/{id}", "/v1/events/evt_1".to_owned()),
        ("/v1/endpoints", "/v1/endpoints".to_owned()),
    ] {
        let content = &document["paths"][route]["get"]["responses"]["200"]["content"];
        let wanted = members(&document, &content["application/json"]["schema"]);
        let answer = get(&api.acme, &path, 200).await;
        let found: BTreeSet<_> = answer.as_object().unwrap().keys().cloned().collect();
        assert_eq!(found, wanted, "{route}");
    }
}

#[tokio::test]
async fn the_page_for_people_brings_everything_along() {
    let api = Api::start().await;
    let answer = api.operator.with_key(None).get("/docs").await.unwrap();
    let policy = answer.header("content-security-policy").unwrap().to_owned();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    let page = answer.text();
    assert!(
        !page.contains("http://") && !page.contains("https://"),
        "nothing from elsewhere"
    );
    assert!(page.contains("/openapi.json"));
}
