use std::path::PathBuf;

use lapin::uri::AMQPUri;

use crate::OpenError;

/// Seconds between heartbeats unless the URL says otherwise.
const HEARTBEAT_S: u16 = 10;

/// How long a connection attempt may take unless the URL says otherwise.
const CONNECTION_TIMEOUT_MS: u64 = 3_000;

/// Largest frame unless the URL says otherwise, in bytes. The client keeps 64 of them in buffers
/// for each connection, so RabbitMQ's own 128 KiB would cost 8 MiB.
const FRAME_BYTES_MAX: u32 = 32 << 10;

/// Hosts one URL may name.
const HOSTS_MAX: usize = 16;

const EXPECTED: &str = "expected amqp://user:password@host:5672/vhost, with several hosts \
                        separated by commas, or embedded://DIRECTORY";

/// Where a broker is. No `Debug`: the addresses carry passwords.
pub(crate) enum Location {
    Embedded(PathBuf),
    /// The hosts to try in turn.
    RabbitMq(Vec<AMQPUri>),
}

impl Location {
    /// Reads a broker URL. The error does not repeat it, for it may hold a password.
    pub(crate) fn parse(url: &str) -> Result<Self, OpenError> {
        let malformed = || OpenError::Url(EXPECTED.to_owned());
        let (scheme, rest) = url.split_once("://").ok_or_else(malformed)?;
        match scheme {
            "embedded" if rest.is_empty() => Err(malformed()),
            "embedded" => Ok(Self::Embedded(PathBuf::from(rest))),
            "amqp" | "amqps" => hosts(scheme, rest).map(Self::RabbitMq),
            _ => Err(malformed()),
        }
    }
}

fn hosts(scheme: &str, rest: &str) -> Result<Vec<AMQPUri>, OpenError> {
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    let hosts: Vec<_> = hosts.split(',').collect();
    if hosts.len() > HOSTS_MAX {
        return Err(OpenError::Url(format!("more than {HOSTS_MAX} hosts")));
    }
    hosts
        .into_iter()
        .map(|host| parse_host(&format!("{scheme}://{user}{host}{path}")))
        .collect()
}

fn parse_host(url: &str) -> Result<AMQPUri, OpenError> {
    // The parser's own error repeats the URL.
    let mut uri: AMQPUri = url
        .parse()
        .map_err(|_| OpenError::Url(EXPECTED.to_owned()))?;
    if uri.authority.host.is_empty() {
        return Err(OpenError::Url(EXPECTED.to_owned()));
    }
    if uri.vhost.is_empty() {
        // `amqp://host/` names the virtual host "", which nobody has and nobody means.
        uri.vhost = AMQPUri::default().vhost;
    }
    uri.query.heartbeat.get_or_insert(HEARTBEAT_S);
    uri.query
        .connection_timeout
        .get_or_insert(CONNECTION_TIMEOUT_MS);
    uri.query.frame_max.get_or_insert(FRAME_BYTES_MAX);
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rabbitmq(url: &str) -> Vec<AMQPUri> {
        match Location::parse(url) {
            Ok(Location::RabbitMq(hosts)) => hosts,
            Ok(Location::Embedded(_)) => panic!("not RabbitMQ"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn several_hosts_share_user_vhost_and_settings() {
        let hosts = rabbitmq("amqp://u:p%40@h1:5672,h2,[::1]:5673/vh?heartbeat=7");
        assert_eq!(hosts.len(), 3);
        let ports: Vec<_> = hosts.iter().map(|host| host.authority.port).collect();
        assert_eq!(ports, [5672, 5672, 5673]);
        for host in hosts {
            assert_eq!(host.authority.userinfo.password, "p@");
            assert_eq!(host.vhost, "vh");
            assert_eq!(host.query.heartbeat, Some(7));
            assert_eq!(host.query.connection_timeout, Some(CONNECTION_TIMEOUT_MS));
        }
    }

    #[test]
    fn a_slash_alone_means_the_default_virtual_host() {
        for url in ["amqp://h", "amqp://h/", "amqp://h/%2f"] {
            assert_eq!(rabbitmq(url)[0].vhost, "/", "{url}");
        }
    }

    #[test]
    fn a_malformed_url_is_refused_without_repeating_it() {
        for url in [
            "",
            "amqp:/h",
            "amqp://u:hunter2@h:port",
            "amqp://u:hunter2@",
            "embedded://",
        ] {
            let Err(error) = Location::parse(url) else {
                panic!("{url} was taken")
            };
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn the_number_of_hosts_is_bounded() {
        let url = |hosts: usize| format!("amqp://{}", vec!["h"; hosts].join(","));
        assert_eq!(rabbitmq(&url(HOSTS_MAX)).len(), HOSTS_MAX);
        assert!(Location::parse(&url(HOSTS_MAX + 1)).is_err());
    }

    #[test]
    fn an_embedded_queue_may_be_at_a_relative_or_absolute_path() {
        for (url, path) in [
            ("embedded://./data", "./data"),
            ("embedded:///var/lib/f", "/var/lib/f"),
        ] {
            let Ok(Location::Embedded(directory)) = Location::parse(url) else {
                panic!("{url}")
            };
            assert_eq!(directory, PathBuf::from(path));
        }
    }
}
