//! Counts messages per channel and minute, and raises an alert when a channel falls silent.

use tidemill_guest::analysis::*;

/// The columns it reads and the graph it fills.
#[derive(Debug)]
pub struct CountByChannel {
    time: Column<Timestamp, Required>,
    channel: Column<Text>,
    volume: Graph,
}

impl Analysis for CountByChannel {
    fn open(config: &Config<'_>, read: &mut Subscription, graphs: &mut Graphs) -> Result<Self, Failure> {
        let silent_minutes = config.u32("silent_minutes")?.unwrap_or(10);
        let volume = graphs.graph("messages by channel", GraphShape::DAY_OF_MINUTES);
        graphs.watch(volume, "silent", Rule::inactive(silent_minutes));
        read.matcher("Type == 'validated'");
        Ok(Self { time: read.timestamp(), channel: read.column("Fields[normalizedChannel]"), volume })
    }

    fn message(&mut self, row: Row<'_>, out: &mut Findings<'_>) -> Result<(), Failure> {
        let channel = row.get(self.channel).unwrap_or("none");
        out.graph(self.volume).add(row.get(self.time).seconds(), channel, 1.0);
        Ok(())
    }
}

tidemill_guest::export_analysis!(CountByChannel);
