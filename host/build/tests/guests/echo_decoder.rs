//! Answers with what it read, a field for each column.
use tidemill_guest::decoder::*;

struct Echo {
    int: (Column<Int64>, Field<Int64>),
    float: (Column<Float64>, Field<Float64>),
    flag: (Column<Boolean>, Field<Boolean>),
    text: (Column<Text, Required>, Field<Text>),
    bytes: (Column<Bytes>, Field<Bytes>),
    json: (Column<Json>, Field<Json>),
    other: SectionPlan,
}

impl Decoder for Echo {
    fn open(_: &Config<'_>, read: &mut Subscription, write: &mut Plan) -> Result<Self, Failure> {
        write.sections([Section::own_field("/environment/system"), Section::drop("/log")]);
        Ok(Self {
            int: (read.column("/int"), write.field_with("int", "ms")),
            float: (read.column("/float"), write.field("float")),
            flag: (read.column("/flag"), write.field("flag")),
            text: (read.column("/text"), write.field("text")),
            bytes: (read.column("Fields[bytes]"), write.field("bytes")),
            json: (read.column("/json"), write.field_with("json", "json")),
            other: write.sections([]),
        })
    }

    fn message(&mut self, row: Row<'_>, out: &mut Decoded<'_>) -> Result<(), Reject> {
        out.set_some(self.int.1, row.get(self.int.0));
        out.set_some(self.float.1, row.get(self.float.0));
        out.set_some(self.flag.1, row.get(self.flag.0));
        out.set(self.text.1, row.get(self.text.0));
        out.set_some(self.bytes.1, row.get(self.bytes.0));
        out.set_some(self.json.1, row.get(self.json.0));
        match row.get(self.text.0) {
            "reject" => Err(Reject::new(7, "asked to reject")),
            "other" => {
                out.sections(self.other);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

tidemill_guest::export_decoder!(Echo);
