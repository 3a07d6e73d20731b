//! Which headers go along with a forwarded request or answer: all but those about one connection.

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};
use tidewheel_schemas::Name;

/// Says that a request was forwarded, and to which datacenter; such a request is not forwarded again.
pub const FORWARDED: HeaderName = HeaderName::from_static("tidewheel-forwarded");

/// About one connection, not about what it carries (RFC 9110, 7.6.1).
const OF_ONE_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Takes out what is about one connection: the headers known for it, and those that `Connection` names.
pub(super) fn keep_end_to_end(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in OF_ONE_HOP {
        headers.remove(*name);
    }
}

/// The headers of a request as it is forwarded to `to`. Host and length are those of the new request.
pub(super) fn of_request(headers: &HeaderMap, to: &Name) -> HeaderMap {
    let mut headers = headers.clone();
    keep_end_to_end(&mut headers);
    for name in [HOST, CONTENT_LENGTH, EXPECT] {
        headers.remove(name);
    }
    // A name has only characters that a header may have.
    if let Ok(to) = HeaderValue::from_str(to) {
        headers.insert(FORWARDED, to);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_the_connection_stays_and_the_rest_goes_along() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer x"),
            ("idempotency-key", "one"),
            ("idempotency-key", "two"),
            ("traceparent", "t"),
            ("last-event-id", "7"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("host", "alpha"),
            ("content-length", "5"),
            ("expect", "100-continue"),
            ("tidewheel-forwarded", "gamma"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let sent = of_request(&headers, &Name::new("beta").unwrap());
        let mut names: Vec<_> = sent.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["authorization", "idempotency-key", "last-event-id", "tidewheel-forwarded", "traceparent"]
        );
        assert_eq!(
            sent.get_all("idempotency-key").iter().count(),
            2,
            "it is refused there as it would be here"
        );
        assert_eq!(sent["tidewheel-forwarded"], "beta");
    }
}
