//! From output plugins through the outbox to endpoints, files and topics.

use super::{DeliverOptions, DeliverWorker};
use crate::{
    analysis::{
        Driver, PluginsWork, output_worker,
        tests::support::{House, Scripted, Seen},
    },
    status::PluginStatus,
};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
    time::Duration,
};
use tidemill_bus::SystemFiles;
use tidemill_config::Allow;
use tidemill_message::MessageRef;
use tidemill_runtime::{CallErrorKind, Delivery, Kind, Target};

/// A request as it came: request line, idempotency key and body.
type Came = (String, String, Vec<u8>);

/// An endpoint that gives these answers one after another, then 200.
struct Endpoint {
    address: String,
    came: Arc<Mutex<Vec<Came>>>,
}

impl Endpoint {
    fn new(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (came, answers) = (Arc::new(Mutex::new(Vec::new())), answers.iter().map(|answer| (*answer).to_owned()).collect());
        let endpoint = Self { address, came: Arc::clone(&came) };
        std::thread::spawn(move || serve(&listener, &came, answers));
        endpoint
    }

    fn came(&self) -> Vec<Came> {
        self.came.lock().clone()
    }

    fn url(&self) -> String {
        format!("http://{}/in", self.address)
    }
}

fn serve(listener: &TcpListener, came: &Mutex<Vec<Came>>, mut answers: VecDeque<String>) {
    for stream in listener.incoming() {
        let mut stream = stream.expect("a connection");
        let Some(request) = read_request(&mut stream) else { continue };
        came.lock().push(request);
        let answer = answers.pop_front().unwrap_or_else(|| "200 OK".to_owned());
        // `close` stands for an endpoint that dies before it answers.
        if answer != "close" {
            write!(stream, "HTTP/1.1 {answer}\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbody").expect("an answer");
        }
    }
}

fn read_request(stream: &mut impl Read) -> Option<Came> {
    let mut bytes = Vec::new();
    let head_end = loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let header = |name: &str| {
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix(name).map(|_| line[name.len()..].trim().to_owned()))
    };
    let length: usize = header("content-length:").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = bytes[head_end + 4..].to_vec();
    let mut rest = vec![0; length - body.len()];
    stream.read_exact(&mut rest).ok()?;
    body.extend_from_slice(&rest);
    Some((head.lines().next().unwrap_or_default().to_owned(), header("idempotency-key:").unwrap_or_default(), body))
}

fn http(url: String) -> Target {
    Target::Http { method: "POST".into(), url, headers: vec![("Content-Type".into(), "application/json".into())] }
}

/// Sends each row's number alone to the target.
fn sender(house: &House, target: impl Fn(i64) -> Target + Send + Sync + 'static) -> Scripted {
    let send = move |seen: &mut Seen<'_>| -> Result<(), CallErrorKind> {
        let (target, body) = (target(seen.number), seen.number.to_string().into_bytes());
        seen.deliveries.push(Delivery { target, first_row: seen.row, last_row: seen.row, body });
        Ok(())
    };
    Scripted { kind: Kind::Output, ..Scripted::new("sender", house, send) }
}

fn fill_outbox(house: &House, plugin: &Scripted) {
    let mut worker: Driver<PluginsWork> = output_worker(&house.options(&[plugin])).expect("a worker").never_wait();
    house.drain(&mut worker);
}

struct Hands {
    runtime: tokio::runtime::Runtime,
    house: House,
    status: Arc<PluginStatus>,
    folder: tempfile::TempDir,
}

impl Hands {
    fn new(partitions: u32) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        Self { runtime, house: House::new(partitions), status: Arc::default(), folder: tempfile::tempdir().expect("a folder") }
    }

    fn worker(&self, http: &[&str]) -> DeliverWorker {
        let allow = Allow {
            http: http.iter().map(|host| (*host).to_owned()).collect(),
            topics: vec!["elsewhere".into()],
            folder: Some(self.folder.path().to_owned()),
        };
        let options = DeliverOptions {
            plugin: "sender".into(),
            allow,
            status: Arc::clone(&self.status),
            bus: Arc::clone(&self.house.bus),
            clock: Arc::clone(&self.house.clock) as _,
            files: Arc::new(SystemFiles),
            runtime: self.runtime.handle().clone(),
            on_lost: tidemill_bus::OnLost::Stop,
            timeout: Duration::from_millis(500),
            seed: 1,
            epoch: 0,
        };
        DeliverWorker::new(options).expect("a worker")
    }

    /// Works until the outbox is empty.
    fn deliver(&self, worker: &mut DeliverWorker) {
        for _ in 0..2_000 {
            self.house.clock.pass(50);
            worker.turn();
            if worker.commit() && self.is_done() {
                return;
            }
        }
        panic!("deliveries do not come to an end");
    }

    fn is_done(&self) -> bool {
        let (topics, positions) = (self.house.bus.topics().expect("topics"), self.house.bus.group_positions().expect("positions"));
        let outbox = topics.iter().find(|topic| &*topic.name == "outbox-sender").expect("the outbox");
        (0u32..).zip(&outbox.partitions).all(|(number, range)| {
            let is_there = |at: &tidemill_bus::GroupPosition| {
                &*at.group == "deliver-sender" && at.partition.partition == number && at.position == range.end
            };
            range.end == 0 || positions.iter().any(is_there)
        })
    }

    fn errors(&self) -> Vec<String> {
        self.house.texts("errors", "DecodeError")
    }
}

