//! What all requests together may hold.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tidemill_bus::{
    Bus, Clock, Compression, SystemClock, TopicSpec,
    embedded::{EmbeddedBus, EmbeddedOptions},
    faults::FaultFiles,
};
use tidemill_edge::{Edge, Intake, Limits, Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};

const HELD_BYTES_MAX: u64 = 1_000;
/// Nothing that is waited for takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// An edge that holds a kilobyte of bodies at most.
async fn edge() -> (SocketAddr, watch::Sender<bool>) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let bus = EmbeddedBus::open_with(EmbeddedOptions::new("/log"), Arc::new(FaultFiles::default()), Arc::clone(&clock)).expect("a log");
    let raw = TopicSpec { name: "raw".into(), partitions: 1, compacted: false, compression: Compression::None };
    bus.ensure_topics(&[raw]).expect("a topic");
    let limits = Limits { held_bytes_max: HELD_BYTES_MAX, ..Limits::default() };
    let intake = Arc::new(Intake::new(Arc::new(bus), Arc::clone(&clock), PATIENCE).expect("an intake"));
    let edge = Some(Arc::new(Edge::new(intake, clock, limits)));
    let listener = tidemill_edge::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(Server { edge, router: axum::Router::new() }.run(listener, stopped, Duration::ZERO));
    (address, stop)
}

/// A request of so many bytes, of which the first come.
async fn begin(address: SocketAddr, bytes: usize, first: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let head = format!("POST /submit/test/ping/1/x HTTP/1.1\r\nHost: x\r\nContent-Length: {bytes}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(&vec![b'x'; first]).await.expect("sent");
    stream
}

/// The answer's status, and its whole text.
async fn end(mut stream: TcpStream) -> io::Result<(u16, String)> {
    let (mut text, mut bytes) = (String::new(), [0; 1_000]);
    while !text.ends_with("OK") && !text.ends_with("later") {
        let read = stream.read(&mut bytes).await?;
        assert!(read > 0, "it ends within an answer: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    Ok((text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), text))
}

async fn post(address: SocketAddr, bytes: usize) -> (u16, String) {
    end(begin(address, bytes, bytes).await).await.expect("an answer")
}

/// Posts until the answer is this one: what another client sent may still be on its way, or not be given back yet.
async fn until(address: SocketAddr, bytes: usize, status: u16) -> String {
    let began = Instant::now();
    loop {
        let (found, text) = post(address, bytes).await;
        if found == status {
            return text;
        }
        assert!(began.elapsed() < PATIENCE, "the last answer: {text}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn more_than_may_be_held_is_507_until_there_is_room_again() {
    let (address, _stop) = edge().await;
    assert_eq!(post(address, 200).await.0, 200);
    // A client that is slow holds room, ...
    let mut slow = begin(address, 1_000, 900).await;
    let text = until(address, 200, 507).await;
    assert!(text.ends_with("too much is under way: send it again later"), "{text}");
    assert_eq!(post(address, 50).await.0, 200, "what fits is taken");
    slow.write_all(&[b'x'; 100]).await.expect("sent");
    // ... gets its answer, ...
    assert_eq!(end(slow).await.expect("an answer").0, 200);
    until(address, 200, 200).await;
    // ... and where it goes away gives it back, too.
    let gone = begin(address, 1_000, 900).await;
    until(address, 200, 507).await;
    drop(gone);
    until(address, 1_000, 200).await;
}
