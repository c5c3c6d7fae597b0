use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::{Direction, Fault, Framing, Proxy};

/// A server that says everything back.
fn echo() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let target = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut back = stream.try_clone().unwrap();
                drop(std::io::copy(&mut stream, &mut back));
            });
        }
    });
    target
}

fn framed() -> Proxy {
    Proxy::start_framed(&echo(), Framing::Rocketmq(None)).unwrap()
}

fn open(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    stream
}

fn answers(proxy: &Proxy) -> bool {
    let Ok(mut stream) = TcpStream::connect(proxy.address()) else {
        return false;
    };
    let mut byte = [0];
    stream
        .write_all(b"x")
        .and_then(|()| stream.read_exact(&mut byte))
        .is_ok()
}

/// Says a frame and reads as many bytes back as come, until there are `count` or none for a while.
fn say(stream: &mut TcpStream, text: &[u8], count: usize) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    stream.write_all(&length).unwrap();
    stream.write_all(text).unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while answer.len() < count && stream.read(&mut byte).is_ok_and(|read| read > 0) {
        answer.push(byte[0]);
    }
    answer
}

#[test]
fn a_cut_proxy_refuses_until_it_is_restored() {
    let proxy = Proxy::start(&echo()).unwrap();
    assert!(answers(&proxy));
    proxy.cut();
    assert!(!answers(&proxy));
    proxy.restore().unwrap();
    assert!(answers(&proxy));
}

#[test]
fn a_delay_is_for_one_direction_and_ends() {
    let proxy = framed();
    let mut stream = open(&proxy);
    proxy.harm(
        Direction::ToClient,
        Fault::Delay(Duration::from_millis(100)),
    );
    let start = Instant::now();
    assert_eq!(say(&mut stream, b"late", 8), b"\0\0\0\x04late");
    assert!(start.elapsed() >= Duration::from_millis(100));
    proxy.heal();
    let start = Instant::now();
    assert_eq!(say(&mut stream, b"soon", 8), b"\0\0\0\x04soon");
    assert!(start.elapsed() < Duration::from_millis(100));
}

#[test]
fn a_throttle_lets_so_many_bytes_pass_a_second() {
    let proxy = framed();
    let mut stream = open(&proxy);
    proxy.harm(Direction::ToServer, Fault::Throttle(1000));
    let start = Instant::now();
    assert_eq!(say(&mut stream, &[7; 196], 200).len(), 200);
    assert!(start.elapsed() >= Duration::from_millis(180));
}

#[test]
fn a_stall_keeps_what_it_was_given() {
    let proxy = framed();
    let mut stream = open(&proxy);
    proxy.harm(Direction::ToClient, Fault::Stall);
    assert_eq!(say(&mut stream, b"wait", 8), b"");
    proxy.heal();
    assert_eq!(
        say(&mut stream, b"more", 16),
        b"\0\0\0\x04wait\0\0\0\x04more"
    );
}

#[test]
fn a_drop_loses_whole_frames() {
    let proxy = framed();
    let mut stream = open(&proxy);
    proxy.harm(Direction::ToClient, Fault::Drop);
    assert_eq!(say(&mut stream, b"gone", 8), b"");
    proxy.heal();
    assert_eq!(say(&mut stream, b"here", 8), b"\0\0\0\x04here");
    assert_eq!(proxy.harmed(), 1);
}

#[test]
fn a_frame_is_cut_once_and_its_connection_ends() {
    let proxy = framed();
    let (mut first, mut second) = (open(&proxy), open(&proxy));
    proxy.harm(Direction::ToClient, Fault::CutFrame(6));
    assert_eq!(say(&mut first, b"torn", 8), b"\0\0\0\x04to");
    assert_eq!(say(&mut second, b"whole", 9), b"\0\0\0\x05whole");
    assert_eq!(proxy.harmed(), 1);
}