#[test]
fn an_endpoint_that_fails_and_dies_gets_everything_in_order_with_the_same_key() {
    let hands = Hands::new(1);
    let endpoint = Endpoint::new(&["503 Busy", "close", "429 Slow", "200 OK", "408 Timeout"]);
    let url = endpoint.url();
    hands.house.publish("validated", 0..5);
    fill_outbox(&hands.house, &sender(&hands.house, move |_| http(url.clone())));
    hands.deliver(&mut hands.worker(&[&endpoint.address]));
    let came = endpoint.came();
    let bodies: Vec<_> = came.iter().map(|(_, _, body)| String::from_utf8_lossy(body).into_owned()).collect();
    assert_eq!(bodies, ["0", "0", "0", "0", "1", "1", "2", "3", "4"]);
    let incarnation = hands.house.bus.incarnation("validated").expect("a topic");
    assert!(
        came[..4].iter().all(|(line, key, _)| line == "POST /in HTTP/1.1" && *key == format!("sender/{incarnation}/0/0-4/0")),
        "{came:?}"
    );
    assert_ne!(came[3].1, came[4].1);
    assert_eq!(hands.errors(), [""; 0]);
    assert_eq!(PluginStatus::get(&hands.status.rejected), 0);
}

#[test]
fn a_restart_sends_the_same_bytes_under_the_same_key() {
    let hands = Hands::new(2);
    let endpoint = Endpoint::new(&[]);
    let url = endpoint.url();
    hands.house.publish("validated", 0..20);
    fill_outbox(&hands.house, &sender(&hands.house, move |_| http(url.clone())));
    let mut worker = hands.worker(&[&endpoint.address]);
    // It dies when the endpoint has got something and nothing of it is committed: the clock stands still.
    while endpoint.came().is_empty() {
        worker.turn();
    }
    drop(worker);
    let before = endpoint.came();
    hands.deliver(&mut hands.worker(&[&endpoint.address]));
    let all = endpoint.came();
    for first in &before {
        assert!(all[before.len()..].contains(first), "sent again, byte for byte: {first:?}");
    }
    let mut numbers: Vec<i64> = all.iter().map(|(_, _, body)| String::from_utf8_lossy(body).parse().expect("a number")).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    let mut keys: Vec<_> = all.iter().map(|(_, key, _)| key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 20, "one key for each delivery");
}

#[test]
fn what_is_refused_for_good_is_an_error_and_the_next_goes_on() {
    let hands = Hands::new(1);
    let endpoint = Endpoint::new(&["400 Bad Request", "302 Found"]);
    let url = endpoint.url();
    let targets = move |number| match number {
        0..=2 => http(url.clone()),
        3 => http("http://127.0.0.1:1/elsewhere".into()),
        4 => Target::Bus { topic: "raw".into(), key: vec![] },
        _ => Target::Append("log".into()),
    };
    hands.house.publish("validated", 0..6);
    fill_outbox(&hands.house, &sender(&hands.house, targets));
    hands.deliver(&mut hands.worker(&[&endpoint.address]));
    assert_eq!(endpoint.came().len(), 3);
    let errors = [
        "plugin sender: HTTP 400 Bad Request: body",
        "plugin sender: HTTP 302 Found: body",
        "plugin sender: http target \"127.0.0.1:1\" is not allowed: add it to `allow.http` of plugin \"sender\"",
        "plugin sender: topic \"raw\" is not allowed: add it to `allow.topics` of plugin \"sender\"",
    ];
    let mut expected = errors.map(String::from).to_vec();
    let mut found = hands.errors();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(std::fs::read_to_string(hands.folder.path().join("log")).expect("a file"), "5");
    assert_eq!(PluginStatus::get(&hands.status.rejected), 4);
    let record = hands.house.read("errors").remove(0).1;
    let message = MessageRef::parse(&record).expect("a message");
    let text = |name| message.field(name).and_then(|field| field.bytes()).map(|text| String::from_utf8_lossy(text).into_owned());
    assert_eq!(text("DecodeErrorType").as_deref(), Some("delivery_rejected"));
    assert_eq!(text("source").map(|source| source.starts_with("validated/0/")), Some(true));
}

#[test]
fn files_and_topics_get_their_bodies() {
    let hands = Hands::new(2);
    let targets = |number: i64| match number % 3 {
        0 => Target::Append("a/log.txt".into()),
        1 => Target::Object(format!("objects/{number}")),
        _ => Target::Bus { topic: "elsewhere".into(), key: number.to_string().into_bytes() },
    };
    hands.house.publish("validated", 0..30);
    fill_outbox(&hands.house, &sender(&hands.house, targets));
    hands.deliver(&mut hands.worker(&[]));
    let log = std::fs::read_to_string(hands.folder.path().join("a/log.txt")).expect("a file");
    assert_eq!(log.len(), "0369".len() + "12151821242730".len() - 2, "{log}");
    assert_eq!(std::fs::read_dir(hands.folder.path().join("objects")).expect("a folder").count(), 10);
    let mut records: Vec<i64> =
        hands.house.read("elsewhere").iter().map(|(_, value)| String::from_utf8_lossy(value).parse().expect("a number")).collect();
    records.sort_unstable();
    assert_eq!(records, (0..30).filter(|number| number % 3 == 2).collect::<Vec<_>>());
    assert_eq!(hands.errors(), [""; 0]);
}
