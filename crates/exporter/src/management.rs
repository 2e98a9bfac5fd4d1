use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use broker::topology::Topology;
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::{Exporter, NONE, NotSeen, signed};

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The longest answer that is read: some thousand queues or connections.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// RabbitMQ's management API, for what AMQP does not tell.
#[derive(Clone)]
pub struct Management {
    client: Client,
    queues: SecretString,
    connections: SecretString,
    /// Whose queues are shown; others may share the virtual host.
    ours: HashSet<String>,
}

/// The URL of a management API cannot be used. Does not repeat it, for it holds a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected http://user:password@host:15672 or https://…")]
pub struct BadManagementUrl;

#[derive(Debug, thiserror::Error)]
enum ManagementError {
    #[error("no answer")]
    NoAnswer(#[source] reqwest::Error),
    #[error("the answer is too long")]
    TooLong,
    #[error("the answer cannot be read")]
    Unreadable(#[source] serde_json::Error),
}

#[derive(Debug, Deserialize)]
struct QueueAnswer {
    name: String,
    messages_unacknowledged: Option<u64>,
    /// The nodes of a quorum queue, and those of them that are there.
    #[serde(default)]
    members: Vec<String>,
    #[serde(default)]
    online: Vec<String>,
    #[serde(default)]
    message_stats: Stats,
}

#[derive(Debug, Default, Deserialize)]
struct Stats {
    publish: Option<u64>,
    deliver_get: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct ConnectionAnswer {
    state: Option<String>,
}

impl Management {
    /// Asks nothing yet. `url` may have a path, if the API is behind one.
    pub fn new(url: &str, virtual_host: &str) -> Result<Self, BadManagementUrl> {
        let queues = "name,messages_unacknowledged,members,online,\
                      message_stats.publish,message_stats.deliver_get";
        let queues = address(url, &["queues", virtual_host], queues)?;
        let connections = address(url, &["vhosts", virtual_host, "connections"], "state")?;
        let client = Client::builder()
            .timeout(ANSWER_WITHIN)
            .no_proxy()
            .build()
            .map_err(|_| BadManagementUrl)?;
        Ok(Self {
            client,
            queues,
            connections,
            ours: Topology::fanfare().queue_names().map(Into::into).collect(),
        })
    }

    /// Says whether a URL can be one of a management API.
    pub fn check_url(url: &str) -> Result<(), BadManagementUrl> {
        address(url, &[], "name").map(|_| ())
    }

    async fn get<T: DeserializeOwned>(&self, address: &SecretString) -> Result<T, ManagementError> {
        let no_answer = |error: reqwest::Error| ManagementError::NoAnswer(error.without_url());
        let mut answer = self
            .client
            .get(address.expose_secret())
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(no_answer)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(no_answer)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(ManagementError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(ManagementError::Unreadable)
    }
}

impl fmt::Debug for Management {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The addresses hold a password.
        f.debug_struct("Management").finish_non_exhaustive()
    }
}

fn address(url: &str, path: &[&str], columns: &str) -> Result<SecretString, BadManagementUrl> {
    let mut url = Url::parse(url).map_err(|_| BadManagementUrl)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(BadManagementUrl);
    }
    url.path_segments_mut()
        .map_err(|()| BadManagementUrl)?
        .pop_if_empty()
        .push("api")
        .extend(path);
    url.set_query(Some(&format!("columns={columns}")));
    Ok(String::from(url).into())
}

impl Exporter {
    pub(crate) async fn look_at_management(&self, management: &Management) -> Result<(), NotSeen> {
        let queues: Vec<QueueAnswer> = management.get(&management.queues).await?;
        let connections: Vec<ConnectionAnswer> = management.get(&management.connections).await?;
        let ours = |queue: &&QueueAnswer| management.ours.contains(&queue.name);
        queues
            .iter()
            .filter(ours)
            .for_each(|queue| self.show_queue(queue));
        self.show_connections(&connections);
        Ok(())
    }

    fn show_queue(&self, queue: &QueueAnswer) {
        let seen = &self.seen;
        let name = queue.name.as_str();
        if let Some(unacked) = queue.messages_unacknowledged {
            let gauge = seen.queue_unacked.with_label_values(&[name]);
            gauge.set(signed(unacked));
        }
        if !queue.members.is_empty() {
            let gauge = seen.queue_members_missing.with_label_values(&[name]);
            gauge.set(queue.missing());
        }
        self.published.follow(name, queue.message_stats.publish);
        self.delivered.follow(name, queue.message_stats.deliver_get);
    }

    fn show_connections(&self, connections: &[ConnectionAnswer]) {
        let blocked = connections
            .iter()
            .any(|one| matches!(one.state.as_deref(), Some("blocked" | "blocking")));
        let gauge = self.seen.connections_blocked.with_label_values(NONE);
        gauge.set(i64::from(blocked));
    }
}

impl QueueAnswer {
    /// Members that are not online.
    fn missing(&self) -> i64 {
        let missing = self.members.iter().filter(|one| !self.online.contains(one));
        i64::try_from(missing.count()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_the_virtual_host_and_keeps_the_path() {
        let url = "http://u:p%40@host:15672/rabbit/";
        let address = address(url, &["queues", "/"], "name").unwrap();
        let expected = "http://u:p%40@host:15672/rabbit/api/queues/%2F?columns=name";
        assert_eq!(address.expose_secret(), expected);
    }

    #[test]
    fn a_queue_misses_the_members_that_are_not_online() {
        let answer = r#"{"name":"q","members":["a","b","c"],"online":["a","c"]}"#;
        let queue: QueueAnswer = serde_json::from_str(answer).unwrap();
        assert_eq!(queue.missing(), 1);
        let classic: QueueAnswer = serde_json::from_str(r#"{"name":"q"}"#).unwrap();
        assert!(classic.members.is_empty());
    }

    #[test]
    fn a_url_of_another_kind_is_refused_without_its_password() {
        for url in ["amqp://u:hunter2@host", "host:15672", "http://"] {
            let error = Management::check_url(url).unwrap_err();
            assert!(!format!("{error:?} {error}").contains("hunter2"), "{url}");
        }
    }
}
