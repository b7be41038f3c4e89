//! Which table a record belongs to.

use crate::columns::of_schema;
use crate::layout::LEADING_COLUMNS;
use crate::names::folder;
use crate::table::Shape;
use std::collections::HashMap;
use std::sync::Arc;
use tidemill_bus::RecordRef;
use tidemill_message::MessageRef;
use tidemill_schema::Registry;

/// The path of the errors table.
pub(crate) const ERRORS_TABLE: &str = "errors";
const SCHEMA_HEADER: &str = "tm-schema";

/// Finds tables by the records' schemas.
pub(crate) struct Routes {
    registry: Arc<Registry>,
    by_header: HashMap<Box<[u8]>, Arc<str>>,
}

struct SchemaName<'a> {
    namespace: &'a str,
    doctype: &'a str,
    version: u32,
}

impl<'a> SchemaName<'a> {
    /// Reads `namespace/doctype/version#hash`.
    fn parse(header: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(header).ok()?;
        let name = text.split_once('#').map_or(text, |(name, _)| name);
        let mut parts = name.rsplitn(3, '/');
        let (version, doctype, namespace) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
        Some(Self { namespace, doctype, version })
    }

    fn of_message(message: &MessageRef<'a>) -> Self {
        let text = |bytes: Option<&'a [u8]>| bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("unknown");
        let version = message.field("docVersion").and_then(|field| field.integer()).unwrap_or(0);
        let doctype = text(message.field("docType").and_then(|field| field.bytes()));
        Self { namespace: text(message.logger()), doctype, version: u32::try_from(version).unwrap_or(0) }
    }

    fn table(&self) -> Arc<str> {
        format!("{}/{}_v{}", folder(self.namespace), folder(self.doctype), self.version).into()
    }
}

impl Routes {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self { registry, by_header: HashMap::new() }
    }

    /// The table of a record of `validated`. One whose schema is not stated is found by what the message says.
    pub(crate) fn table(&mut self, record: &RecordRef<'_>, message: &MessageRef<'_>) -> Arc<str> {
        let header = record.header(SCHEMA_HEADER).unwrap_or_default();
        if let Some(found) = self.by_header.get(header) {
            return Arc::clone(found);
        }
        match SchemaName::parse(header) {
            Some(name) => {
                let table = name.table();
                self.by_header.insert(header.into(), Arc::clone(&table));
                table
            }
            None => SchemaName::of_message(message).table(),
        }
    }

    /// The columns of its table. Where the schema is not loaded (any more), everything is kept in `additional_properties`.
    pub(crate) fn shape(&self, record: &RecordRef<'_>) -> Shape {
        let name = record.header(SCHEMA_HEADER).and_then(SchemaName::parse);
        let schema = name.and_then(|name| self.registry.find(name.namespace, name.doctype, name.version));
        Shape::Documents(schema.map_or_else(Vec::new, |schema| of_schema(&schema.source, &LEADING_COLUMNS)))
    }
}
