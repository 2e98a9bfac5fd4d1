//! Asking a receiver before sending to it (cloudevents/spec: http-webhook, section 4).

use model::Endpoint;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{Dialect, options};

const ALLOWED_RATE: &str = "webhook-allowed-rate";

/// What a receiver is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The DNS name the sender speaks for.
    pub origin: String,
    /// Requests a minute it would like to make.
    pub rate_per_minute: Option<u32>,
}

/// The options that make an endpoint's receiver be asked.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Options {
    origin: Option<String>,
    handshake: bool,
    rate_per_minute: Option<u32>,
}

/// What it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `None`: as often as the sender likes.
    Granted { rate_per_minute: Option<u32> },
    /// It may still agree, through the callback.
    NotGranted,
}

impl Dialect {
    /// What the endpoint's receiver has to be asked before anything is sent to it.
    pub fn handshake(self, endpoint: &Endpoint) -> Option<Handshake> {
        if !self.profile().asks_first {
            return None;
        }
        let options = Options::deserialize(&endpoint.dialect_options).ok()?;
        options.handshake.then(|| Handshake {
            // Without one, which no checked options are, it is asked all the same.
            origin: options.origin.unwrap_or_default(),
            rate_per_minute: options.rate_per_minute,
        })
    }

    /// Where a receiver is to be asked and its endpoint's options do not say in whose name, it is
    /// in that of `host`.
    pub fn name_origin(self, options: &mut Map<String, Value>, host: &str) {
        let asks = options.get("handshake") == Some(&Value::Bool(true));
        if self.profile().asks_first && asks && !options.contains_key("origin") {
            options.insert("origin".to_owned(), host.into());
        }
    }

    /// The headers with which a receiver of this dialect agrees to be sent to; `None` if it was not
    /// asked by the dialect's rules. `header` finds one of the `OPTIONS` request's by its
    /// lower-case name.
    pub fn agree<'h>(
        self,
        header: &dyn Fn(&str) -> Option<&'h str>,
    ) -> Option<[(&'static str, String); 2]> {
        if !self.profile().asks_first {
            return None;
        }
        let origin = header("webhook-request-origin")?.trim();
        let rate = header("webhook-request-rate").and_then(|rate| rate.trim().parse().ok());
        let rate = match rate {
            None | Some(0_u32) => "*".to_owned(),
            Some(rate) => rate.to_string(),
        };
        (!origin.is_empty()).then(|| {
            [
                ("webhook-allowed-origin", origin.to_owned()),
                (ALLOWED_RATE, rate),
            ]
        })
    }
}

impl Handshake {
    /// The headers of the `OPTIONS` request to this endpoint. `callback` is where the receiver may
    /// agree later.
    pub fn headers(
        &self,
        endpoint: &Endpoint,
        callback: Option<String>,
    ) -> Vec<(&'static str, String)> {
        let mut headers = vec![("webhook-request-origin", self.origin.clone())];
        if let Some(rate) = self.rate_per_minute {
            headers.push(("webhook-request-rate", rate.to_string()));
        }
        if let Some(callback) = callback {
            headers.push(("webhook-request-callback", callback));
        }
        if let Some(agent) = options::common(endpoint).user_agent {
            headers.push(("user-agent", agent));
        }
        headers
    }

