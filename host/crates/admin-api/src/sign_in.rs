//! Signing in with a browser: a one-time code becomes a session.
//!
//! A code is in the link that the host prints, behind `#`, so that no server and no log sees it before
//! it is used. A session is a bearer token like any other, but lives in memory: it ends with the host.
//! It is no cookie, because a browser sends the cookies of a machine to all ports of that machine.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::Actor;
use parking_lot::Mutex;
use pipeline::control::{AuditOutcome, NewAuditEntry, Role};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api_error::ApiError;
use crate::doors::{bearer, millis};
use crate::listener::Peer;
use crate::openapi::words;
use crate::permission::SIGN_IN;
use crate::secret_body::SecretBody;
use crate::server::Served;
use crate::token::{TokenHash, random_text};

const CODE_LIFE: Duration = Duration::from_secs(10 * 60);
/// A working day.
const SESSION_LIFE: Duration = Duration::from_secs(12 * 60 * 60);
/// Codes that wait to be used; the oldest goes.
const CODES_MAX: usize = 16;
/// Sessions at once; the oldest ends.
const SESSIONS_MAX: usize = 64;

/// Codes and sessions.
#[derive(Debug, Default)]
pub(crate) struct SignIn {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    codes: VecDeque<Code>,
    sessions: VecDeque<Session>,
}

#[derive(Debug)]
struct Code {
    hash: TokenHash,
    ends: Instant,
}

#[derive(Debug)]
struct Session {
    hash: TokenHash,
    ends: Instant,
    over: CancellationToken,
}

/// A session that was recognised.
#[derive(Debug)]
pub(crate) struct SessionUse {
    pub(crate) expires_in: Duration,
    pub(crate) over: CancellationToken,
}

impl SignIn {
    /// A new code, and how long it can be used.
    pub(crate) fn new_code(&self, now: Instant) -> io::Result<(String, Duration)> {
        let code = random_text("")?;
        let mut held = self.held.lock();
        if held.codes.len() >= CODES_MAX {
            held.codes.pop_front();
        }
        held.codes.push_back(Code {
            hash: TokenHash::of(&code),
            ends: now + CODE_LIFE,
        });
        Ok((code, CODE_LIFE))
    }

    /// Exchanges `code` for the token of a session and its life; `None` if it is not, or no longer, one.
    fn exchange(&self, code: &str, now: Instant) -> io::Result<Option<(String, Duration)>> {
        let mut held = self.held.lock();
        held.codes.retain(|it| it.ends > now);
        let Some(at) = held.codes.iter().position(|it| it.hash.matches(code)) else {
            return Ok(None);
        };
        let token = random_text("rms_")?;
        held.codes.remove(at);
        held.sessions.retain(|it| it.ends > now);
        if held.sessions.len() >= SESSIONS_MAX
            && let Some(oldest) = held.sessions.pop_front()
        {
            oldest.over.cancel();
        }
        held.sessions.push_back(Session {
            hash: TokenHash::of(&token),
            ends: now + SESSION_LIFE,
            over: CancellationToken::new(),
        });
        Ok(Some((token, SESSION_LIFE)))
    }

    /// Whether `hash` is that of a session's token.
    pub(crate) fn session(&self, hash: TokenHash, now: Instant) -> Option<SessionUse> {
        let held = self.held.lock();
        let session = held.sessions.iter().find(|it| it.hash == hash)?;
        let expires_in = session.ends.checked_duration_since(now)?;
        (!expires_in.is_zero()).then(|| SessionUse {
            expires_in,
            over: session.over.clone(),
        })
    }

    /// Ends a session; false if there is none.
    fn end(&self, hash: TokenHash) -> bool {
        let mut held = self.held.lock();
        let Some(at) = held.sessions.iter().position(|it| it.hash == hash) else {
            return false;
        };
        if let Some(session) = held.sessions.remove(at) {
            session.over.cancel();
        }
        true
    }
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SignInCodeRequest)]
pub(crate) struct CodeIn {
    /// The part of the link behind `#code=`.
    code: String,
}

/// A session.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Session)]
pub(crate) struct SessionOut {
    /// A bearer token, until the session ends.
    token: String,
    #[schema(value_type = words::RoleWord)]
    role: &'static str,
    #[schema(value_type = words::TimeMs)]
    expires_at: u64,
}

/// A code.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SignInCode)]
pub(crate) struct CodeOut {
    code: String,
    /// Signs a browser in, once.
    link: String,
    #[schema(value_type = words::TimeMs)]
    expires_at: u64,
}

fn no_randomness(error: &io::Error) -> ApiError {
    ApiError::internal(format!("the machine gives no random numbers: {error}"))
}

