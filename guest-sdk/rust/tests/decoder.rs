//! What a decoder answers: fields of every kind, section plans, rejections.

use tidemill_guest::decoder::*;
use tidemill_guest::testing::{Cell, DecodedRow, Decoder as Under, Row as Ping, assert_decoder_invariant};

struct Everything {
    name: Column<Text, Required>,
    number: Column<Int64>,
    text: Field<Text>,
    int: Field<Int64>,
    float: Field<Float64>,
    flag: Field<Boolean>,
    bytes: Field<Bytes>,
    json: Field<Json>,
    mobile: SectionPlan,
}

impl Decoder for Everything {
    fn open(_: &Config<'_>, read: &mut Subscription, write: &mut Plan) -> Result<Self, Failure> {
        write.sections([Section::own_field("/environment/system"), Section::drop("/log")]);
        Ok(Self {
            name: read.column("/name"),
            number: read.column("/number"),
            text: write.field("text"),
            int: write.field_with("int", "ms"),
            float: write.field("float"),
            flag: write.field("flag"),
            bytes: write.field("bytes"),
            json: write.field_with("json", "json"),
            mobile: write.sections([]),
        })
    }

    fn message(&mut self, row: Row<'_>, out: &mut Decoded<'_>) -> Result<(), Reject> {
        let name = row.get(self.name);
        out.set(self.text, "overwritten");
        out.set(self.text, name);
        out.set_some(self.int, row.get(self.number));
        if name == "bad" {
            return Err(Reject::new(3, "bad name"));
        }
        if name == "full" {
            out.sections(self.mobile);
            out.set(self.float, -0.5);
            out.set(self.flag, true);
            out.set(self.bytes, &[0, 255]);
            out.set(self.json, b"{}");
        }
        Ok(())
    }
}

tidemill_guest::export_decoder!(Everything);

fn rows() -> Vec<Ping> {
    let documents = [
        r#"{"name": "full", "number": 9007199254740993}"#,
        r#"{"name": ""}"#,
        r#"{"name": "bad", "number": 1}"#,
        r#"{"name": null}"#,
        r#"{"name": "é", "number": 1.5}"#,
    ];
    documents.iter().cycle().take(17).map(|document| Ping::document(document)).collect()
}

#[test]
fn every_kind_of_field_comes_back() {
    let decoded = assert_decoder_invariant::<Everything>("", &rows());
    let full = [
        ("text", Cell::from("full")),
        ("int", Cell::Int(9_007_199_254_740_993)),
        ("float", Cell::Float(-0.5)),
        ("flag", Cell::Bool(true)),
        ("bytes", Cell::Bytes(vec![0, 255])),
        ("json", Cell::Bytes(b"{}".to_vec())),
    ];
    let full = full.map(|(name, cell)| (name.to_string(), cell));
    assert_eq!(decoded[0], DecodedRow::Accepted { fields: full.into(), plan: 1 });
    let only_text = |text: &str| DecodedRow::Accepted { fields: [("text".to_string(), Cell::from(text))].into(), plan: 0 };
    assert_eq!(decoded[1], only_text(""));
    assert_eq!(decoded[2], DecodedRow::Rejected(Reject::new(3, "bad name")));
    assert_eq!(decoded[3].rejection(), Some("required column `/name` is null"));
    assert_eq!(decoded[4], only_text("é"));
    assert_eq!(decoded[9], decoded[4], "what one row set does not leak into another");
}

#[test]
fn section_plans_are_declared_in_order() {
    let decoder = Under::<Everything>::open("").unwrap();
    assert_eq!(decoder.sections(0), ["own-field /environment/system", "drop /log"]);
    assert!(decoder.sections(1).is_empty());
}
