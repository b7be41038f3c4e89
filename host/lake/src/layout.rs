//! The columns of a table: those every table has, those of its documents, and how a table that exists takes up new ones.
//!
//! A column remembers in the table's schema which property it came from (`tidemill.property`), so that it keeps its name and its
//! type whatever is added beside it later. Columns are only ever added.

use crate::columns::{Column, ColumnType};
use crate::names::snake;
use arrow_schema::{DataType as ArrowType, Field, Fields, Schema, SchemaRef, TimeUnit};
use deltalake_core::kernel::{ArrayType, DataType, MapType, MetadataValue, PrimitiveType, StructField, StructType};
use std::{collections::HashSet, sync::Arc};

/// The column that tables are partitioned by: the day of `submission_timestamp`.
pub const PARTITION_COLUMN: &str = "submission_date";
/// The column of what no other column holds.
pub const ADDITIONAL_COLUMN: &str = "additional_properties";
/// The columns that every document table has.
pub const LEADING_COLUMNS: [&str; 12] = [
    "document_id",
    "submission_timestamp",
    PARTITION_COLUMN,
    "namespace",
    "doc_type",
    "normalized_channel",
    "normalized_app_name",
    "normalized_os",
    "normalized_country_code",
    "sample_id",
    "metadata",
    ADDITIONAL_COLUMN,
];
/// The parts of the column `metadata` and their texts.
pub(crate) const METADATA: [(&str, &[&str]); 3] = [
    ("geo", &["country", "city", "subdivision1", "subdivision2"]),
    ("header", &["date", "dnt", "host", "x_pingsender_version"]),
    ("uri", &["app_build_id", "app_name", "app_update_channel", "app_version", "uri"]),
];
/// The texts of the errors table between `submission_date` and `payload`.
pub(crate) const ERROR_TEXTS: [&str; 7] = ["namespace", "doc_type", "error_type", "error_message", "error_detail", "source", "plugin"];

const PROPERTY: &str = "tidemill.property";
const JSON: &str = "tidemill.json";

/// The columns of a table as its files are written now.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The documents' own columns.
    pub columns: Vec<Column>,
    /// The schema of the files: without the partition column.
    pub arrow: SchemaRef,
    /// The schema of the table: what it has already and the columns of this layout.
    pub(crate) delta: StructType,
    /// Whether the table's schema lacks something of this.
    pub(crate) adds_columns: bool,
}

/// A table's schema that cannot be: two columns of one name, which `unique` names rule out.
type SchemaResult<T> = Result<T, deltalake_core::DeltaTableError>;

impl Layout {
    /// The layout of documents with these columns in a new table or in one of the schema `existing`.
    ///
    /// # Errors
    /// Where the columns make no schema.
    pub fn documents(wanted: &[Column], existing: Option<&StructType>) -> SchemaResult<Self> {
        let empty = StructType::try_new([])?;
        let columns = align(wanted, existing.unwrap_or(&empty), &LEADING_COLUMNS);
        let mut fields = leading_fields()?;
        let additional = fields.pop();
        fields.extend(columns.iter().map(delta_field).collect::<SchemaResult<Vec<_>>>()?);
        fields.extend(additional);
        Self::new(columns, fields, existing)
    }

    /// The layout of the errors table.
    ///
    /// # Errors
    /// Where the columns make no schema.
    pub fn errors(existing: Option<&StructType>) -> SchemaResult<Self> {
        let mut fields = identity_fields();
        fields.extend(ERROR_TEXTS.map(|name| StructField::nullable(name, DataType::STRING)));
        fields.push(StructField::nullable("payload", DataType::BINARY));
        Self::new(Vec::new(), fields, existing)
    }

    fn new(columns: Vec<Column>, fields: Vec<StructField>, existing: Option<&StructType>) -> SchemaResult<Self> {
        let own: Vec<Field> = fields.iter().filter(|field| field.name() != PARTITION_COLUMN).map(arrow_field).collect();
        let (delta, adds_columns) = match existing {
            Some(existing) => merge(existing, &StructType::try_new(fields)?)?,
            None => (StructType::try_new(fields)?, false),
        };
        Ok(Self { columns, arrow: Arc::new(Schema::new(own)), delta, adds_columns })
    }

