//! Says what it read, row by row, in messages; does one of everything that an analysis plugin may do.
use tidemill_guest::analysis::*;

struct Echo {
    time: Column<Timestamp, Required>,
    int: Column<Int64>,
    float: Column<Float64>,
    flag: Column<Boolean>,
    text: Column<Text>,
    bytes: Column<Bytes>,
    json: Column<Json>,
    ints: Column<Int64, Many>,
    texts: Column<Text, Many>,
    counts: Column<Int64, Entries>,
    names: Column<Text, Entries>,
    flags: Column<Boolean, Entries>,
    graph: Graph,
    seen: u64,
}

impl Analysis for Echo {
    fn open(config: &Config<'_>, read: &mut Subscription, graphs: &mut Graphs) -> Result<Self, Failure> {
        read.matcher("Type == 'validated'").tick_ms(1000);
        let graph = graphs.graph("rows", GraphShape::new(60, 60).aggregation(Aggregation::Max));
        graphs.watch(graph, "silent", Rule::inactive(config.u32("window")?.unwrap_or(5)));
        Ok(Self {
            time: read.timestamp(),
            int: read.column("/int"),
            float: read.column("/float"),
            flag: read.column("/flag"),
            text: read.column("/text"),
            bytes: read.column("Fields[bytes]"),
            json: read.column(""),
            ints: read.column("/ints"),
            texts: read.column("/texts/*/name"),
            counts: read.column("/counts"),
            names: read.column("/names"),
            flags: read.column("/flags"),
            graph,
            seen: 0,
        })
    }

    fn message(&mut self, row: Row<'_>, out: &mut Findings<'_>) -> Result<(), Failure> {
        self.seen += 1;
        if row.get(self.text) == Some("panic") {
            log(Level::Info, "about to panic");
            panic!("asked to panic at row {}", row.index());
        }
        if row.get(self.text) == Some("fail") {
            return Err(Failure::new("asked to fail").code(9));
        }
        metric_add("rows", 1.0);
        let said = format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            row.get(self.time).ns(),
            row.get(self.int),
            row.get(self.float),
            row.get(self.flag),
            row.get(self.text),
            row.get(self.bytes),
            row.get(self.json).map(String::from_utf8_lossy),
            row.get(self.ints).collect::<Vec<_>>(),
            row.get(self.texts).collect::<Vec<_>>(),
            row.get(self.counts).histogram().collect::<Vec<_>>(),
            row.get(self.names).collect::<Vec<_>>(),
            row.get(self.flags).collect::<Vec<_>>(),
        );
        out.message_with_key("key", Message::new("echo", row.get(self.time)).text("said", &said));
        let column = row.get(self.text).unwrap_or("none");
        out.graph(self.graph).add(row.get(self.time).seconds(), column, self.seen as f64);
        out.alert("seen", "a row", said, 60);
        out.payload("last", "text/plain", column.into());
        Ok(())
    }
}

impl Timers for Echo {
    fn tick(&mut self, now: Time, out: &mut Findings<'_>) -> Result<(), Failure> {
        out.message(&Message::new("tick", now));
        Ok(())
    }
}

impl State for Echo {
    fn snapshot(&self) -> Vec<u8> {
        let mut writer = StateWriter::new(1);
        writer.u64(self.seen);
        writer.finish()
    }

    fn restore(&mut self, bytes: &[u8], from_version: &str) -> Result<(), Failure> {
        log(Level::Info, from_version);
        self.seen = StateReader::new(bytes, 1)?.u64()?;
        Ok(())
    }
}

tidemill_guest::export_analysis!(Echo, state, timers);
