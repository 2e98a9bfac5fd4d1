use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::StatusCode;
use model::FieldError;
use store::{DirectoryError, StoreError};

/// When a client that met a dependency which is away should ask again.
pub const ASK_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Why a request is not answered as hoped: becomes an RFC 9457 problem document.
///
/// It says what the client can do about it, never a stack trace or a driver's message.
pub struct ApiError(Box<Parts>);

pub(crate) struct Parts {
    pub(crate) kind: Kind,
    pub(crate) detail: String,
    pub(crate) errors: Vec<FieldError>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) closes: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    BadRequest,
    Malformed,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    TooLarge,
    UnsupportedMediaType,
    Invalid,
    TooManyRequests,
    Internal,
    Unavailable,
}

impl Kind {
    /// Status, the last word of the type's URN, title.
    pub(crate) const fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "bad-request", "Bad request"),
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed", "Malformed request"),
            Self::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "Not authenticated",
            ),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "Not allowed"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Method not allowed",
            ),
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "Conflict"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large"),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "Unsupported media type",
            ),
            Self::Invalid => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid",
                "Invalid request",
            ),
            Self::TooManyRequests => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-requests",
                "Too many requests",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Internal server error",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "Temporarily unavailable",
            ),
        }
    }
}

impl ApiError {
    fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            closes: false,
        }))
    }

    /// 400: the request makes no sense as it stands.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(Kind::BadRequest, detail)
    }

    /// 400: a body or a query that cannot be read, and where.
    pub fn malformed(error: FieldError) -> Self {
        let mut problem = Self::new(Kind::Malformed, sentence(&error));
        problem.0.errors = vec![error];
        problem
    }

    /// 422: it can be read, but these members are wrong. All of them, not only the first.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [error] => sentence(error),
            errors => format!("{} members are wrong; see errors", errors.len()),
        };
        let mut problem = Self::new(Kind::Invalid, detail);
        problem.0.errors = errors;
        problem
    }

    /// As [`Self::invalid`], for a client to whom the member at `from` is the one at `to`.
    pub fn renamed(mut self, from: &str, to: &str) -> Self {
        for error in &mut self.0.errors {
            let inside = error.pointer.strip_prefix(from);
            if let Some(rest) = inside.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
                error.pointer = format!("{to}{rest}");
            }
        }
        match self.0.kind {
            Kind::Invalid => Self::invalid(self.0.errors),
            _ => self,
        }
    }

    /// 401, with the challenge that RFC 6750 asks for.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(Kind::Unauthorized, detail)
    }

    /// 403: known, but may not.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(Kind::Forbidden, detail)
    }

    /// 404; `what` as in "endpoint". Also the answer for what belongs to another tenant.
    pub fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("no such {what}"))
    }

    /// 405; RFC 9110 wants the header `Allow` beside it.
    pub fn method_not_allowed(detail: impl Into<String>) -> Self {
        Self::new(Kind::MethodNotAllowed, detail)
    }

    /// 409: at odds with what is there.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, detail)
    }

    /// 413; the detail names the limit.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(Kind::TooLarge, detail)
    }

    /// 415; the detail names what is supported.
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(Kind::UnsupportedMediaType, detail)
    }

    /// 429 with `Retry-After`.
    pub fn too_many_requests(retry_after: Duration) -> Self {
        let mut problem = Self::new(Kind::TooManyRequests, "ask again later; see Retry-After");
        problem.0.retry_after = Some(retry_after);
        problem
    }

    /// 503 with `Retry-After`: a dependency is away and nothing was done. `reason` must be fit for
    /// a stranger's eyes.
    pub fn unavailable(reason: impl Into<String>, retry_after: Duration) -> Self {
        let mut problem = Self::new(Kind::Unavailable, reason);
        problem.0.retry_after = Some(retry_after);
        problem
    }

    /// 500: logs `error` with its sources, here and once; the client learns nothing of it.
    pub fn internal(error: &(dyn Error + 'static)) -> Self {
        tracing::error!(error = error, "a request failed for a reason that is ours");
        Self::internal_logged()
    }

    /// 500 for a failure that is in the log already.
    pub(crate) fn internal_logged() -> Self {
        Self::new(
            Kind::Internal,
            "something is wrong on our side; it has been logged",
        )
    }

    /// Closes the connection after the answer: there is too much of the request left to read.
    #[must_use]
    pub(crate) fn closing(mut self) -> Self {
        self.0.closes = true;
        self
    }

    pub(crate) fn into_parts(self) -> Parts {
        *self.0
    }

    pub fn status(&self) -> StatusCode {
        self.0.kind.row().0
    }

    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    pub fn errors(&self) -> &[FieldError] {
        &self.0.errors
    }
}

fn sentence(error: &FieldError) -> String {
    if error.pointer.is_empty() {
        error.detail.clone()
    } else {
        format!("{}: {}", error.pointer, error.detail)
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status(), self.0.detail)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.detail)
    }
}

impl Error for ApiError {}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Unavailable { reason, source } => {
                tracing::warn!(
                    error = source.as_ref() as &(dyn Error + 'static),
                    "store: {reason}"
                );
                Self::unavailable(*reason, ASK_AGAIN_AFTER)
            }
            StoreError::Conflict => Self::conflict(error.to_string()),
            StoreError::Corrupt(_) => Self::internal(&error),
        }
    }
}

impl From<DirectoryError> for ApiError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::Store(error) => error.into(),
            DirectoryError::UnknownTenant(_) => Self::not_found("tenant"),
            DirectoryError::MasterKey(_) => Self::internal(&error),
        }
    }
}