    /// How many values a row has at the leaves.
    pub fn leaves(&self) -> usize {
        fn count(data_type: &ArrowType) -> usize {
            match data_type {
                ArrowType::Struct(fields) => fields.iter().map(|field| count(field.data_type())).sum(),
                ArrowType::List(field) | ArrowType::Map(field, _) => count(field.data_type()),
                _ => 1,
            }
        }
        self.arrow.fields().iter().map(|field| count(field.data_type())).sum()
    }
}

/// The schema of files that have every column of a table but the partition column.
pub(crate) fn arrow_of_table(schema: &StructType) -> SchemaRef {
    let fields: Vec<Field> = schema.fields().filter(|field| field.name() != PARTITION_COLUMN).map(arrow_field).collect();
    Arc::new(Schema::new(fields))
}

fn identity_fields() -> Vec<StructField> {
    vec![
        StructField::nullable("document_id", DataType::STRING),
        StructField::nullable("submission_timestamp", DataType::TIMESTAMP),
        StructField::nullable(PARTITION_COLUMN, DataType::DATE),
    ]
}

fn leading_fields() -> SchemaResult<Vec<StructField>> {
    let text = |name: &str| StructField::nullable(name, DataType::STRING);
    let mut fields = identity_fields();
    fields.extend(["namespace", "doc_type"].map(text));
    fields.extend(["normalized_channel", "normalized_app_name", "normalized_os", "normalized_country_code"].map(text));
    fields.push(StructField::nullable("sample_id", DataType::INTEGER));
    let parts =
        METADATA.iter().map(|(part, names)| Ok(StructField::nullable(*part, StructType::try_new(names.iter().map(|name| text(name)))?)));
    fields.push(StructField::nullable("metadata", StructType::try_new(parts.collect::<SchemaResult<Vec<_>>>()?)?));
    fields.push(text(ADDITIONAL_COLUMN));
    Ok(fields)
}

fn delta_field(column: &Column) -> SchemaResult<StructField> {
    let mut metadata = vec![(PROPERTY, MetadataValue::from(column.key.as_str()))];
    if column.kind == ColumnType::Json {
        metadata.push((JSON, MetadataValue::from(true)));
    }
    Ok(StructField::nullable(column.name.as_str(), delta_type(&column.kind)?).with_metadata(metadata))
}

fn delta_type(kind: &ColumnType) -> SchemaResult<DataType> {
    Ok(match kind {
        ColumnType::Boolean => DataType::BOOLEAN,
        ColumnType::Long => DataType::LONG,
        ColumnType::Double => DataType::DOUBLE,
        ColumnType::Text | ColumnType::Json => DataType::STRING,
        ColumnType::Struct(columns) => {
            let fields = columns.iter().map(delta_field).collect::<SchemaResult<Vec<_>>>()?;
            DataType::from(StructType::try_new(fields)?)
        }
        ColumnType::List(inner) => DataType::from(ArrayType::new(delta_type(inner)?, true)),
        ColumnType::Map(inner) => DataType::from(MapType::new(DataType::STRING, delta_type(inner)?, true)),
    })
}

fn arrow_field(field: &StructField) -> Field {
    Field::new(field.name().as_str(), arrow_type(field.data_type()), true)
}

fn arrow_type(data_type: &DataType) -> ArrowType {
    match data_type {
        DataType::Primitive(PrimitiveType::Boolean) => ArrowType::Boolean,
        DataType::Primitive(PrimitiveType::Integer) => ArrowType::Int32,
        DataType::Primitive(PrimitiveType::Long) => ArrowType::Int64,
        DataType::Primitive(PrimitiveType::Double) => ArrowType::Float64,
        DataType::Primitive(PrimitiveType::Binary) => ArrowType::Binary,
        DataType::Primitive(PrimitiveType::Date) => ArrowType::Date32,
        DataType::Primitive(PrimitiveType::Timestamp) => timestamp_type(),
        DataType::Struct(inner) => ArrowType::Struct(inner.fields().map(arrow_field).collect()),
        DataType::Array(array) => ArrowType::List(element_field(arrow_type(array.element_type()))),
        DataType::Map(map) => ArrowType::Map(entries_field(arrow_type(map.value_type())), false),
        // Columns that somebody else added: read and written as text, where that can be done.
        _ => ArrowType::Utf8,
    }
}

