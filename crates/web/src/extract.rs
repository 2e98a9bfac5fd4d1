use std::str::FromStr;

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::response::{IntoResponse, Response};
use http::Uri;
use http::request::Parts;
use model::FieldError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path as MemberPath, Segment};
use url::form_urlencoded;

use crate::page::is_page_parameter;
use crate::{ApiError, read_body};

/// The largest body of a management request, in bytes.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// A JSON body, whatever its content type says: in, refused with the member named; out, as axum's.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

/// A JSON body that may be absent.
#[derive(Clone, Copy, Debug)]
pub struct JsonOrDefault<T>(pub T);

/// The query string without the parameters of [`Page`](crate::Page). A parameter without a value
/// counts as absent.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

/// The one variable of a path, an id. What is no id at all names nothing, so it is a 404.
#[derive(Clone, Copy, Debug)]
pub struct Id<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let body = read_body(request.into_body(), BODY_BYTES_MAX).await?;
        read_json(&body).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for JsonOrDefault<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let body = read_body(request.into_body(), BODY_BYTES_MAX).await?;
        if body.trim_ascii().is_empty() {
            return Ok(Self(T::default()));
        }
        read_json(&body).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        read_query(&parts.uri, |name| !is_page_parameter(name)).map(Self)
    }
}

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::not_found("object"))?;
        text.parse()
            .map(Self)
            .map_err(|_| ApiError::not_found("object"))
    }
}

/// Reads a JSON body: 400 for what is not JSON, 422 for what is not `T`, with the members named.
///
/// If the top level is an object, each of its members is tried, so that all that are wrong are
/// named at once.
pub fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let error = match serde_path_to_error::deserialize(&mut deserializer) {
        Ok(value) => match deserializer.end() {
            Ok(()) => return Ok(value),
            Err(error) => return Err(not_json(String::new(), &error)),
        },
        Err(error) => error,
    };
    let pointer = pointer(error.path());
    let inner = error.into_inner();
    // A member of the wrong type hides what follows it: that may not even be JSON.
    match serde_json::from_slice::<Value>(body) {
        Err(syntax) if inner.is_data() => Err(not_json(String::new(), &syntax)),
        Err(_) => Err(not_json(pointer, &inner)),
        Ok(value) => {
            let mut errors = wrong_members::<T>(&value);
            if errors.is_empty() {
                errors.push(FieldError::new(pointer, without_position(&inner)));
            }
            Err(ApiError::invalid(errors))
        }
    }
}

fn not_json(pointer: String, error: &serde_json::Error) -> ApiError {
    ApiError::malformed(FieldError::new(pointer, format!("not valid JSON: {error}")))
}

/// What is wrong with each member on its own. Finds nothing in a `T` with required members that
/// are missing: those only the whole can show.
fn wrong_members<T: DeserializeOwned>(value: &Value) -> Vec<FieldError> {
    let Value::Object(members) = value else {
        return Vec::new();
    };
    let wrong = |(name, value): (&String, &Value)| {
        let alone = Value::Object([(name.clone(), value.clone())].into_iter().collect());
        let error = serde_path_to_error::deserialize::<_, T>(alone).err()?;
        let pointer = match pointer(error.path()) {
            pointer if pointer.is_empty() => format!("/{}", escaped(name)),
            pointer => pointer,
        };
        let detail = without_position(error.inner());
        (!detail.starts_with("missing field")).then(|| FieldError::new(pointer, detail))
    };
    members.iter().filter_map(wrong).collect()
}

/// Reads those parameters of the query string that `wanted` names.
pub(crate) fn read_query<T: DeserializeOwned>(
    uri: &Uri,
    wanted: impl Fn(&str) -> bool,
) -> Result<T, ApiError> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if !value.is_empty() && wanted(&name) {
            query.append_pair(&name, &value);
        }
    }
    let query = query.finish();
    let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(pairs).map_err(|error| {
        let name = pointer(error.path());
        let detail = error.inner().to_string();
        ApiError::malformed(FieldError::new(name.trim_start_matches('/'), detail))
    })
}

/// RFC 6901.
fn pointer(path: &MemberPath) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&format!("/{}", escaped(key))),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use model::Timestamp;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        #[serde(default)]
        count: u32,
        #[serde(default)]
        names: Vec<String>,
        since: Option<Timestamp>,
    }

    fn refused(body: &str, status: u16, pointers: &[&str]) {
        let error = read_json::<Wanted>(body.as_bytes()).expect_err(body);
        let found: Vec<_> = error
            .errors()
            .iter()
            .map(|error| error.pointer.as_str())
            .collect();
        assert_eq!(
            (error.status().as_u16(), found),
            (status, pointers.to_vec()),
            "{body}"
        );
    }

    #[test]
    fn what_is_not_json_is_400_and_what_is_not_wanted_is_422() {
        refused("", 400, &[""]);
        refused("{", 400, &[""]);
        refused("{} {}", 400, &[""]);
        refused(r#"{"count":1,"names":tru}"#, 400, &["/names"]);
        refused(r#"{"count":"x","names":tru}"#, 400, &[""]);
        refused("[]", 422, &[""]);
        refused("7", 422, &[""]);
        refused(r#"{"names":["a",1]}"#, 422, &["/names/1"]);
        refused(r#"{"count":1,"count":2}"#, 422, &[""]);
    }

    #[test]
    fn every_wrong_member_is_named_at_once() {
        let body = r#"{"count":-1,"names":"x","since":"yesterday","odd/one":1}"#;
        refused(body, 422, &["/count", "/names", "/odd~1one", "/since"]);
    }

    #[tokio::test]
    async fn a_body_is_bounded_at_its_limit() {
        let of = |bytes: usize| {
            let body = format!("{{}}{}", " ".repeat(bytes - 2));
            let request = http::Request::post("/").body(Body::from(body)).unwrap();
            Json::<Wanted>::from_request(request, &())
        };
        assert!(of(BODY_BYTES_MAX).await.is_ok());
        assert_eq!(of(BODY_BYTES_MAX + 1).await.unwrap_err().status(), 413);
    }

    #[tokio::test]
    async fn a_query_names_its_wrong_parameter_and_ignores_empty_ones() {
        let query = |text: &str| {
            let uri: Uri = format!("/?{text}").parse().unwrap();
            read_query::<Wanted>(&uri, |name| !is_page_parameter(name))
        };
        let read = query("count=3&limit=7&since=").unwrap();
        assert_eq!((read.count, read.names.len(), read.since), (3, 0, None));
        for (text, name) in [("count=x", "count"), ("since=x", "since")] {
            assert_eq!(query(text).unwrap_err().errors()[0].pointer, name);
        }
        assert!(query("cuont=3").unwrap_err().detail().contains("cuont"));
    }
}