/// What must not be kept by anything between.
fn unstored(status: StatusCode, body: impl Serialize) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// Exchanges a code. Needs no token.
#[utoipa::path(
    post, path = "/v1/sign-in", tag = "Access", operation_id = "signIn",
    summary = "Exchanges a one-time code for a session",
    request_body(content = CodeIn, description = "At most 16 KiB"),
    responses((status = 200, description = "The session", body = SessionOut)),
    extensions(("x-errors" = json!(["invalid_sign_in_code", "too_many_failures"]))),
    security(()),
)]
pub(crate) async fn exchange(
    State(served): State<Served>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    SecretBody(body): SecretBody<CodeIn>,
) -> Result<Response, ApiError> {
    let doors = &served.doors;
    let session = doors.sign_in.exchange(&body.code, Instant::now());
    match session.map_err(|error| no_randomness(&error))? {
        Some((token, life)) => {
            tracing::info!(peer = %peer.0, "signed in with a one-time code");
            let entry = NewAuditEntry {
                actor: Actor::token("sign-in"),
                peer: peer.0.ip().to_string(),
                method: "POST".to_owned(),
                resource: SIGN_IN.to_owned(),
                outcome: AuditOutcome::Done,
                request_id: String::new(),
                revision: None,
            };
            served.control.access().note(entry).await;
            let session = SessionOut {
                token,
                role: Role::Admin.as_str(),
                expires_at: served.control.access().now_ms() + millis(life),
            };
            Ok(unstored(StatusCode::OK, session))
        }
        None => Err(doors.failed(
            &doors.code_failures,
            peer,
            ApiError::invalid_sign_in_code(
                "this code was used, has expired or never was one; get a new link with `rulemill token sign-in`",
            ),
        )),
    }
}

/// Ends the session whose token this is.
#[utoipa::path(
    delete, path = "/v1/sign-in", tag = "Access", operation_id = "signOut",
    summary = "Ends the session whose token this is",
    responses((status = 204, description = "It is over")),
    extensions(("x-errors" = json!(["not_found"]))),
)]
pub(crate) async fn end(
    State(served): State<Served>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let hash = bearer(&headers).map(TokenHash::of);
    if hash.is_some_and(|hash| served.doors.sign_in.end(hash)) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found(
            "this token is not that of a session; revoke a token with `rulemill token revoke`",
        ))
    }
}

/// Makes a code.
#[utoipa::path(
    post, path = "/v1/sign-in-codes", tag = "Access", operation_id = "createSignInCode",
    summary = "Makes a one-time code for a browser",
    responses((status = 201, description = "The code", body = CodeOut)),
)]
pub(crate) async fn create_code(State(served): State<Served>) -> Result<Response, ApiError> {
    let new = served.doors.sign_in.new_code(Instant::now());
    let (code, life) = new.map_err(|error| no_randomness(&error))?;
    let out = CodeOut {
        link: served.doors.link(&code),
        code,
        expires_at: served.control.access().now_ms() + millis(life),
    };
    Ok(unstored(StatusCode::CREATED, out))
}

const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page that a link opens: it exchanges the code and shows how the host is.
#[utoipa::path(
    get, path = "/", tag = "Host", operation_id = "showSignInPage",
    summary = "The page that a sign-in link opens",
    responses((status = 200, description = "HTML", body = String, content_type = "text/html; charset=utf-8")),
    security(()),
)]
pub(crate) fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, include_str!("sign_in/page.html")).into_response()
}

/// Its script.
#[utoipa::path(
    get, path = "/sign-in.js", tag = "Host", operation_id = "showSignInScript",
    summary = "The script of that page",
    responses((status = 200, description = "JavaScript", body = String, content_type = "text/javascript; charset=utf-8")),
    security(()),
)]
pub(crate) async fn script() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, include_str!("sign_in/page.js")).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::{CODE_LIFE, CODES_MAX, SESSION_LIFE, SESSIONS_MAX, SignIn};
    use crate::token::TokenHash;

    #[test]
    fn a_code_works_once_and_for_ten_minutes() {
        let (sign_in, now) = (SignIn::default(), Instant::now());
        let (code, _) = sign_in.new_code(now).unwrap();
        assert!(sign_in.exchange("other", now).unwrap().is_none());
        let (token, life) = sign_in.exchange(&code, now).unwrap().unwrap();
        assert_eq!(life, SESSION_LIFE);
        assert!(sign_in.exchange(&code, now).unwrap().is_none());
        let (late, _) = sign_in.new_code(now).unwrap();
        assert!(sign_in.exchange(&late, now + CODE_LIFE).unwrap().is_none());
        let hash = TokenHash::of(&token);
        assert!(sign_in.session(hash, now).is_some());
        assert!(sign_in.session(hash, now + SESSION_LIFE).is_none());
        assert!(sign_in.session(TokenHash::of("x"), now).is_none());
        let held = sign_in.session(hash, now).unwrap();
        assert!(sign_in.end(hash) && !sign_in.end(hash));
        assert!(held.over.is_cancelled() && sign_in.session(hash, now).is_none());
    }

    #[test]
    fn the_oldest_code_and_session_go_first() {
        let (sign_in, now) = (SignIn::default(), Instant::now());
        let new_code = || sign_in.new_code(now).unwrap().0;
        let codes: Vec<String> = (0..=CODES_MAX).map(|_| new_code()).collect();
        assert!(sign_in.exchange(&codes[0], now).unwrap().is_none());
        let session = |code: &str| sign_in.exchange(code, now).unwrap().unwrap().0;
        let first = TokenHash::of(&session(&codes[1]));
        for _ in 0..SESSIONS_MAX - 1 {
            session(&new_code());
        }
        let held = sign_in.session(first, now).unwrap();
        session(&new_code());
        assert!(held.over.is_cancelled() && sign_in.session(first, now).is_none());
    }
}
