//! Appends 1 KB records to the embedded log from several threads and writes the same bytes in the same groups with `pwrite` and
//! `fdatasync` alone: prints both rates and their ratio. `cargo run -p tidemill-bus --example append [FOLDER] [RECORDS]`.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};
use tidemill_bus::{
    Bus, BusError, Compression, File as BusFile, Files, RecordBuf, SystemClock, SystemFiles, TopicSpec,
    embedded::{EmbeddedBus, EmbeddedOptions},
};

const RECORD_BYTES: usize = 1000;
const PUBLISHERS: usize = 4;
/// What a publisher sends before it waits for the acks.
const WINDOW: usize = 64;
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| "target/bench-append".to_owned()));
    let records: usize = arguments.next().map_or(Ok(50_000), |text| text.parse())?;
    let (mut log, mut disk) = (f64::INFINITY, f64::INFINITY);
    for round in 0..ROUNDS {
        let groups = Groups::default();
        let folder = folder.join(round.to_string());
        log = log.min(append(&folder, records, &groups)?.as_secs_f64());
        let sizes = groups.0.lock().map(|sizes| sizes.clone()).unwrap_or_default();
        disk = disk.min(write(&folder.join("raw"), &sizes)?.as_secs_f64());
        println!("round {round}: {} groups, {} bytes", sizes.len(), sizes.iter().sum::<usize>());
        std::fs::remove_dir_all(&folder)?;
    }
    let rate = |seconds: f64| records as f64 / seconds;
    println!("bus/embedded-append {:.0} records/s, disk {:.0} records/s, ratio {:.2}", rate(log), rate(disk), disk / log);
    Ok(())
}

/// The time of publishing from all threads until every record is acknowledged.
fn append(folder: &Path, records: usize, groups: &Groups) -> Result<Duration, BusError> {
    let files = Recording { files: SystemFiles, groups: groups.clone() };
    let bus = EmbeddedBus::open_with(EmbeddedOptions::new(folder), Arc::new(files), Arc::new(SystemClock::default()))?;
    let topic = TopicSpec { name: "raw".into(), partitions: PUBLISHERS as u32, compacted: false, compression: Compression::None };
    bus.ensure_topics(&[topic])?;
    groups.0.lock().map(|mut sizes| sizes.clear()).unwrap_or_default();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for partition in 0..PUBLISHERS {
            let bus = &bus;
            scope.spawn(move || publish(bus, partition as u32, records / PUBLISHERS));
        }
    });
    Ok(begin.elapsed())
}

fn publish(bus: &EmbeddedBus, partition: u32, records: usize) {
    let value = vec![b'x'; RECORD_BYTES - 36];
    let (acked, acks) = mpsc::channel();
    for n in 0..records {
        if n >= WINDOW && acks.recv() != Ok(true) {
            eprintln!("a record was refused");
            return;
        }
        let mut record = RecordBuf::default();
        record.push(n as i64, b"0123456789abcdef", &[("tm-v", b"1")], &value);
        let acked = acked.clone();
        bus.publish("raw", partition, record, Box::new(move |result| acked.send(result.is_ok()).unwrap_or_default()));
    }
    drop(acked);
    while acks.recv().is_ok() {}
}

/// The same bytes in the same groups, without a log.
fn write(path: &Path, sizes: &[usize]) -> io::Result<Duration> {
    let file = File::create(path)?;
    let bytes = vec![b'x'; sizes.iter().copied().max().unwrap_or(0)];
    let (begin, mut offset) = (Instant::now(), 0);
    for &size in sizes {
        FileExt::write_all_at(&file, &bytes[..size], offset)?;
        file.sync_data()?;
        offset += size as u64;
    }
    Ok(begin.elapsed())
}

/// The sizes of what was written, one a group.
#[derive(Clone, Debug, Default)]
struct Groups(Arc<Mutex<Vec<usize>>>);

/// The system's files, with the sizes of all writes noted.
#[derive(Debug)]
struct Recording {
    files: SystemFiles,
    groups: Groups,
}

#[derive(Debug)]
struct RecordingFile {
    file: Box<dyn BusFile>,
    groups: Groups,
}

impl Files for Recording {
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn BusFile>> {
        let file = self.files.open(path, create)?;
        Ok(Box::new(RecordingFile { file, groups: self.groups.clone() }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.files.create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.files.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.files.sync_dir(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.files.free_bytes(path)
    }
}

impl BusFile for RecordingFile {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.groups.0.lock().map(|mut sizes| sizes.push(bytes.len())).unwrap_or_default();
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
