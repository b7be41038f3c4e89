//! What a main ping costs: gunzip alone, then with the pass on each backend.
//!
//! `cargo run -p tidemill-schema --example pass_speed -- CORPUS.raw.gz.hpb SCHEMAS` where the corpus is
//! framed Heka messages with gzip in `Fields[content]` and SCHEMAS a schema repository.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use tidemill_json::{Backend, Captures, Padded, Pass, Program};
use tidemill_schema::Registry;

const DOCUMENT_BYTES_MAX: usize = 8 << 20;
const ROUNDS: usize = 15;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, corpus, schemas] = arguments.as_slice() else {
        eprintln!("usage: pass_speed CORPUS.raw.gz.hpb SCHEMAS");
        std::process::exit(2);
    };
    let bytes = std::fs::read(corpus).expect("the corpus is readable");
    let contents = contents(&bytes);
    let (registry, _) = Registry::load(&[PathBuf::from(schemas)]).expect("the schemas are readable");
    let schema = registry.find("telemetry", "main", 4).expect("telemetry/main/4 is among the schemas");
    let mut decompressor = libdeflater::Decompressor::new();
    let mut document = Padded::new();
    let mut gunzip = |content: &[u8], document: &mut Padded| {
        let fill = |buffer: &mut [u8]| decompressor.gzip_decompress(content, buffer);
        document.fill_with(DOCUMENT_BYTES_MAX, fill).expect("the corpus is gzip");
    };
    let pointers =
        ["/environment/system/os/name", "/payload/info/sessionId", "/clientId", "/payload/simpleMeasurements/main", "/application/channel"];
    let (none, five) = (Captures::none(), Captures::new(&pointers).expect("valid pointers"));
    let histograms = Captures::new(&["/payload/histograms/*/sum"]).expect("a valid pointer");

    let mut total = 0;
    for content in &contents {
        gunzip(content, &mut document);
        total += document.len();
    }
    println!("{} pings, {} bytes on average", contents.len(), total / contents.len());
    let base = measure("gunzip", &contents, |content| {
        gunzip(content, &mut document);
        black_box(document.len());
    });
    for backend in [Backend::Avx2, Backend::Sse2, Backend::Safe] {
        let mut pass = Pass::with_backend(backend);
        let any = Program::any();
        let mut run = |name: &str, program: &Program, captures: &Captures| {
            let time = measure(&format!("{backend:?} {name}"), &contents, |content| {
                gunzip(content, &mut document);
                black_box(pass.run(program, captures, &document)).expect("the corpus is valid");
            });
            println!("{:>50} {:6.1} us beyond gunzip", "", time - base);
        };
        run("schema", schema.program(), &none);
        run("schema, 5 columns", schema.program(), &five);
        run("schema, all histogram sums", schema.program(), &histograms);
        run("no schema", &any, &none);
    }
}

/// Microseconds a ping: the mean of each ping's best of some rounds, which a busy machine disturbs least.
fn measure(name: &str, contents: &[&[u8]], mut work: impl FnMut(&[u8])) -> f64 {
    let mut best = vec![f64::MAX; contents.len()];
    for _ in 0..ROUNDS {
        for (content, best) in contents.iter().zip(&mut best) {
            let start = Instant::now();
            work(content);
            *best = best.min(start.elapsed().as_secs_f64());
        }
    }
    let mean = best.iter().sum::<f64>() / contents.len() as f64 * 1e6;
    println!("{name:50} {mean:6.1} us");
    mean
}

/// `Fields[content]` of each framed message.
fn contents(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut contents = Vec::new();
    while let [0x1e, header_len, rest @ ..] = bytes {
        let (header, rest) = rest.split_at(usize::from(*header_len));
        let len = fields(header).find(|(tag, _)| *tag == 1).map_or(0, |(_, value)| value.number());
        let (message, rest) = rest[1..].split_at(len);
        let named = fields(message).filter(|(tag, _)| *tag == 10).map(|(_, value)| value.bytes());
        for field in named.filter(|field| fields(field).any(|(tag, value)| tag == 1 && value.bytes() == b"content")) {
            contents.extend(fields(field).find(|(tag, _)| *tag == 5).map(|(_, value)| value.bytes()));
        }
        bytes = rest;
    }
    contents
}

enum Value<'a> {
    Number(usize),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn number(&self) -> usize {
        if let Self::Number(number) = self { *number } else { 0 }
    }

    fn bytes(&self) -> &'a [u8] {
        if let Self::Bytes(bytes) = self { bytes } else { b"" }
    }
}

/// The fields of a protobuf message.
fn fields(mut bytes: &[u8]) -> impl Iterator<Item = (usize, Value<'_>)> {
    std::iter::from_fn(move || {
        (!bytes.is_empty()).then(|| {
            let tag = varint(&mut bytes);
            let value = match tag & 7 {
                0 => Value::Number(varint(&mut bytes)),
                kind => {
                    let len = if kind == 1 { 8 } else { varint(&mut bytes) };
                    let (value, rest) = bytes.split_at(len);
                    bytes = rest;
                    Value::Bytes(value)
                }
            };
            (tag >> 3, value)
        })
    })
}

fn varint(bytes: &mut &[u8]) -> usize {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        number |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    number
}
