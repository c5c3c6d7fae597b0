use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use domain::{Actor, SystemClock};
use pipeline::control::{AccessControl, AuditFilter, AuditOutcome, NewToken, Role};
use serde_json::Value;
use store::{AuditRecord, MetaStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::Guard;
use crate::api_error::ApiError;
use crate::doors::{Doors, Refused};
use crate::extract::JsonBody;
use crate::failures::{BURST, Failures};
use crate::listener::{LimitedListener, Peer};
use crate::server::guarded;
use crate::sign_in::SignIn;
use crate::token::TokenHash;

const TOKEN: &str = "right-token";

/// A server with small resources behind the real checks.
struct Server {
    address: SocketAddr,
    doors: Arc<Doors>,
    _tasks: JoinSet<()>,
    _folder: TempDir,
}

/// Lines without end, until the token is revoked.
async fn stream() -> Response {
    let lines = futures_util::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Some((Ok::<_, io::Error>("line\n"), ()))
    });
    Body::from_stream(lines).into_response()
}

impl Server {
    async fn start() -> Self {
        let routes = Router::new()
            .route("/healthz", get(|| async { "ok" }))
            .route("/metrics", get(|| async { "metrics" }))
            .route("/v1/thing", get(|| async { "thing" }))
            .route(
                "/v1/broken",
                get(|| async { Err::<(), _>(ApiError::internal("it broke")) }),
            )
            .route("/v1/stream", get(stream))
            .route(
                "/v1/tokens",
                get(|| async { "tokens" }).post(|| async { StatusCode::CREATED }),
            )
            .route(
                "/v1/rules/{id}",
                delete(|| async { StatusCode::NO_CONTENT })
                    .put(|| async { ([("etag", "\"7\"")], "changed") }),
            )
            .route(
                "/v1/body",
                post(|JsonBody(body): JsonBody<Value>| async move { body.to_string() }),
            );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let meta = Arc::new(MetaStore::open(folder.path().join("meta.redb")).unwrap());
        let access = AccessControl::open(meta, Arc::new(SystemClock), Arc::default()).unwrap();
        let doors = Arc::new(Doors {
            file_token: TokenHash::of(TOKEN),
            access: Arc::new(access),
            sign_in: SignIn::default(),
            failures: Failures::default(),
            code_failures: Failures::default(),
            refused: Refused::default(),
            listen: address,
            tls: None,
        });
        let guard = Guard {
            doors: Arc::clone(&doors),
            changes: TaskTracker::new(),
        };
        let service = guarded(routes, guard).into_make_service_with_connect_info::<Peer>();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            axum::serve(LimitedListener::new(listener, None), service)
                .await
                .unwrap();
        });
        Self {
            address,
            doors,
            _tasks: tasks,
            _folder: folder,
        }
    }

    async fn token(&self, name: &str, role: Role) -> String {
        let token = format!("token-of-{name}");
        let new = NewToken {
            name: name.to_owned(),
            role,
            expires_at_ms: None,
            hash: TokenHash::of(&token).into(),
        };
        let by = Actor::token("admin");
        self.doors.access.create_token(new, &by).await.unwrap();
        format!("Authorization: Bearer {token}")
    }

    async fn audit(&self) -> Vec<AuditRecord> {
        let page = self.doors.access.audit(AuditFilter::default(), 100).await;
        let entries = page.unwrap().entries.into_iter();
        entries.map(|entry| entry.record).collect()
    }

    /// Status and the whole answer.
    async fn ask(&self, line: &str, headers: &[&str], body: &str) -> (u16, String) {
        self.send(line, headers, body.len(), body).await
    }

    /// As [`Server::ask`], for a body that is announced and never sent.
    async fn announce(&self, line: &str, headers: &[&str], length: usize) -> (u16, String) {
        self.send(line, headers, length, "").await
    }

    async fn send(&self, line: &str, headers: &[&str], length: usize, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let headers: String = headers
            .iter()
            .map(|header| format!("{header}\r\n"))
            .collect();
        let request = format!(
            "{line} HTTP/1.1\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }
}

fn error(answer: &str) -> Value {
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

#[tokio::test]
async fn only_the_right_token_opens_the_api() {
    let server = Server::start().await;
    let host = "Host: localhost:8180";
    for wrong in [
        "X: y",
        "Authorization: Bearer wrong",
        "Authorization: Basic right-token",
        "Authorization: right-token",
    ] {
        let (status, answer) = server.ask("GET /v1/thing", &[host, wrong], "").await;
        assert_eq!(status, 401, "{wrong}");
        let error = error(&answer);
        assert_eq!(error["code"], "unauthorized");
        let id = error["requestId"].as_str().unwrap();
        assert!(answer.contains(&format!("x-request-id: {id}")));
    }
    let right = "Authorization: Bearer right-token";
    assert_eq!(server.ask("GET /v1/thing", &[host, right], "").await.0, 200);
    for open in ["/healthz", "/metrics"] {
        assert_eq!(server.ask(&format!("GET {open}"), &[host], "").await.0, 200);
    }
}

#[tokio::test]
async fn a_foreign_host_or_origin_is_refused_even_with_the_token() {
    let server = Server::start().await;
    let port = server.address.port();
    let token = "Authorization: Bearer right-token";
    for (host, status) in [
        ("Host: evil.example".to_owned(), 403),
        ("Host: 192.0.2.1".to_owned(), 403),
        ("Host: localhost.evil.example".to_owned(), 403),
        ("X-Host: none".to_owned(), 403),
        ("Host: LOCALHOST".to_owned(), 200),
        (format!("Host: 127.0.0.1:{port}"), 200),
        ("Host: [::1]:1".to_owned(), 200),
    ] {
        let (found, answer) = server.ask("GET /v1/thing", &[&host, token], "").await;
        assert_eq!(found, status, "{host}");
        if status == 403 {
            assert_eq!(error(&answer)["code"], "forbidden_host");
        }
    }
    let host = "Host: localhost:1";
    for (origin, status) in [
        ("Origin: http://localhost:1", 200),
        ("Origin: http://evil.example", 403),
        ("Origin: null", 403),
    ] {
        assert_eq!(
            server
                .ask("GET /v1/thing", &[host, token, origin], "")
                .await
                .0,
            status,
            "{origin}"
        );
    }
}

#[tokio::test]
async fn every_failure_has_a_code_and_a_request_id() {
    let server = Server::start().await;
    let headers = ["Host: localhost", "Authorization: Bearer right-token"];
    for (line, body, status, code) in [
        ("GET /v1/none", "", 404, "not_found"),
        ("DELETE /v1/thing", "", 405, "method_not_allowed"),
        ("GET /v1/broken", "", 500, "internal"),
        ("POST /v1/body", "", 400, "invalid_json"),
        ("POST /v1/body", "{", 400, "invalid_json"),
    ] {
        let (found, answer) = server.ask(line, &headers, body).await;
        assert_eq!(found, status, "{line}");
        let error = error(&answer);
        assert_eq!(error["code"], code, "{line}");
        assert_eq!(error["requestId"].as_str().unwrap().len(), 16);
        assert!(error["details"].is_object());
    }
    // Refused by its announced size, before any of it is sent.
    let waiting = [&headers[..], &["Expect: 100-continue"]].concat();
    let (status, answer) = server
        .announce("POST /v1/body", &waiting, 1024 * 1024 + 1)
        .await;
    assert_eq!(
        (status, error(&answer)["code"].as_str()),
        (413, Some("payload_too_large"))
    );
    assert_eq!(server.ask("POST /v1/body", &headers, "{}").await.0, 200);
}

#[tokio::test]
async fn a_role_reaches_what_it_may_and_is_told_what_it_lacks() {
    let server = Server::start().await;
    let host = "Host: localhost";
    let viewer = server.token("looker", Role::Viewer).await;
    let operator = server.token("worker", Role::Operator).await;
    let admin = server.token("boss", Role::Admin).await;
    for (line, statuses) in [
        ("GET /v1/thing", [200, 200, 200]),
        ("DELETE /v1/rules/a", [403, 204, 204]),
        ("GET /v1/tokens", [403, 403, 200]),
        ("POST /v1/tokens", [403, 403, 201]),
    ] {
        for (token, status) in [&viewer, &operator, &admin].into_iter().zip(statuses) {
            let (found, answer) = server.ask(line, &[host, token], "").await;
            assert_eq!(found, status, "{line} {token}");
            if status == 403 {
                let error = error(&answer);
                assert_eq!(error["code"], "not_allowed");
                let message = error["message"].as_str().unwrap();
                assert!(message.contains("needs the role"), "{message}");
            }
        }
    }
}

#[tokio::test]
async fn changes_are_noted_with_who_made_them_and_reads_are_not() {
    let server = Server::start().await;
    let host = "Host: localhost";
    let viewer = server.token("looker", Role::Viewer).await;
    let operator = server.token("worker", Role::Operator).await;
    for (line, token) in [
        ("PUT /v1/rules/a?force=true&x=hidden", &operator),
        ("GET /v1/thing", &operator),
        ("POST /v1/body", &operator),
        ("DELETE /v1/rules/none/none", &operator),
        ("DELETE /v1/rules/a", &viewer),
    ] {
        server.ask(line, &[host, token], "").await;
    }
    let noted = server.audit().await;
    let brief: Vec<_> = noted
        .iter()
        .map(|it| {
            let what = (it.method.as_str(), it.resource.as_str());
            (it.actor.as_str(), what, it.outcome, it.revision)
        })
        .collect();
    assert_eq!(
        brief,
        [
            (
                "token:looker",
                ("DELETE", "/v1/rules/a"),
                AuditOutcome::Refused,
                None
            ),
            (
                "token:worker",
                ("PUT", "/v1/rules/a?force=true"),
                AuditOutcome::Done,
                Some(7)
            ),
        ]
    );
    assert!(
        noted
            .iter()
            .all(|it| it.peer == "127.0.0.1" && it.request_id.len() == 16)
    );
}

#[tokio::test]
async fn too_many_wrong_tokens_are_refused_and_the_right_one_is_not() {
    let server = Server::start().await;
    let host = "Host: localhost";
    let wrong = "Authorization: Bearer wrong";
    for _ in 0..BURST {
        assert_eq!(server.ask("GET /v1/thing", &[host, wrong], "").await.0, 401);
    }
    let (mut status, mut answer) = (401, String::new());
    // One more is forgiven each second, so the very next one need not be refused.
    while status == 401 {
        (status, answer) = server.ask("GET /v1/thing", &[host, wrong], "").await;
    }
    assert_eq!(status, 429);
    assert_eq!(error(&answer)["code"], "too_many_failures");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    let right = "Authorization: Bearer right-token";
    assert_eq!(server.ask("GET /v1/thing", &[host, right], "").await.0, 200);
}

#[tokio::test]
async fn an_answer_that_goes_on_ends_when_its_token_is_revoked() {
    let server = Server::start().await;
    let viewer = server.token("looker", Role::Viewer).await;
    let revoke = async {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!(
            "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n{viewer}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut some = [0; 512];
        assert!(stream.read(&mut some).await.unwrap() > 0);
        server.doors.access.revoke_token("looker").await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(5), revoke)
        .await
        .unwrap();
    let (status, _) = server
        .ask("GET /v1/thing", &["Host: localhost", &viewer], "")
        .await;
    assert_eq!(status, 401);
}
