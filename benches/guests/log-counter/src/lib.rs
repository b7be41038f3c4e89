//! Counts log messages by text fields and sums numbers, all of it named by its configuration: one component, many plugins.

use tidemill_guest::analysis::*;

/// What a text column without value counts as.
const NONE: &str = "none";
/// The format of the state: how many messages there were.
const STATE_FORMAT: u32 = 1;

/// The columns it reads and where it adds them up.
#[derive(Debug)]
pub struct LogCounter {
    time: Column<Timestamp, Required>,
    texts: Vec<(Column<Text>, Graph)>,
    numbers: Vec<(Column<Float64>, GraphColumn)>,
    messages: u64,
}

impl Analysis for LogCounter {
    fn open(config: &Config<'_>, read: &mut Subscription, graphs: &mut Graphs) -> Result<Self, Failure> {
        read.matcher(config.text("matcher")?.unwrap_or("TRUE"));
        let time = read.timestamp();
        let texts = config.texts("texts")?;
        let texts = texts.iter().map(|path| (read.column(*path), graphs.graph(title(path), GraphShape::DAY_OF_MINUTES))).collect();
        let paths = config.texts("numbers")?;
        let mut numbers = Vec::new();
        if !paths.is_empty() {
            let sums = graphs.graph("sums", GraphShape::DAY_OF_MINUTES);
            numbers.extend(paths.iter().map(|path| (read.column(*path), graphs.column(sums, path))));
        }
        Ok(Self { time, texts, numbers, messages: 0 })
    }

    fn batch(&mut self, rows: &Rows<'_>, out: &mut Findings<'_>) -> Result<(), Failure> {
        for (column, graph) in &self.texts {
            out.count_rows(rows, self.time, *graph, *column, NONE);
        }
        for (column, sum) in &self.numbers {
            out.add_rows(rows, self.time, *sum, *column);
        }
        self.messages += rows.len() as u64;
        Ok(())
    }
}

/// A field's bare name.
fn title(path: &str) -> &str {
    path.strip_prefix("Fields[").and_then(|rest| rest.strip_suffix(']')).unwrap_or(path)
}

/// So that checkpoints carry a state.
impl State for LogCounter {
    fn snapshot(&self) -> Vec<u8> {
        let mut state = StateWriter::new(STATE_FORMAT);
        state.u64(self.messages);
        state.finish()
    }

    fn restore(&mut self, bytes: &[u8], _: &str) -> Result<(), Failure> {
        self.messages = StateReader::new(bytes, STATE_FORMAT)?.u64()?;
        Ok(())
    }
}

tidemill_guest::export_analysis!(LogCounter, state);
