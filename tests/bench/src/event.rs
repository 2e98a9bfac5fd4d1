//! The events that are published: canonical, of one size, each with a marker by which the receiver
//! knows it again in whatever dialect it arrives.

use std::net::SocketAddr;

/// Bytes of each event as it is published.
pub(crate) const EVENT_BYTES: usize = 400;
/// Licenses that the events belong to, in turn.
pub(crate) const LICENSES: u32 = 1_000;

const MARKER: &[u8] = b"\"bench\":\"";
const RUN_DIGITS: usize = 4;
const NUMBER_DIGITS: usize = 8;

/// Which event it is: the number within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub run: u32,
    pub number: u32,
}

impl Marker {
    /// Finds the marker in the body of a delivery, searching from the end.
    pub(crate) fn find(body: &[u8]) -> Option<Self> {
        let at = body
            .windows(MARKER.len())
            .rposition(|window| window == MARKER)?
            + MARKER.len();
        let digits = body.get(at..at + RUN_DIGITS + 1 + NUMBER_DIGITS)?;
        Some(Self {
            run: number(&digits[..RUN_DIGITS])?,
            number: number(&digits[RUN_DIGITS + 1..])?,
        })
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0_u32, |sum, digit| {
        digit
            .is_ascii_digit()
            .then(|| sum * 10 + u32::from(digit - b'0'))
    })
}

/// A request with places for the event's number, filled in before each sending.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    numbers_at: [usize; 2],
    license_at: usize,
}

const NUMBER_PLACE: &str = "NNNNNNNN";
const LICENSE_PLACE: &str = "LLLLLLLL";

impl Template {
    /// `POST /v1/events` as an operator, for `tenant`.
    pub(crate) fn publish(
        to: SocketAddr,
        key: &str,
        tenant: &str,
        product: &str,
        run: u32,
    ) -> Self {
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nhost: {to}\r\nauthorization: Bearer {key}\r\n\
             fanfare-tenant: {tenant}\r\ncontent-type: application/json\r\n\
             content-length: {EVENT_BYTES}\r\n\r\n"
        );
        Self::new(&head, product, run)
    }

    /// The same event straight to a receiver, with the headers of a signed delivery.
    pub(crate) fn direct(to: SocketAddr, path: &str, run: u32) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {to}\r\nuser-agent: bench\r\n\
             content-type: application/json\r\nwebhook-id: evt_01JRX5K9Q8ZV3T7Y2M4N6P8R0S\r\n\
             webhook-timestamp: 1776254400\r\n\
             webhook-signature: v1,6dQZDDOht9ngShaf+CN8e6Dm2E5bb7LbdR/ur7/zZuQ=\r\n\
             content-length: {EVENT_BYTES}\r\n\r\n"
        );
        Self::new(&head, "prod_bench", run)
    }

    fn new(head: &str, product: &str, run: u32) -> Self {
        let text = format!("{head}{}", body(product, run));
        let place = |text: &str, what: &str| text.find(what).expect("a template has its places");
        let id_at = place(&text, NUMBER_PLACE);
        let marker_at = text.rfind(NUMBER_PLACE).expect("a template has its places");
        Self {
            license_at: place(&text, LICENSE_PLACE),
            numbers_at: [id_at, marker_at],
            bytes: text.into_bytes(),
        }
    }

    /// Writes the request for event `number` over `request`.
    pub(crate) fn fill(&self, number: u32, request: &mut Vec<u8>) {
        request.clear();
        request.extend_from_slice(&self.bytes);
        for at in self.numbers_at {
            write_digits(&mut request[at..at + NUMBER_DIGITS], number);
        }
        let license = &mut request[self.license_at..self.license_at + NUMBER_DIGITS];
        write_digits(license, number % LICENSES);
    }

    /// The event alone, as it is published.
    pub(crate) fn event(&self, number: u32) -> Vec<u8> {
        let mut request = Vec::with_capacity(self.bytes.len());
        self.fill(number, &mut request);
        request.split_off(self.bytes.len() - EVENT_BYTES)
    }
}

fn write_digits(place: &mut [u8], mut number: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn body(product: &str, run: u32) -> String {
    let frame = |pad: &str| {
        format!(
            r#"{{"id":"evt_bench_{run:04}_{NUMBER_PLACE}","type":"license.validated","product":"{product}","data":{{"license":{{"id":"lic_{LICENSE_PLACE}","key":"KP-ABCD-EFGH-IJKL","name":"Production License","status":"active","plan":"professional","expires_at":"2037-04-15T00:00:00.000Z"}},"customer":{{"id":"cus_9","name":"Acme"}},"pad":"{pad}","bench":"{run:04}-{NUMBER_PLACE}"}}}}"#
        )
    };
    let pad = "x".repeat(EVENT_BYTES - frame("").len());
    frame(&pad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_400_bytes_of_json_and_found_again() {
        let to = SocketAddr::from(([127, 0, 0, 1], 80));
        let template = Template::publish(to, "key", "bench", "prod_42", 7);
        let event = template.event(12_345);
        assert_eq!(event.len(), EVENT_BYTES);
        let json: serde_json::Value = serde_json::from_slice(&event).unwrap();
        assert_eq!(json["id"], "evt_bench_0007_00012345");
        assert_eq!(json["data"]["license"]["id"], "lic_00000345");
        assert_eq!(
            Marker::find(&event),
            Some(Marker {
                run: 7,
                number: 12_345
            })
        );
    }

    #[test]
    fn a_request_announces_its_length() {
        let to = SocketAddr::from(([127, 0, 0, 1], 80));
        for template in [
            Template::publish(to, "k", "t", "p", 1),
            Template::direct(to, "/ok/0", 1),
        ] {
            let mut request = Vec::new();
            template.fill(99_999_999, &mut request);
            let head = crate::http::head(&request).unwrap().unwrap();
            assert_eq!(head.message_bytes(), request.len());
        }
    }
}
