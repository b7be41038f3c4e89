//! Decodes documents of the namespace `telemetry`: who sent them, from where, and what of them becomes a field of its own.
//!
//! What a document is shows in its members, the first of these that is there: `ver` (an old-style or FirefoxOS ping), `version`
//! (unified telemetry, the main case), `deviceinfo` (FirefoxOS app usage), `v` (mobile), none.

mod crc32;
mod date;
mod normalize;

use tidemill_guest::decoder::*;

/// Sections of the environment that become fields of their own.
const ENVIRONMENT: [&str; 7] = ["addons", "build", "experiments", "partner", "profile", "settings", "system"];

/// Sections of the payload that do, in main and saved-session pings.
const PAYLOAD: [&str; 16] = [
    "addonDetails", "addonHistograms", "childPayloads", "chromeHangs", "fileIOReports", "histograms", "info", "keyedHistograms",
    "lateWrites", "log", "simpleMeasurements", "slowSQL", "slowSQLstartup", "threadHangStats", "UIMeasurements", "gc",
];

/// The columns it reads, the fields it writes.
#[derive(Debug)]
pub struct MozTelemetry {
    read: Read,
    write: Write,
    whole: SectionPlan,
    unified: SectionPlan,
    main: SectionPlan,
}

#[derive(Debug)]
struct Read {
    ver: Column<Json>,
    version: Column<Json>,
    v: Column<Json>,
    doc_type: Column<Text>,
    channel: Column<Text>,
    app_name: Column<Text>,
    country: Column<Text>,
    client_id: Column<Text>,
    old_client_id: Column<Text>,
    creation_date: Column<Text>,
    reason: Column<Text>,
    os: Column<Text>,
    os_version: Column<Text>,
    telemetry_enabled: Column<Boolean>,
    experiment: Column<Text>,
    vendor: Column<Text>,
    mobile_os: Column<Text>,
    old_os: Column<Text>,
    old_reason: Column<Text>,
    old_vendor: Column<Text>,
}

#[derive(Debug)]
struct Write {
    source_name: Field<Text>,
    client_id: Field<Text>,
    sample_id: Field<Int64>,
    channel: Field<Text>,
    app_name: Field<Text>,
    os: Field<Text>,
    country: Field<Text>,
    source_version: Field<Int64>,
    mobile_version: Field<Text>,
    created: Field<Int64>,
    reason: Field<Text>,
    raw_os: Field<Text>,
    os_version: Field<Text>,
    telemetry_enabled: Field<Boolean>,
    experiment: Field<Text>,
    vendor: Field<Text>,
}

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `ver` is there and not 3.
    OldStyle,
    /// `ver` is 3: FirefoxOS, first time use.
    FirefoxOs,
    Unified,
    Mobile,
    Other,
}

impl Read {
    fn new(read: &mut Subscription) -> Self {
        read.matcher("Logger == 'telemetry'");
        Self {
            ver: read.column("/ver"),
            version: read.column("/version"),
            v: read.column("/v"),
            doc_type: read.column("Fields[docType]"),
            channel: read.column("Fields[appUpdateChannel]"),
            app_name: read.column("Fields[appName]"),
            country: read.column("Fields[geoCountry]"),
            client_id: read.column("/clientId"),
            old_client_id: read.column("/clientID"),
            creation_date: read.column("/creationDate"),
            reason: read.column("/payload/info/reason"),
            os: read.column("/environment/system/os/name"),
            os_version: read.column("/environment/system/os/version"),
            telemetry_enabled: read.column("/environment/settings/telemetryEnabled"),
            experiment: read.column("/environment/addons/activeExperiment/id"),
            vendor: read.column("/application/vendor"),
            mobile_os: read.column("/os"),
            old_os: read.column("/info/OS"),
            old_reason: read.column("/info/reason"),
            old_vendor: read.column("/info/vendor"),
        }
    }

    fn form(&self, row: Row<'_>) -> Form {
        let is_there = |column: Column<Json>| row.get(column).is_some_and(|json: &[u8]| json != b"null");
        match row.get(self.ver) {
            Some(b"3") => Form::FirefoxOs,
            Some(json) if json != b"null" => Form::OldStyle,
            _ if is_there(self.version) => Form::Unified,
            _ if is_there(self.v) => Form::Mobile,
            _ => Form::Other,
        }
    }
}

