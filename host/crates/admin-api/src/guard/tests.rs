use std::net::SocketAddr;

use axum::Router;
use axum::routing::{get, post};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::api_error::ApiError;
use crate::extract::JsonBody;
use crate::listener::{LimitedListener, Peer};
use crate::server::guarded;
use crate::token::TokenHash;

const TOKEN: &str = "right-token";

/// A server with small resources behind the real checks.
struct Server {
    address: SocketAddr,
    _tasks: JoinSet<()>,
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
            .route(
                "/v1/body",
                post(|JsonBody(body): JsonBody<Value>| async move { body.to_string() }),
            );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = guarded(routes, address, TokenHash::of(TOKEN))
            .into_make_service_with_connect_info::<Peer>();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            axum::serve(LimitedListener::new(listener), service)
                .await
                .unwrap();
        });
        Self {
            address,
            _tasks: tasks,
        }
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
    let (status, answer) = server
        .announce("POST /v1/body", &headers, 1024 * 1024 + 1)
        .await;
    assert_eq!(
        (status, error(&answer)["code"].as_str()),
        (413, Some("payload_too_large"))
    );
    assert_eq!(server.ask("POST /v1/body", &headers, "{}").await.0, 200);
}
