use axum::extract::FromRequestParts;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use model::FieldError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::ApiError;
use crate::extract::read_query;

pub const LIMIT_DEFAULT: u32 = 50;
pub const LIMIT_MAX: u32 = 200;

/// The parameters that every list takes.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// Items on a page, 1 to 200; 50 if absent.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Which page of a list is wanted: an extractor of [`PageParams`].
#[derive(Debug)]
pub struct Page {
    limit: u32,
    cursor: Option<String>,
}

impl Page {
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Where the page before ended, as [`Listed::new`] was told.
    pub fn after<C: DeserializeOwned>(&self) -> Result<Option<C>, ApiError> {
        let Some(cursor) = &self.cursor else {
            return Ok(None);
        };
        let json = URL_SAFE_NO_PAD.decode(cursor).ok();
        match json.and_then(|json| serde_json::from_slice(&json).ok()) {
            Some(after) => Ok(Some(after)),
            None => Err(ApiError::malformed(FieldError::new(
                "cursor",
                "not a next_cursor of this list",
            ))),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Page {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let params: PageParams = read_query(&parts.uri, is_page_parameter)?;
        let limit = params.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let detail = format!("must be 1 to {LIMIT_MAX}");
            return Err(ApiError::malformed(FieldError::new("limit", detail)));
        }
        Ok(Self {
            limit,
            cursor: params.cursor,
        })
    }
}

pub(crate) fn is_page_parameter(name: &str) -> bool {
    matches!(name, "limit" | "cursor")
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Listed<T> {
    pub items: Vec<T>,
    /// Opaque; `null` on the last page.
    pub next_cursor: Option<String>,
}

impl<T> Listed<T> {
    /// `next` is where this page ends, if more follows.
    pub fn new<C: Serialize>(items: Vec<T>, next: Option<C>) -> Self {
        let next_cursor = next.map(|next| {
            let json = serde_json::to_vec(&next).expect("a cursor is plain data");
            URL_SAFE_NO_PAD.encode(json)
        });
        Self { items, next_cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn page(query: &str) -> Result<Page, ApiError> {
        let request = http::Request::get(format!("/v1/x?{query}"))
            .body(())
            .unwrap();
        Page::from_request_parts(&mut request.into_parts().0, &()).await
    }

    #[tokio::test]
    async fn the_limit_is_bounded_at_1_and_200() {
        assert_eq!(page("").await.unwrap().limit(), 50);
        assert_eq!(page("limit=1&type=x").await.unwrap().limit(), 1);
        assert_eq!(page("limit=200").await.unwrap().limit(), 200);
        for refused in ["limit=0", "limit=201", "limit=-1", "limit=many"] {
            let error = page(refused).await.unwrap_err();
            assert_eq!(error.status(), 400, "{refused}");
            assert_eq!(error.errors()[0].pointer, "limit", "{refused}");
        }
    }

    #[tokio::test]
    async fn a_cursor_reads_back_and_nonsense_is_refused() {
        let listed = Listed::new(vec![1], Some("ep_1"));
        let query = format!("cursor={}", listed.next_cursor.unwrap());
        assert_eq!(
            page(&query)
                .await
                .unwrap()
                .after::<String>()
                .unwrap()
                .unwrap(),
            "ep_1"
        );
        assert_eq!(page("").await.unwrap().after::<String>().unwrap(), None);
        let error = page("cursor=%00nonsense")
            .await
            .unwrap()
            .after::<String>()
            .unwrap_err();
        assert_eq!(error.status(), 400);
    }
}