pub(crate) fn timestamp_type() -> ArrowType {
    ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

pub(crate) fn element_field(inner: ArrowType) -> Arc<Field> {
    Arc::new(Field::new("element", inner, true))
}

pub(crate) fn entries_field(value: ArrowType) -> Arc<Field> {
    let entry: Fields = vec![Field::new("key", ArrowType::Utf8, false), Field::new("value", value, true)].into();
    Arc::new(Field::new("key_value", ArrowType::Struct(entry), false))
}

fn metadata_text<'a>(field: &'a StructField, name: &str) -> Option<&'a str> {
    match field.metadata().get(name)? {
        MetadataValue::String(text) => Some(text),
        _ => None,
    }
}

/// Gives the wanted columns the names and types that `existing` has for their properties already, and the others names that are free.
fn align(wanted: &[Column], existing: &StructType, taken: &[&str]) -> Vec<Column> {
    let mut names: HashSet<String> = existing.fields().map(|field| field.name().to_lowercase()).collect();
    names.extend(taken.iter().map(|name| (*name).to_owned()));
    wanted.iter().filter_map(|column| align_one(column, existing, &mut names)).collect()
}

fn align_one(column: &Column, existing: &StructType, names: &mut HashSet<String>) -> Option<Column> {
    let key = column.key.clone();
    match existing.fields().find(|field| metadata_text(field, PROPERTY) == Some(&key)) {
        Some(field) => {
            let kind = align_kind(&column.kind, field.data_type(), field.metadata().contains_key(JSON))?;
            Some(Column { key, name: field.name().clone(), kind })
        }
        None => {
            let name = free_name(&snake(&key), names);
            names.insert(name.clone());
            Some(Column { key, name, kind: column.kind.clone() })
        }
    }
}

