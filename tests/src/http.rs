//! A small HTTP/1.1 client on a blocking socket: enough for the platform, and fast.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// A peer that says nothing for so long is gone.
const TIMEOUT: Duration = Duration::from_secs(35);

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection that is kept.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    request: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self { stream: BufReader::new(stream), request: vec![] })
    }

    /// Sends a request with a body and waits for the answer.
    ///
    /// # Errors
    /// When the connection breaks: nobody knows then what became of the request.
    pub fn send(&mut self, method: &str, path: &str, headers: &[(String, String)], body: &[u8]) -> io::Result<Answer> {
        self.request.clear();
        write!(self.request, "{method} {path} HTTP/1.1\r\nContent-Length: {}\r\n", body.len())?;
        if !headers.iter().any(|(name, _)| name == "Host") {
            write!(self.request, "Host: edge.example\r\n")?;
        }
        for (name, value) in headers {
            write!(self.request, "{name}: {value}\r\n")?;
        }
        self.request.extend_from_slice(b"\r\n");
        self.request.extend_from_slice(body);
        self.stream.get_mut().write_all(&self.request)?;
        read_answer(&mut self.stream)
    }
}

/// Asks for JSON; null where there is none.
pub fn get_json(address: SocketAddr, path: &str) -> serde_json::Value {
    let answer = Connection::open(address).and_then(|mut connection| connection.send("GET", path, &[], b""));
    answer.map(|answer| serde_json::from_slice(&answer.body).unwrap_or_default()).unwrap_or_default()
}

/// Writes bytes as they are and reads one answer.
///
/// # Errors
/// When the connection breaks before there is an answer.
pub fn raw_exchange(address: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    let mut connection = Connection::open(address)?;
    // A server may answer and hang up before it has read everything.
    let _ = connection.stream.get_mut().write_all(request);
    read_answer(&mut connection.stream)
}

/// Reads an answer, its body by length, in chunks or to the end.
fn read_answer(stream: &mut BufReader<TcpStream>) -> io::Result<Answer> {
    let (first, headers) = read_head(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let status =
        first.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| io::Error::other(format!("no status: {first:?}")))?;
    let mut answer = Answer { status, headers, body: vec![] };
    let length = answer.header("content-length").and_then(|length| length.parse().ok());
    match length {
        Some(length) => {
            answer.body.resize(length, 0);
            stream.read_exact(&mut answer.body)?;
        }
        None if answer.header("transfer-encoding") == Some("chunked") => answer.body = read_chunks(stream)?,
        None => drop(stream.read_to_end(&mut answer.body)?),
    }
    Ok(answer)
}

fn read_chunks(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = vec![];
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let start = body.len();
        body.resize(start + length + 2, 0);
        stream.read_exact(&mut body[start..])?;
        body.truncate(start + length);
        if length == 0 {
            return Ok(body);
        }
    }
}

/// The first line and the headers, names in lower case.
pub(crate) type Head = (String, Vec<(String, String)>);

/// Reads a head; `None` where the peer hung up before them.
pub(crate) fn read_head(stream: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut first = String::new();
    if stream.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut headers = vec![];
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => return Ok(Some((first.trim_end().to_owned(), headers))),
        }
    }
}
