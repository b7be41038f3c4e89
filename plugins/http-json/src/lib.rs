//! Sends messages as JSON lines to an HTTP endpoint.

use tidemill_guest::output::*;

/// A body is sent when it is this large, so that a receiver with a limit of 1 MiB is content.
const BODY_BYTES_MAX: u32 = 512 << 10;

/// The columns it reads, and where it sends.
#[derive(Debug)]
pub struct HttpJson {
    time: Column<Timestamp, Required>,
    kind: Column<Text>,
    logger: Column<Text>,
    payload: Column<Text>,
    fields: Vec<(String, Column<Text>)>,
    columns: Vec<(String, Column<Json>)>,
    target: Target,
    body_bytes_max: usize,
}

impl Output for HttpJson {
    fn open(config: &Config<'_>, read: &mut Subscription) -> Result<Self, Failure> {
        read.matcher(config.text("matcher")?.unwrap_or("Type == 'validated'"));
        let fields = config.texts("fields")?;
        let fields = if fields.is_empty() { vec!["documentId", "docType", "normalizedChannel", "geoCountry"] } else { fields };
        let field = |name: &&str, read: &mut Subscription| ((*name).to_owned(), read.column(format!("Fields[{name}]")));
        let fields = fields.iter().map(|name| field(name, read)).collect();
        let pointers = config.texts("columns")?;
        Ok(Self {
            time: read.timestamp(),
            kind: read.column("Type"),
            logger: read.column("Logger"),
            payload: read.column("Payload"),
            fields,
            columns: pointers.iter().map(|pointer| ((*pointer).to_owned(), read.column(*pointer))).collect(),
            target: Target::post(config.required_text("url")?).header("Content-Type", "application/x-ndjson"),
            body_bytes_max: config.u32("body_bytes_max")?.unwrap_or(BODY_BYTES_MAX) as usize,
        })
    }

    fn message(&mut self, row: Row<'_>, out: &mut Deliveries) -> Result<(), Failure> {
        let body = out.to(&self.target);
        self.write(row, body);
        if body.len() >= self.body_bytes_max {
            out.close(&self.target);
        }
        Ok(())
    }
}

impl HttpJson {
    fn write(&self, row: Row<'_>, body: &mut Vec<u8>) {
        let mut line = Object::new(body);
        line.int("timestamp", row.get(self.time).ns());
        for (name, value) in [("type", row.get(self.kind)), ("logger", row.get(self.logger)), ("payload", row.get(self.payload))] {
            if let Some(text) = value {
                line.text(name, text);
            }
        }
        for (name, column) in &self.fields {
            if let Some(text) = row.get(*column) {
                line.text(name, text);
            }
        }
        for (pointer, column) in &self.columns {
            if let Some(json) = row.get(*column) {
                line.raw(pointer, &one_line(json));
            }
        }
        drop(line);
        body.push(b'\n');
    }
}

/// JSON as it was sent may have line ends between its tokens; within its texts they are escaped.
fn one_line(json: &[u8]) -> Vec<u8> {
    json.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect()
}

tidemill_guest::export_output!(HttpJson);

#[cfg(test)]
mod tests;
