//! The crash-loop fence: a message that kills the process (a stack overflow, an abort in a library) must not do so for ever.
//!
//! Before a worker decodes a range of `raw`, it notes it in a scratch file of its own. At the next start, a range that is still
//! noted was the death of the process. A range that overlaps one under which the process died twice is run message by message, and
//! a message in which it then dies alone, twice, goes to `errors` without being looked at again.
//!
//! The files are small texts that begin with their format and version. They survive the death of the process, which is all they
//! are for: they are not synced, and losing them costs a few more deaths.

use parking_lot::Mutex;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tidemill_bus::{File, Files};

const NOTE_MAGIC: &str = "tidemill-fence 1";
const SUSPECTS_MAGIC: &str = "tidemill-suspects 1";
const SUSPECTS_FILE: &str = "suspects";
/// A note is padded to this length, so that a shorter one covers a longer one.
const NOTE_BYTES: usize = 160;
/// After so many deaths a range is run message by message.
const DEATHS_MAX: u32 = 2;
/// After so many more deaths in the same single message it is refused; one may be the operator's `kill -9`.
const DEATHS_ALONE_MAX: u32 = 2;

/// Offsets of one partition of one creation of the source topic, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRange {
    /// Which creation of the topic.
    pub incarnation: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// The first offset.
    pub first: i64,
    /// The last offset.
    pub last: i64,
}

impl SourceRange {
    fn overlaps(&self, other: &Self) -> bool {
        self.incarnation == other.incarnation && self.partition == other.partition && self.first <= other.last && other.first <= self.last
    }

    fn write(&self, deaths: u32) -> String {
        format!("{} {} {} {} {deaths}", self.incarnation, self.partition, self.first, self.last)
    }

    fn read(text: &str) -> Option<(Self, u32)> {
        let mut words = text.split_ascii_whitespace();
        let incarnation = words.next()?.into();
        let partition = words.next()?.parse().ok()?;
        let first = words.next()?.parse().ok()?;
        let last = words.next()?.parse().ok()?;
        Some((Self { incarnation, partition, first, last }, words.next()?.parse().ok()?))
    }
}

/// How a range is to be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// As any other.
    None,
    /// Message by message, each noted before.
    OneByOne,
    /// Not at all: this one message killed the process.
    Refuse,
}

#[derive(Clone, Debug)]
struct Suspect {
    range: SourceRange,
    deaths: u32,
}

/// The folder of notes of one process.
#[derive(Debug)]
pub struct Fence {
    files: Arc<dyn Files>,
    folder: PathBuf,
    suspects: Mutex<Vec<Suspect>>,
}

/// The note of one worker.
#[derive(Debug)]
pub struct Note {
    file: Box<dyn File>,
}

impl Fence {
    /// Opens the folder, makes it where it is missing, and learns what the last process died of.
    ///
    /// # Errors
    /// As the file system says.
    pub fn open(files: Arc<dyn Files>, folder: &Path) -> io::Result<Self> {
        files.create_dir_all(folder)?;
        let mut suspects = read_suspects(&*files, &folder.join(SUSPECTS_FILE))?;
        for path in files.list(folder)? {
            if path.extension().is_some_and(|extension| extension == "note") {
                let text = read_text(&*files, &path)?;
                if let Some((range, _)) = text.strip_prefix(NOTE_MAGIC).and_then(SourceRange::read) {
                    tracing::warn!(?range, "the process died while it decoded these messages");
                    accuse(&mut suspects, range);
                }
                files.remove(&path)?;
            }
        }
        let fence = Self { files, folder: folder.to_owned(), suspects: Mutex::new(suspects) };
        fence.save(&fence.suspects.lock())?;
        Ok(fence)
    }

    /// Makes the note of a worker.
    ///
    /// # Errors
    /// As the file system says.
    pub fn note(&self, worker: u32) -> io::Result<Note> {
        let file = self.files.open(&self.folder.join(format!("decode-{worker}.note")), true)?;
        let note = Note { file };
        note.clear()?;
        Ok(note)
    }

    /// How to decode this range.
    pub fn care(&self, range: &SourceRange) -> Care {
        let suspects = self.suspects.lock();
        let deaths = |suspect: &&Suspect| suspect.deaths >= DEATHS_MAX && suspect.range.overlaps(range);
        let is_killer =
            |suspect: &Suspect| suspect.range == *range && suspect.deaths >= DEATHS_MAX + DEATHS_ALONE_MAX && range.first == range.last;
        match suspects.iter().find(deaths) {
            Some(_) if suspects.iter().any(is_killer) => Care::Refuse,
            Some(_) => Care::OneByOne,
            None => Care::None,
        }
    }

    /// Forgets what lies before a committed position.
    ///
    /// # Errors
    /// As the file system says.
    pub fn committed(&self, incarnation: &str, partition: u32, position: i64) -> io::Result<()> {
        let mut suspects = self.suspects.lock();
        let before = suspects.len();
        suspects
            .retain(|Suspect { range, .. }| &*range.incarnation != incarnation || range.partition != partition || range.last >= position);
        if suspects.len() == before { Ok(()) } else { self.save(&suspects) }
    }

