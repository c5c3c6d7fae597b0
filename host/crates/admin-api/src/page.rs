//! Lists: `?limit=&pageToken=` and `{"items":[],"nextPageToken":null,"total":n}`.
//!
//! A page token is the last key of the page, encoded: it stays right when items come and go.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::api_error::ApiError;

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1000;

/// The query of a list without filters.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Items of the page, at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `nextPageToken` of the page before; none: the first page.
    page_token: Option<String>,
}

impl PageQuery {
    pub(crate) fn request(&self) -> Result<PageRequest, ApiError> {
        PageRequest::new(self.limit, self.page_token.as_deref())
    }
}

/// What the query asks for.
#[derive(Debug)]
pub(crate) struct PageRequest {
    pub(crate) limit: usize,
    /// The last key of the page before.
    pub(crate) after: Option<String>,
}

impl PageRequest {
    pub(crate) fn new(limit: Option<usize>, page_token: Option<&str>) -> Result<Self, ApiError> {
        let limit = limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(ApiError::invalid_query(format!(
                "limit must be from 1 to {LIMIT_MAX}"
            )));
        }
        let decode = |token: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok();
        let after = match page_token {
            None | Some("") => None,
            Some(token) => Some(decode(token).ok_or_else(|| {
                ApiError::invalid_page_token(
                    "pageToken is not one that this server gave; start without it",
                )
            })?),
        };
        Ok(Self { limit, after })
    }
}

/// A part of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page<T> {
    items: Vec<T>,
    /// For the next page; null on the last one.
    next_page_token: Option<String>,
    /// Of all pages together.
    total: usize,
}

impl<T> Page<T> {
    /// Cuts the page out of all items, which are sorted by `key`.
    pub(crate) fn cut(all: Vec<T>, request: &PageRequest, key: impl Fn(&T) -> &str) -> Self {
        let total = all.len();
        let is_new = |item: &T| {
            request
                .after
                .as_deref()
                .is_none_or(|after| key(item) > after)
        };
        let mut rest = all.into_iter().filter(is_new);
        let items: Vec<T> = rest.by_ref().take(request.limit).collect();
        let next = rest
            .next()
            .and(items.last())
            .map(|last| key(last).to_owned());
        Self::new(items, next.as_deref(), total)
    }

    /// A page whose items another crate cut.
    pub(crate) fn new(items: Vec<T>, last_key: Option<&str>, total: usize) -> Self {
        Self {
            items,
            next_page_token: last_key.map(|key| URL_SAFE_NO_PAD.encode(key)),
            total,
        }
    }
}

/// The page of the first items after a key: one more than `limit` was asked for, to see whether there
/// are more.
pub(crate) fn page_of<V, T: From<V>>(
    (found, total): (Vec<V>, usize),
    limit: usize,
    key: impl Fn(&T) -> &str,
) -> Page<T> {
    let has_more = found.len() > limit;
    let items: Vec<T> = found.into_iter().take(limit).map(T::from).collect();
    let last = items.last().filter(|_| has_more);
    let last = last.map(|item| key(item).to_owned());
    Page::new(items, last.as_deref(), total)
}

#[cfg(test)]
mod tests {
    use super::{Page, PageRequest};

    #[test]
    fn pages_follow_each_other_and_the_last_says_so() {
        let all = || ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        let mut token = None;
        let mut seen = Vec::new();
        loop {
            let request = PageRequest::new(Some(2), token.as_deref()).unwrap();
            let page = Page::cut(all(), &request, |item| item.as_str());
            assert_eq!(page.total, 5);
            seen.extend(page.items);
            token = page.next_page_token;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, all());
        let exact = Page::cut(all(), &PageRequest::new(Some(5), None).unwrap(), |item| {
            item.as_str()
        });
        assert_eq!(exact.next_page_token, None);
    }

    #[test]
    fn wrong_limits_and_tokens_are_refused() {
        assert!(PageRequest::new(Some(0), None).is_err());
        assert!(PageRequest::new(Some(1001), None).is_err());
        assert!(PageRequest::new(None, Some("!")).is_err());
    }
}