impl Write {
    fn new(write: &mut Plan) -> Self {
        Self {
            source_name: write.field("sourceName"),
            client_id: write.field("clientId"),
            sample_id: write.field("sampleId"),
            channel: write.field("normalizedChannel"),
            app_name: write.field("normalizedAppName"),
            os: write.field("normalizedOs"),
            country: write.field("normalizedCountryCode"),
            source_version: write.field("sourceVersion"),
            mobile_version: write.field("sourceVersion"),
            created: write.field_with("creationTimestamp", "ns"),
            reason: write.field("reason"),
            raw_os: write.field("os"),
            os_version: write.field("normalizedOSVersion"),
            telemetry_enabled: write.field("telemetryEnabled"),
            experiment: write.field("activeExperimentId"),
            vendor: write.field("appVendor"),
        }
    }
}

impl Decoder for MozTelemetry {
    fn open(_: &Config<'_>, read: &mut Subscription, write: &mut Plan) -> Result<Self, Failure> {
        let own = |parent: &'static str, names: &'static [&'static str]| names.iter().map(move |name| Section::own_field(format!("/{parent}/{name}")));
        Ok(Self {
            read: Read::new(read),
            write: Write::new(write),
            whole: write.sections([]),
            unified: write.sections(own("environment", &ENVIRONMENT)),
            main: write.sections(own("environment", &ENVIRONMENT).chain(own("payload", &PAYLOAD))),
        })
    }

    fn message(&mut self, row: Row<'_>, out: &mut Decoded<'_>) -> Result<(), Reject> {
        let form = self.read.form(row);
        self.client(row, form, out);
        self.dimensions(row, form, out);
        match form {
            Form::Unified => self.unified(row, out),
            Form::Mobile => {
                out.sections(self.whole);
                out.set_some(self.write.mobile_version, row.get(self.read.v).map(text_of));
            }
            Form::OldStyle => self.old_style(row, out),
            Form::FirefoxOs | Form::Other => out.sections(self.whole),
        }
        Ok(())
    }
}

impl MozTelemetry {
    fn client(&self, row: Row<'_>, form: Form, out: &mut Decoded<'_>) {
        let Self { read, write, .. } = self;
        let client_id = row.get(if form == Form::OldStyle { read.old_client_id } else { read.client_id });
        out.set(write.source_name, "telemetry");
        out.set_some(write.client_id, client_id);
        out.set_some(write.sample_id, client_id.map(|id| i64::from(crc32::of(id.as_bytes()) % 100)));
    }

    /// The dimensions of every branch; what cannot be known is `Other`.
    fn dimensions(&self, row: Row<'_>, form: Form, out: &mut Decoded<'_>) {
        let Self { read, write, .. } = self;
        out.set(write.channel, normalize::channel(row.get(read.channel).unwrap_or_default()));
        out.set(write.app_name, normalize::app_name(row.get(read.app_name).unwrap_or_default()));
        out.set(write.country, normalize::country(row.get(read.country).unwrap_or_default()));
        let os = match form {
            Form::Mobile => normalize::mobile_os(row.get(read.mobile_os).unwrap_or_default()),
            Form::OldStyle => normalize::os(row.get(read.old_os).unwrap_or_default()),
            _ => normalize::os(row.get(read.os).unwrap_or_default()),
        };
        out.set(write.os, os);
    }

    fn unified(&self, row: Row<'_>, out: &mut Decoded<'_>) {
        let Self { read, write, .. } = self;
        let is_main = matches!(row.get(read.doc_type), Some("main" | "saved-session"));
        out.sections(if is_main { self.main } else { self.unified });
        out.set_some(write.source_version, row.get(read.version).and_then(|json| text_of(json).parse().ok()));
        out.set_some(write.created, row.get(read.creation_date).and_then(date::parse_ns));
        out.set_some(write.reason, row.get(read.reason));
        out.set_some(write.raw_os, row.get(read.os));
        out.set_some(write.os_version, row.get(read.os_version).and_then(normalize::os_version));
        out.set_some(write.telemetry_enabled, row.get(read.telemetry_enabled));
        out.set_some(write.experiment, row.get(read.experiment));
        out.set_some(write.vendor, row.get(read.vendor));
    }

    fn old_style(&self, row: Row<'_>, out: &mut Decoded<'_>) {
        let Self { read, write, .. } = self;
        out.sections(self.whole);
        out.set_some(write.reason, row.get(read.old_reason));
        out.set_some(write.raw_os, row.get(read.old_os));
        out.set_some(write.vendor, row.get(read.old_vendor));
        out.set(write.telemetry_enabled, true);
    }
}

/// A JSON number or a text without its quotes.
fn text_of(json: &[u8]) -> &str {
    std::str::from_utf8(json).unwrap_or_default().trim_matches('"')
}

tidemill_guest::export_decoder!(MozTelemetry);

#[cfg(test)]
mod tests;
