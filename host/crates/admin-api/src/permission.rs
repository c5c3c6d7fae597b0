//! Which role a request needs, and whether it is a change that the audit log notes.

use axum::http::Method;
use pipeline::control::Role;

/// Resources that are about access itself: nobody below an admin sees them.
const ABOUT_ACCESS: [&str; 5] = [
    "/v1/tokens",
    "/v1/users",
    "/v1/access-keys",
    "/v1/audit",
    "/v1/sign-in-codes",
];
/// Where a code is exchanged for a session, and a session ends.
pub(crate) const SIGN_IN: &str = "/v1/sign-in";
/// What of a query is noted; anything else might be a secret in the wrong place.
const NOTED_QUERY: [&str; 8] = [
    "again", "all", "clientId", "force", "pending", "prune", "reason", "ruleId",
];

/// Whether the method only reads.
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The least role that may do it. A viewer reads; what is not known to be a read is none.
pub(crate) fn needed(method: &Method, path: &str) -> Role {
    let is_about_access = ABOUT_ACCESS.iter().any(|resource| {
        let rest = path.strip_prefix(resource);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    if is_about_access {
        Role::Admin
    } else if is_safe(method) || path == SIGN_IN {
        Role::Viewer
    } else {
        Role::Operator
    }
}

/// Whether the request changes something if it succeeds.
pub(crate) fn is_change(method: &Method, path: &str) -> bool {
    let is_question = *method == Method::POST
        && (path == "/v1/clients:query"
            // What is staged does nothing until it is applied.
            || path == "/v1/components"
            || is_of_one(path, "/v1/rules/", "/test")
            || is_of_one(path, "/v1/rocketmq-instances/", "/probe"));
    !is_safe(method) && !is_question && path != SIGN_IN
}

/// Whether `path` is `ending` of one thing of a collection; the thing itself may have that name.
fn is_of_one(path: &str, collection: &str, ending: &str) -> bool {
    path.strip_prefix(collection)
        .and_then(|rest| rest.strip_suffix(ending))
        .is_some_and(|name| !name.is_empty() && !name.contains('/'))
}

/// The resource as the audit log shows it.
pub(crate) fn resource(path: &str, query: &str) -> String {
    let is_noted = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        NOTED_QUERY.contains(&name)
    };
    let noted: Vec<&str> = query.split('&').filter(is_noted).collect();
    if noted.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", noted.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Method;
    use pipeline::control::Role;

    use super::{is_change, needed, resource};

    #[test]
    fn each_role_reaches_what_is_its_own() {
        for (method, path, role) in [
            (Method::GET, "/v1/rules", Role::Viewer),
            (Method::HEAD, "/v1/rules/a", Role::Viewer),
            (Method::GET, "/v1/events", Role::Viewer),
            (Method::POST, "/v1/rules", Role::Operator),
            (Method::PATCH, "/v1/anything-new", Role::Operator),
            (Method::DELETE, "/v1/clients/a", Role::Operator),
            (Method::POST, "/v1/clients:query", Role::Operator),
            (Method::GET, "/v1/tokens", Role::Admin),
            (Method::DELETE, "/v1/tokens/a", Role::Admin),
            (Method::GET, "/v1/users/a", Role::Admin),
            (Method::GET, "/v1/access-keys", Role::Admin),
            (Method::GET, "/v1/audit", Role::Admin),
            (Method::POST, "/v1/sign-in-codes", Role::Admin),
            (Method::DELETE, "/v1/sign-in", Role::Viewer),
        ] {
            assert_eq!(needed(&method, path), role, "{method} {path}");
        }
    }

    #[test]
    fn questions_are_no_changes() {
        for (method, path, expected) in [
            (Method::POST, "/v1/rules", true),
            (Method::PUT, "/v1/rules/test", true),
            (Method::DELETE, "/v1/rules/test", true),
            (Method::POST, "/v1/rules/test/enable", true),
            (Method::POST, "/v1/rules/test/test", false),
            (Method::POST, "/v1/rules/a/test", false),
            (Method::POST, "/v1/rules/a/enable", true),
            (Method::POST, "/v1/rocketmq-instances/a/probe", false),
            (Method::POST, "/v1/clients:query", false),
            (Method::POST, "/v1/apply", true),
            (Method::GET, "/v1/rules", false),
        ] {
            assert_eq!(is_change(&method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_resource_shows_what_it_was_about_and_no_stray_secret() {
        assert_eq!(resource("/v1/rules/a", ""), "/v1/rules/a");
        assert_eq!(
            resource("/v1/rules/a", "pending=discard&token=hidden"),
            "/v1/rules/a?pending=discard"
        );
        assert_eq!(resource("/v1/rules/a", "secret=hidden"), "/v1/rules/a");
    }
}
