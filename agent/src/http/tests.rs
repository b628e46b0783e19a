use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use super::*;

/// The first line of the answer to a request for a path, and its body.
fn get(port: u16, path: &str) -> io::Result<(String, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
}

pub(super) fn eventually<T>(mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < deadline, "it never happens");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A port that is free now.
pub(super) fn free_port() -> u16 {
    let probe = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    probe.local_addr().expect("an address").port()
}

/// Serves a few pages for as long as the process lives.
pub(super) fn start(wanted: watch::Receiver<HttpListener>, troubles: Troubles) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let pages: Pages = Arc::new(|path| {
            Box::pin(async move {
                match path.as_str() {
                    "/yes" => Answer::text(200, "yes\n".to_owned()),
                    "/quiet" => Answer::nothing(),
                    _ => Answer::not_found(),
                }
            })
        });
        runtime.block_on(serve("pages", wanted, pages, troubles));
    });
}

#[test]
fn a_server_follows_its_configuration() {
    let on = |port| HttpListener { enabled: true, host: "127.0.0.1".to_owned(), port, tls: None };
    let (first, second) = (free_port(), free_port());
    let (want, wanted) = watch::channel(HttpListener { enabled: false, ..on(first) });
    let troubles = Troubles::default();
    start(wanted, troubles.clone());
    assert!(get(first, "/yes").is_err(), "not wanted yet");

    want.send_replace(on(first));
    let answer = eventually(|| get(first, "/yes").ok());
    assert_eq!(answer, ("HTTP/1.1 200 OK".to_owned(), "yes\n".to_owned()));
    assert_eq!(get(first, "/quiet").expect("an answer").0, "HTTP/1.1 204 No Content");
    assert_eq!(get(first, "/no").expect("an answer").0, "HTTP/1.1 404 Not Found");

    want.send_replace(on(second));
    eventually(|| get(second, "/yes").ok());
    assert!(get(first, "/yes").is_err(), "it has moved");

    let taken = std::net::TcpListener::bind(("127.0.0.1", first)).expect("it was left");
    want.send_replace(on(first));
    let trouble = eventually(|| troubles.all().first().cloned());
    assert!(trouble.1.starts_with(&format!("cannot listen on port {first} of 127.0.0.1: ")), "{trouble:?}");
    drop(taken);
    eventually(|| get(first, "/yes").ok());
    assert_eq!(troubles.all(), []);

    want.send_replace(HttpListener { enabled: false, ..on(first) });
    eventually(|| get(first, "/yes").is_err().then_some(()));
}
