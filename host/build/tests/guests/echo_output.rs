//! Sends each row to the target that its text names.
use tidemill_guest::output::*;

struct Echo {
    text: Column<Text>,
    url: String,
}

impl Output for Echo {
    fn open(config: &Config<'_>, read: &mut Subscription) -> Result<Self, Failure> {
        Ok(Self { text: read.column("/text"), url: config.required_text("url")?.into() })
    }

    fn message(&mut self, row: Row<'_>, out: &mut Deliveries) -> Result<(), Failure> {
        let target = match row.get(self.text) {
            Some("http") => Target::post(&*self.url).header("Content-Type", "text/plain"),
            Some("object") => Target::Object("a/b".into()),
            Some("append") => Target::Append("log".into()),
            Some("bus") => Target::Bus { topic: "own".into(), key: vec![0, 255] },
            _ => return Ok(()),
        };
        out.to(&target).push(b'0' + row.index() as u8);
        Ok(())
    }
}

tidemill_guest::export_output!(Echo);