fn free_name(name: &str, names: &HashSet<String>) -> String {
    let numbered = (2_u32..).map(|number| format!("{name}_{number}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|candidate| !names.contains(candidate)).unwrap_or_default()
}

/// The type that values of `wanted` are written as where the table has `existing`; `None` where nothing can be written.
fn align_kind(wanted: &ColumnType, existing: &DataType, is_json: bool) -> Option<ColumnType> {
    match (wanted, existing) {
        (ColumnType::Struct(columns), DataType::Struct(inner)) => Some(ColumnType::Struct(align(columns, inner, &[]))),
        (ColumnType::List(inner), DataType::Array(array)) => {
            align_kind(inner, array.element_type(), **inner == ColumnType::Json).map(|inner| ColumnType::List(Box::new(inner)))
        }
        (ColumnType::Map(inner), DataType::Map(map)) => {
            align_kind(inner, map.value_type(), **inner == ColumnType::Json).map(|inner| ColumnType::Map(Box::new(inner)))
        }
        _ => kind_of(existing, is_json),
    }
}

fn kind_of(existing: &DataType, is_json: bool) -> Option<ColumnType> {
    Some(match existing {
        DataType::Primitive(PrimitiveType::Boolean) => ColumnType::Boolean,
        DataType::Primitive(PrimitiveType::Long) => ColumnType::Long,
        DataType::Primitive(PrimitiveType::Double) => ColumnType::Double,
        DataType::Primitive(PrimitiveType::String) if is_json => ColumnType::Json,
        DataType::Primitive(PrimitiveType::String) => ColumnType::Text,
        DataType::Array(array) => ColumnType::List(Box::new(kind_of(array.element_type(), false)?)),
        DataType::Map(map) => ColumnType::Map(Box::new(kind_of(map.value_type(), false)?)),
        DataType::Struct(inner) => ColumnType::Struct(inner.fields().filter_map(column_of).collect()),
        _ => return None,
    })
}

fn column_of(field: &StructField) -> Option<Column> {
    let key = metadata_text(field, PROPERTY)?.to_owned();
    let kind = kind_of(field.data_type(), field.metadata().contains_key(JSON))?;
    Some(Column { key, name: field.name().clone(), kind })
}

/// `existing` with the fields it lacks, and whether it lacked any.
fn merge(existing: &StructType, wanted: &StructType) -> SchemaResult<(StructType, bool)> {
    let mut changed = false;
    let mut fields = Vec::new();
    for field in existing.fields() {
        match wanted.field(field.name()).map(|wanted| merge_type(field.data_type(), wanted.data_type())).transpose()?.flatten() {
            Some(data_type) => {
                changed = true;
                fields.push(StructField::nullable(field.name().as_str(), data_type).with_metadata(field.metadata().clone()));
            }
            None => fields.push(field.clone()),
        }
    }
    let new: Vec<_> = wanted.fields().filter(|field| existing.field(field.name()).is_none()).cloned().collect();
    changed |= !new.is_empty();
    let last = fields.iter().position(|field| field.name() == ADDITIONAL_COLUMN).unwrap_or(fields.len());
    fields.splice(last..last, new);
    Ok((StructType::try_new(fields)?, changed))
}

/// `existing` with what `wanted` has more; `None` where that is nothing.
fn merge_type(existing: &DataType, wanted: &DataType) -> SchemaResult<Option<DataType>> {
    Ok(match (existing, wanted) {
        (DataType::Struct(existing), DataType::Struct(wanted)) => {
            let (merged, changed) = merge(existing, wanted)?;
            changed.then(|| DataType::from(merged))
        }
        (DataType::Array(existing), DataType::Array(wanted)) => {
            merge_type(existing.element_type(), wanted.element_type())?.map(|inner| DataType::from(ArrayType::new(inner, true)))
        }
        (DataType::Map(existing), DataType::Map(wanted)) => {
            let merged = merge_type(existing.value_type(), wanted.value_type())?;
            merged.map(|inner| DataType::from(MapType::new(DataType::STRING, inner, true)))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::of_schema;
    use serde_json::json;

    fn layout(properties: serde_json::Value, existing: Option<&Layout>) -> Layout {
        let columns = of_schema(&json!({"properties": properties}), &LEADING_COLUMNS);
        Layout::documents(&columns, existing.map(|layout| &layout.delta)).expect("a layout")
    }

    fn names(layout: &Layout) -> Vec<&str> {
        layout.delta.fields().skip(11).map(|field| field.name().as_str()).collect()
    }

    #[test]
    fn a_new_property_becomes_a_column_and_nothing_else_moves() {
        let old =
            layout(json!({"foo_bar": {"type": "string"}, "inner": {"type": "object", "properties": {"a": {"type": "integer"}}}}), None);
        assert!(!old.adds_columns);
        let more = json!({"fooBar": {"type": "integer"}, "foo_bar": {"type": "string"},
            "inner": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "array", "items": {"type": "number"}}}}});
        let new = layout(more.clone(), Some(&old));
        assert!(new.adds_columns);
        assert_eq!(names(&new), ["foo_bar", "inner", "foo_bar_2", "additional_properties"]);
        let again = layout(more, Some(&new));
        assert!(!again.adds_columns);
        assert_eq!(again.columns, new.columns);
    }

    #[test]
    fn a_type_once_given_stays() {
        let old = layout(json!({"a": {"type": "integer"}, "b": {}, "c": {"type": "string"}}), None);
        let new = layout(json!({"a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": ["string", "integer"]}}), Some(&old));
        assert!(!new.adds_columns);
        let kinds: Vec<_> = new.columns.iter().map(|column| column.kind.clone()).collect();
        assert_eq!(kinds, [ColumnType::Long, ColumnType::Json, ColumnType::Text]);
    }

    #[test]
    fn properties_that_are_gone_leave_their_columns() {
        let old = layout(json!({"a": {"type": "integer"}, "b": {"type": "string"}}), None);
        let new = layout(json!({"b": {"type": "string"}}), Some(&old));
        assert!(!new.adds_columns);
        assert_eq!(names(&new), ["a", "b", "additional_properties"]);
        assert!(new.arrow.field_with_name("a").is_err(), "files leave it out");
    }
}
