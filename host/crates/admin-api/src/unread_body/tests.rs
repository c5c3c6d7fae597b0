//! Real sockets: a client that writes its whole request before it reads gets its answer.

use std::net::SocketAddr;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::routing::post;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::DRAIN_BYTES_MAX;
use crate::api_error::ApiError;
use crate::extract::read_body;

/// What the handler takes of a body, bytes.
const BYTES_MAX: usize = 1024;

/// A server with one handler that reads, and one that does not look.
async fn server() -> (SocketAddr, JoinSet<()>) {
    let too_large = || ApiError::payload_too_large("too large");
    let reading = post(move |request| async move {
        match read_body(request, BYTES_MAX, too_large).await {
            Ok(bytes) => (StatusCode::OK, bytes.len().to_string()),
            Err(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too large".to_owned()),
        }
    });
    let routes = Router::new()
        .route("/read", reading)
        .route("/refuse", post(|| async { StatusCode::FORBIDDEN }))
        .layer(from_fn(super::drain));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (address, tasks)
}

/// Writes head and body, then reads the head of the answer; the connection stays.
async fn ask(stream: &mut TcpStream, head: &str, body: &[u8]) -> String {
    let head = format!("{head}\r\nhost: localhost\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    answer(stream).await
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_body_that_is_too_large_is_read_to_its_end_before_the_answer() {
    let (address, _tasks) = server().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let large = vec![7; 16 << 20];
    let length = format!("content-length: {}", large.len());
    for (path, status) in [("/read", "413"), ("/refuse", "403"), ("/nowhere", "404")] {
        let head = format!("POST {path} HTTP/1.1\r\n{length}");
        // On one connection: it is fit for the next request.
        let found = ask(&mut stream, &head, &large).await;
        assert!(found.starts_with(&format!("HTTP/1.1 {status}")), "{found}");
        assert!(!found.contains("connection: close"), "{found}");
        let mut rest = vec![0; if path == "/read" { 9 } else { 0 }];
        stream.read_exact(&mut rest).await.unwrap();
    }
    // One that does not tell its length.
    let head = "POST /read HTTP/1.1\r\ntransfer-encoding: chunked";
    let mut chunked = format!("{:x}\r\n", large.len()).into_bytes();
    chunked.extend_from_slice(&large);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    let found = ask(&mut stream, head, &chunked).await;
    assert!(found.starts_with("HTTP/1.1 413"), "{found}");
}

#[tokio::test]
async fn a_body_that_fits_is_the_handlers() {
    let (address, _tasks) = server().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST /read HTTP/1.1\r\ncontent-length: 5";
    let found = ask(&mut stream, head, b"12345").await;
    assert!(found.starts_with("HTTP/1.1 200"), "{found}");
    assert_eq!(stream.read_u8().await.unwrap(), b'5');
}

#[tokio::test]
async fn who_waits_to_be_asked_is_answered_at_once() {
    let (address, _tasks) = server().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST /read HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 1000000000";
    let found = ask(&mut stream, head, b"").await;
    assert!(found.starts_with("HTTP/1.1 413"), "{found}");
    assert!(found.contains("connection: close"), "{found}");
}

#[tokio::test]
async fn there_is_an_end_to_what_is_thrown_away() {
    let (address, _tasks) = server().await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let head = format!(
        "POST /refuse HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
        DRAIN_BYTES_MAX * 4
    );
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        writing.write_all(head.as_bytes()).await.unwrap();
        // The server stops reading; how far this gets depends on the buffers of the system.
        while writing.write_all(&[7; 1 << 16]).await.is_ok() {}
    });
    let mut text = vec![0; 12];
    reading.read_exact(&mut text).await.unwrap();
    assert_eq!(text, b"HTTP/1.1 403");
}
