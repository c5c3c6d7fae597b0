//! A request of that API, read but not yet believed.

use std::collections::BTreeMap;

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};

use super::failure::Failure;

/// Names the action in today's requests.
pub(crate) const ACTION_HEADER: &str = "x-acs-action";
const VERSION_HEADER: &str = "x-acs-version";
const VERSION: &str = "2020-04-20";
/// Parameters of one request.
const PARAMETERS_MAX: usize = 100;

/// A request: its parameters, and what its signature was made of.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    /// Of the query.
    pub(crate) query: BTreeMap<String, String>,
    /// Of the query and the form.
    pub(crate) parameters: BTreeMap<String, String>,
    action: String,
}

impl Call {
    /// Reads query, form and headers.
    ///
    /// # Errors
    ///
    /// When there is no action, a parameter comes twice or there are too many of them.
    pub(crate) fn read(parts: &Parts, body: &[u8]) -> Result<Self, Failure> {
        let query = pairs(parts.uri.query().unwrap_or_default().as_bytes(), &[])?;
        let is_form = text(&parts.headers, header::CONTENT_TYPE.as_str())
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        let parameters = pairs(
            parts.uri.query().unwrap_or_default().as_bytes(),
            if is_form { body } else { &[] },
        )?;
        let named = |header: &str, parameter: &str| {
            text(&parts.headers, header)
                .map(str::to_owned)
                .or_else(|| parameters.get(parameter).cloned())
        };
        let action = named(ACTION_HEADER, "Action").ok_or_else(|| {
            Failure::parameter("Action is missing: it is the header x-acs-action or a parameter.")
        })?;
        if parameters
            .get("Action")
            .is_some_and(|other| *other != action)
        {
            return Err(Failure::parameter(
                "The header x-acs-action and the parameter Action differ.",
            ));
        }
        let version = named(VERSION_HEADER, "Version").unwrap_or_default();
        if version != VERSION {
            return Err(Failure::version(&version));
        }
        if let Some(format) = parameters.get("Format")
            && !format.eq_ignore_ascii_case("json")
        {
            return Err(Failure::parameter(format!(
                "The Format {format:?} is not served; answers are JSON."
            )));
        }
        Ok(Self {
            method: parts.method.clone(),
            headers: parts.headers.clone(),
            query,
            parameters,
            action,
        })
    }

    /// As it came, whatever its action and version are.
    #[cfg(test)]
    pub(super) fn unchecked(parts: &Parts) -> Self {
        let query = pairs(parts.uri.query().unwrap_or_default().as_bytes(), &[]).unwrap();
        Self {
            method: parts.method.clone(),
            headers: parts.headers.clone(),
            parameters: query.clone(),
            query,
            action: String::new(),
        }
    }

    pub(crate) fn action(&self) -> &str {
        &self.action
    }

    /// A parameter that has to be there.
    pub(crate) fn required(&self, name: &str) -> Result<&str, Failure> {
        self.parameters
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| Failure::parameter(format!("{name} is mandatory for {}.", self.action)))
    }

    /// `NAME.1`, `NAME.2` and so on.
    ///
    /// # Errors
    ///
    /// When a number is left out, or something else stands for it: nothing of a list is overlooked.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<&str>, Failure> {
        let items: Vec<&str> = (1..=PARAMETERS_MAX)
            .map_while(|number| self.parameters.get(&format!("{name}.{number}")))
            .map(String::as_str)
            .collect();
        let is_of_list = |other: &&String| {
            let rest = other.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with('.'))
        };
        let given = self.parameters.keys().filter(is_of_list).count();
        if given == items.len() {
            return Ok(items);
        }
        let missing = items.len() + 1;
        Err(Failure::parameter(format!(
            "{name}.{missing} is missing, but there are {given} parameters {name}.N: number them from 1 without a gap."
        )))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }
}

fn pairs(query: &[u8], form: &[u8]) -> Result<BTreeMap<String, String>, Failure> {
    let mut pairs = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(query).chain(form_urlencoded::parse(form)) {
        if pairs.len() == PARAMETERS_MAX {
            return Err(Failure::parameter(format!(
                "There are more than {PARAMETERS_MAX} parameters."
            )));
        }
        if let Some(old) = pairs.insert(name.into_owned(), value.into_owned()) {
            drop(old);
            return Err(Failure::parameter("A parameter comes twice."));
        }
    }
    Ok(pairs)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// What the request was sent to, for answers.
pub(crate) fn host(headers: &HeaderMap) -> String {
    text(headers, header::HOST.as_str())
        .unwrap_or_default()
        .to_owned()
}

/// A name for one request, as that API forms it: an upper-case UUID.
pub(crate) fn request_id() -> String {
    uuid::Uuid::new_v4().to_string().to_uppercase()
}