    fn save(&self, suspects: &[Suspect]) -> io::Result<()> {
        let path = self.folder.join(SUSPECTS_FILE);
        let mut text = SUSPECTS_MAGIC.to_owned();
        for suspect in suspects {
            text.push('\n');
            text.push_str(&suspect.range.write(suspect.deaths));
        }
        let file = self.files.open(&path, true)?;
        file.set_len(0)?;
        file.write_all_at(text.as_bytes(), 0)
    }
}

impl Note {
    /// Notes what is decoded next.
    ///
    /// # Errors
    /// As the file system says.
    pub fn set(&self, range: &SourceRange) -> io::Result<()> {
        self.write(&range.write(0))
    }

    /// Notes that nothing is being decoded.
    ///
    /// # Errors
    /// As the file system says.
    pub fn clear(&self) -> io::Result<()> {
        self.write("idle")
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let line = format!("{NOTE_MAGIC} {text}");
        self.file.write_all_at(format!("{line:<NOTE_BYTES$}").as_bytes(), 0)
    }
}

/// A range that overlaps an old suspect takes its place: what the old one had beyond it was decoded since.
fn accuse(suspects: &mut Vec<Suspect>, range: SourceRange) {
    let deaths = suspects.iter().filter(|suspect| suspect.range.overlaps(&range)).map(|suspect| suspect.deaths).max();
    suspects.retain(|suspect| !suspect.range.overlaps(&range));
    suspects.push(Suspect { range, deaths: deaths.unwrap_or(0) + 1 });
}

fn read_suspects(files: &dyn Files, path: &Path) -> io::Result<Vec<Suspect>> {
    let text = match read_text(files, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let lines = text.strip_prefix(SUSPECTS_MAGIC).unwrap_or_default().lines();
    Ok(lines.filter_map(SourceRange::read).map(|(range, deaths)| Suspect { range, deaths }).collect())
}

fn read_text(files: &dyn Files, path: &Path) -> io::Result<String> {
    let file = files.open(path, false)?;
    let mut bytes = vec![0; file.len()? as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_bus::SystemFiles;

    fn range(first: i64, last: i64) -> SourceRange {
        SourceRange { incarnation: "abc".into(), partition: 2, first, last }
    }

    /// Opens the fence as the next process does, decodes `ranges`, and dies in the last.
    fn die_in(folder: &Path, ranges: &[SourceRange]) -> Vec<Care> {
        let fence = Fence::open(Arc::new(SystemFiles), folder).expect("opens");
        let note = fence.note(0).expect("a note");
        let cares = ranges.iter().map(|range| fence.care(range)).collect();
        ranges.iter().for_each(|range| note.set(range).expect("noted"));
        cares
    }

    #[test]
    fn a_killer_is_found_and_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(die_in(folder.path(), &[range(100, 200)]), [Care::None]);
        assert_eq!(die_in(folder.path(), &[range(90, 149), range(150, 250)]), [Care::None, Care::None], "one death is an accident");
        assert_eq!(die_in(folder.path(), &[range(140, 180), range(155, 155), range(156, 156)]), [Care::OneByOne; 2 + 1]);
        assert_eq!(die_in(folder.path(), &[range(140, 180), range(156, 156)]), [Care::OneByOne; 2], "it may have been killed");
        let fence = Fence::open(Arc::new(SystemFiles), folder.path()).expect("opens");
        assert_eq!(fence.care(&range(156, 156)), Care::Refuse);
        let elsewhere = SourceRange { partition: 3, ..range(156, 156) };
        assert_eq!(fence.care(&elsewhere), Care::None);
        let anew = SourceRange { incarnation: "def".into(), ..range(156, 156) };
        assert_eq!(fence.care(&anew), Care::None, "another creation of the topic");
    }

    #[test]
    fn what_is_committed_is_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        for _ in 0..4 {
            die_in(folder.path(), &[range(7, 7)]);
        }
        let open = || Fence::open(Arc::new(SystemFiles), folder.path()).expect("opens");
        let fence = open();
        fence.committed("abc", 2, 7).expect("saved");
        assert_eq!(fence.care(&range(7, 7)), Care::Refuse);
        fence.committed("abc", 2, 8).expect("saved");
        assert_eq!(fence.care(&range(7, 7)), Care::None);
        assert_eq!(open().care(&range(7, 7)), Care::None);
    }

    #[test]
    fn an_orderly_end_accuses_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        for _ in 0..4 {
            let fence = Fence::open(Arc::new(SystemFiles), folder.path()).expect("opens");
            let note = fence.note(0).expect("a note");
            note.set(&range(1, 5)).expect("noted");
            note.clear().expect("cleared");
            assert_eq!(fence.care(&range(1, 5)), Care::None);
        }
    }
}