    /// Judges the response by its headers alone: its status says nothing. `header` finds one by
    /// its lower-case name.
    pub fn judge<'h>(&self, header: &dyn Fn(&str) -> Option<&'h str>) -> Answer {
        let origin = header("webhook-allowed-origin").map(str::trim);
        if !origin.is_some_and(|it| it == "*" || it.eq_ignore_ascii_case(&self.origin)) {
            return Answer::NotGranted;
        }
        match (header(ALLOWED_RATE), self.rate_per_minute) {
            (None, Some(_)) => Answer::NotGranted,
            (None, None) => Answer::Granted {
                rate_per_minute: None,
            },
            (Some(rate), _) => Self::judge_rate(rate),
        }
    }

    /// Judges an agreement that comes through the callback: without a rate, what was asked for.
    pub fn judge_callback<'h>(&self, header: &dyn Fn(&str) -> Option<&'h str>) -> Answer {
        match header(ALLOWED_RATE) {
            Some(rate) => Self::judge_rate(rate),
            None => Answer::Granted {
                rate_per_minute: self.rate_per_minute,
            },
        }
    }

    fn judge_rate(rate: &str) -> Answer {
        match rate.trim() {
            "*" => Answer::Granted {
                rate_per_minute: None,
            },
            rate => match rate.parse() {
                Ok(rate @ 1..) => Answer::Granted {
                    rate_per_minute: Some(rate),
                },
                Ok(0) | Err(_) => Answer::NotGranted,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(
        asked: Option<u32>,
        origin: Option<&'static str>,
        rate: Option<&'static str>,
    ) -> Answer {
        let handshake = Handshake {
            origin: "hooks.example.net".to_owned(),
            rate_per_minute: asked,
        };
        handshake.judge(&|name| match name {
            "webhook-allowed-origin" => origin,
            "webhook-allowed-rate" => rate,
            _ => None,
        })
    }

    #[test]
    fn only_the_headers_of_the_response_give_consent() {
        let granted = |rate_per_minute| Answer::Granted { rate_per_minute };
        let ours = Some("hooks.example.net");
        assert_eq!(judged(None, ours, None), granted(None));
        assert_eq!(judged(None, Some("*"), None), granted(None));
        assert_eq!(judged(Some(120), ours, Some("100")), granted(Some(100)));
        assert_eq!(judged(Some(120), ours, Some("*")), granted(None));
        for (asked, origin, rate) in [
            (None, None, None),
            (None, Some("other.example.net"), None),
            (Some(120), ours, None),
            (Some(120), ours, Some("0")),
            (Some(120), ours, Some("many")),
        ] {
            assert_eq!(
                judged(asked, origin, rate),
                Answer::NotGranted,
                "{asked:?} {rate:?}"
            );
        }
    }

    fn endpoint(options: Value) -> Endpoint {
        let tenant = model::TenantId::new("acme").unwrap();
        let url = "https://receiver.example/hooks".parse().unwrap();
        let id = model::EndpointId::from_u128(1);
        let mut endpoint = Endpoint::new(id, tenant, url, "cloudevents", "".into());
        endpoint.dialect_options = options.as_object().unwrap().clone();
        endpoint
    }

    #[test]
    fn whoever_is_to_be_asked_is_asked_whatever_the_options_lack() {
        let asked = |options| Dialect::CloudEvents.handshake(&endpoint(options));
        assert_eq!(asked(json!({"origin": "hooks.example.net"})), None);
        let origin = |options| asked(options).unwrap().origin;
        assert_eq!(origin(json!({"handshake": true, "unmapped": "skip"})), "");
        let named = json!({"handshake": true, "origin": "hooks.example.net"});
        assert_eq!(origin(named), "hooks.example.net");
    }

    #[test]
    fn an_origin_is_named_where_one_is_needed_and_missing() {
        let named = |dialect: Dialect, options: Value| {
            let mut options = options.as_object().unwrap().clone();
            dialect.name_origin(&mut options, "fanfare.example");
            options.get("origin").cloned()
        };
        let asks = json!({"handshake": true});
        let ours = Some(json!("fanfare.example"));
        assert_eq!(named(Dialect::CloudEvents, asks.clone()), ours);
        assert_eq!(named(Dialect::Standard, asks), None);
        assert_eq!(named(Dialect::CloudEvents, json!({})), None);
        let own = json!({"handshake": true, "origin": "a.example"});
        assert_eq!(named(Dialect::CloudEvents, own), Some(json!("a.example")));
    }

    #[test]
    fn the_question_is_asked_as_the_endpoints_user_agent() {
        let endpoint = endpoint(json!({"handshake": true, "user_agent": "Hooks/2"}));
        let handshake = Dialect::CloudEvents.handshake(&endpoint).unwrap();
        let agent = ("user-agent", "Hooks/2".to_owned());
        assert!(handshake.headers(&endpoint, None).contains(&agent));
    }

    #[test]
    fn what_is_agreed_to_is_what_was_asked_for() {
        for (asked, granted) in [(None, None), (Some(120), Some(120))] {
            let handshake = Handshake {
                origin: "hooks.example.net".to_owned(),
                rate_per_minute: asked,
            };
            let question = handshake.headers(&endpoint(json!({})), None);
            let find = |name: &str| {
                let found = question.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| value.as_str())
            };
            let answer = Dialect::CloudEvents.agree(&find).unwrap();
            let find = |name: &str| {
                let found = answer.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| value.as_str())
            };
            let rate_per_minute = granted;
            assert_eq!(handshake.judge(&find), Answer::Granted { rate_per_minute });
            assert!(Dialect::Standard.agree(&find).is_none());
        }
        assert!(Dialect::CloudEvents.agree(&|_| None).is_none());
    }

    #[test]
    fn an_agreement_through_the_callback_may_name_another_rate() {
        let handshake = Handshake {
            origin: "hooks.example.net".to_owned(),
            rate_per_minute: Some(120),
        };
        let granted = |rate_per_minute| Answer::Granted { rate_per_minute };
        let judged = |rate: Option<&'static str>| {
            handshake.judge_callback(&|name| rate.filter(|_| name == ALLOWED_RATE))
        };
        assert_eq!(judged(None), granted(Some(120)));
        assert_eq!(judged(Some("30")), granted(Some(30)));
        assert_eq!(judged(Some("-1")), Answer::NotGranted);
    }
}
