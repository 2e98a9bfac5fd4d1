use model::Role;
use sender::SenderConfig;
use serde_json::{Value, json};

use crate::harness::{ACME, Api, delete, get, id, items, mistakes, patch, post, read_all};

const URL: &str = "http://127.0.0.1:9/hook";

#[tokio::test]
async fn a_new_endpoint_follows_its_dialect_and_shows_its_secret_once() {
    let api = Api::start().await;
    let body = json!({"url": URL, "event_types": ["license.*"], "name": "Ours"});
    let answer = api.acme.post("/v1/endpoints", &body).await.unwrap();
    let location = answer.header("location").unwrap().to_owned();
    let made = answer.expect(201).unwrap();
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_"), "{secret}");
    assert!(made["id"].as_str().unwrap().starts_with("ep_"));

    let read = get(&api.acme, &location, 200).await;
    assert!(!read.to_string().contains(secret));
    let hint = read["secret_hint"].as_str().unwrap();
    assert!(secret.ends_with(hint.trim_start_matches('…')), "{hint}");
    assert_eq!(
        (&read["dialect"], &read["active"]),
        (&json!("standard"), &json!(true))
    );
    assert_eq!(
        (&read["retry"], &read["timeout_s"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(read["effective"]["timeout_s"], 15);
    assert_eq!(read["effective"]["delays_s"][0], 5);
    assert_eq!(
        (&read["circuit"]["open_after"], &read["circuit"]["state"]),
        (&json!(10), &json!("closed"))
    );
    let mut without_secret = made.clone();
    without_secret.as_object_mut().unwrap().remove("secret");
    assert_eq!(without_secret, read);
}

#[tokio::test]
async fn a_secret_of_ones_own_is_taken_and_a_bad_one_refused() {
    let api = Api::start().await;
    let own = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let made = api
        .acme
        .create_endpoint(URL, json!({"secret": own}))
        .await
        .unwrap();
    assert_eq!(made["secret"], own);
    let body = json!({"url": URL, "event_types": ["*"], "secret": "hunter2"});
    let problem = post(&api.acme, "/v1/endpoints", &body, 422).await;
    assert!(mistakes(&problem).contains_key("/secret"), "{problem}");
}

#[tokio::test]
async fn every_mistake_is_named_at_once() {
    let api = Api::start().await;
    let body = json!({
        "url": "ftp://example.com/", "event_types": ["*", "license.exploded"], "timeout_s": 61,
        "max_in_flight": 1001, "rate_limit": {"per_second": 0}, "circuit": {"open_after": 0},
        "retry": {"delays_s": [5, 0]}, "headers": {"Host": "example.com"},
        "name": "n".repeat(201), "product": "p".repeat(257),
        "dialect_options": {"a": "x".repeat(5_000)},
    });
    let problem = post(&api.acme, "/v1/endpoints", &body, 422).await;
    let found: Vec<_> = mistakes(&problem).into_keys().collect();
    let wanted = [
        "/circuit/open_after",
        "/dialect_options",
        "/dialect_options/a",
        "/event_types/1",
        "/headers/Host",
        "/max_in_flight",
        "/name",
        "/product",
        "/rate_limit/per_second",
        "/retry/delays_s/1",
        "/timeout_s",
        "/url",
    ];
    assert_eq!(found, wanted, "{problem}");

    let body = json!({"url": 1, "timeout_s": -1, "evnet_types": ["*"], "environment": "moon"});
    let problem = post(&api.acme, "/v1/endpoints", &body, 422).await;
    let found: Vec<_> = mistakes(&problem).into_keys().collect();
    assert_eq!(
        found,
        ["/environment", "/evnet_types", "/timeout_s", "/url"],
        "{problem}"
    );

    let problem = post(&api.acme, "/v1/endpoints", &json!({}), 422).await;
    let found: Vec<_> = mistakes(&problem).into_keys().collect();
    assert_eq!(found, ["/event_types", "/url"], "{problem}");
    let list = get(&api.acme, "/v1/endpoints", 200).await;
    assert!(items(&list).is_empty());
}

#[tokio::test]
async fn a_body_that_is_no_json_is_400_and_a_large_one_413() {
    let api = Api::start().await;
    for (body, status) in [
        (b"{\"url\":".to_vec(), 400),
        (Vec::new(), 400),
        (b"[1]".to_vec(), 422),
        (vec![b' '; web::BODY_BYTES_MAX + 1], 413),
    ] {
        let answer = api.acme.post_raw("/v1/endpoints", &[], body).await.unwrap();
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        answer.expect(status).unwrap();
    }
}

#[tokio::test]
async fn private_targets_are_refused_when_registered_and_when_changed() {
    let api = Api::start_with(SenderConfig::default()).await;
    for url in [
        "http://203.0.113.9/",
        "https://127.0.0.1/",
        "https://[::ffff:10.0.0.1]/",
    ] {
        let body = json!({"url": url, "event_types": ["*"]});
        let problem = post(&api.acme, "/v1/endpoints", &body, 422).await;
        assert!(mistakes(&problem).contains_key("/url"), "{url}: {problem}");
    }
    let made = api
        .acme
        .create_endpoint("https://8.8.8.8/hook", json!({}))
        .await
        .unwrap();
    let path = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());
    let change = json!({"url": "https://169.254.169.254/"});
    let problem = patch(&api.acme, &path, &change, 422).await;
    assert!(mistakes(&problem).contains_key("/url"), "{problem}");
}

#[tokio::test]
async fn a_patch_merges_and_null_goes_back_to_the_default() {
    let api = Api::start().await;
    let settings = json!({
        "name": "Ours", "timeout_s": 20, "retry": {"delays_s": [1, 2]},
        "headers": {"x-one": "secret-1", "x-two": "secret-2"}, "environment": "staging",
    });
    let made = api.acme.create_endpoint(URL, settings).await.unwrap();
    let path = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());
    let change = json!({
        "name": null, "timeout_s": null, "circuit": {"open_after": 3},
        "headers": {"x-one": null, "x-three": "secret-3"}, "url": "http://127.0.0.1:9/other",
    });
    let read = patch(&api.acme, &path, &change, 200).await;
    assert_eq!(read, get(&api.acme, &path, 200).await);
    assert_eq!(
        (&read["name"], &read["timeout_s"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(read["retry"], json!({"delays_s": [1, 2]}));
    assert_eq!(
        (&read["environment"], &read["circuit"]["open_after"]),
        (&json!("staging"), &json!(3))
    );
    assert_eq!(read["url"], "http://127.0.0.1:9/other");
    let names: Vec<_> = read["headers"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["x-three", "x-two"]);
    assert!(!read.to_string().contains("secret-"), "{read}");
    let kept = api.directory.snapshot();
    let kept = kept.endpoint(id(&made)).unwrap();
    assert_eq!(kept.headers["x-two"], "secret-2");
    assert_eq!(kept.secrets.len(), 1);

    // What was shown cannot be stored by mistake.
    let masked = json!({"headers": read["headers"]});
    patch(&api.acme, &path, &masked, 422).await;
}

#[tokio::test]
async fn the_limit_of_requests_in_flight_is_shown_with_batches_too() {
    let api = Api::start().await;
    let settings = json!({
        "dialect": "traffic", "max_in_flight": 3, "dialect_options": {"batch": {"max_events": 50}},
    });
    let made = api.acme.create_endpoint(URL, settings).await.unwrap();
    assert_eq!(made["effective"]["max_in_flight"], 3, "{made}");
}

#[tokio::test]
async fn a_patch_is_refused_whole() {
    let api = Api::start().await;
    let made = api
        .acme
        .create_endpoint(URL, json!({"name": "Ours"}))
        .await
        .unwrap();
    let path = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());
    for (change, member) in [
        (json!({"name": "New", "timeout_s": 0}), "/timeout_s"),
        (json!({"name": "New", "event_types": null}), "/event_types"),
        (json!({"name": "New", "url": null}), "/url"),
        (json!({"name": "New", "id": "ep_1"}), "/id"),
        (json!({"name": "New", "secret": "whsec_x"}), "/secret"),
        (json!({"name": "New", "dialect": "morse"}), "/dialect"),
        (json!(7), ""),
    ] {
        let problem = patch(&api.acme, &path, &change, 422).await;
        assert!(
            mistakes(&problem).contains_key(member),
            "{change}: {problem}"
        );
    }
    let read = get(&api.acme, &path, 200).await;
    assert_eq!(read["name"], "Ours");
}

#[tokio::test]
async fn a_dialect_that_cannot_sign_with_the_secret_waits_for_another() {
    let api = Api::start().await;
    let settings = json!({"dialect": "github", "secret": "It's a Secret to Everybody"});
    let made = api.acme.create_endpoint(URL, settings).await.unwrap();
    let path = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());
    let change = json!({"dialect": "standard"});
    let problem = patch(&api.acme, &path, &change, 422).await;
    assert!(
        mistakes(&problem)["/dialect"].contains("rotate"),
        "{problem}"
    );
    patch(&api.acme, &path, &json!({"dialect": "stripe"}), 200).await;
    let rotate = format!("{path}/rotate_secret");
    post(&api.acme, &rotate, &json!({}), 200).await;
    // The old one signs on.
    patch(&api.acme, &path, &change, 422).await;
    post(&api.acme, &rotate, &json!({"grace_s": 0}), 200).await;
    patch(&api.acme, &path, &change, 200).await;
}

#[tokio::test]
async fn patches_at_the_same_time_are_all_kept() {
    let api = Api::start().await;
    let made = api.acme.create_endpoint(URL, json!({})).await.unwrap();
    let path = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());
    let patches: Vec<_> = (0..8)
        .map(|n| {
            let (client, path) = (api.acme.clone(), path.clone());
            tokio::spawn(async move {
                let change = json!({"headers": {format!("x-{n}"): "v"}});
                patch(&client, &path, &change, 200).await;
            })
        })
        .collect();
    for patch in patches {
        patch.await.unwrap();
    }
    let read = get(&api.acme, &path, 200).await;
    assert_eq!(read["headers"].as_object().unwrap().len(), 8, "{read}");
}

#[tokio::test]
async fn a_list_filters_and_pages() {
    let api = Api::start().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let environment = if n < 2 { "staging" } else { "production" };
        let more =
            json!({"name": format!("Number {n}"), "active": n != 4, "environment": environment});
        let made = api
            .acme
            .create_endpoint(&format!("{URL}/{n}"), more)
            .await
            .unwrap();
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    ids.sort_unstable();
    assert_eq!(read_all(&api.acme, "/v1/endpoints", 2, "id").await, ids);
    for (filter, count) in [
        ("active=false", 1),
        ("active=true", 4),
        ("environment=staging", 2),
        ("query=number%203", 1),
        ("query=HOOK/2", 1),
        ("query=nothing", 0),
        ("query=number&environment=production&active=true", 2),
    ] {
        let found = read_all(&api.acme, &format!("/v1/endpoints?{filter}"), 50, "id").await;
        assert_eq!(found.len(), count, "{filter}");
    }
    for refused in [
        "active=perhaps",
        "environment=moon",
        "colour=red",
        "limit=201",
        "cursor=x",
    ] {
        let answer = api
            .acme
            .get(&format!("/v1/endpoints?{refused}"))
            .await
            .unwrap();
        assert_eq!(answer.status, 400, "{refused}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_deleted_endpoint_is_gone() {
    let api = Api::start().await;
    let endpoint = api.endpoint(URL).await;
    let path = format!("/v1/endpoints/{endpoint}");
    let editor = api.with_role(ACME, Role::Editor).await;
    delete(&editor, &path, 204).await;
    delete(&editor, &path, 404).await;
    get(&editor, &path, 404).await;
    get(&editor, "/v1/endpoints/nonsense", 404).await;
}
