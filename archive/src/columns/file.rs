//! A file of columns, row group by row group.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use tidewheel_schemas::Record;

use super::row::{Cell, row, schema};
use super::{COLUMNS_FORMAT, Manifest};

/// A row group ends when it has so many rows, or bytes of keys and values.
const GROUP_ROWS: usize = 50_000;
const GROUP_BYTES: usize = 8 << 20;
/// Columns in which hardly anything stands twice.
const DISTINCT: [&str; 4] = ["offset", "event_id", "value", "value_bytes"];

/// The values of a column, and for each row whether there is one.
struct Column {
    values: Values,
    levels: Vec<i16>,
}

enum Values {
    Ints(Vec<i32>),
    Longs(Vec<i64>),
    Bytes(Vec<ByteArray>),
}

/// A file that is being made.
pub(super) struct ColumnFile {
    range: Manifest,
    raw: bool,
    writer: SerializedFileWriter<Vec<u8>>,
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
}

fn said(error: ParquetError) -> String {
    error.to_string()
}

impl ColumnFile {
    pub(super) fn new(range: &Manifest, raw: bool) -> Result<Self, String> {
        let schema = Arc::new(parse_message_type(&schema(raw)).map_err(said)?);
        let about = [
            ("format", COLUMNS_FORMAT.to_string()),
            ("topic", range.topic.clone()),
            ("partition", range.partition.to_string()),
            ("log_id", range.log_id.to_string()),
            ("from", range.from.to_string()),
            ("to", range.to.to_string()),
            ("source", range.file.clone()),
            ("source_sha256", range.sha256.clone()),
        ];
        let about = about.map(|(name, value)| KeyValue::new(format!("tidewheel.{name}"), value));
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_key_value_metadata(Some(about.into()));
        for column in DISTINCT {
            properties = properties.set_column_dictionary_enabled(ColumnPath::from(column), false);
        }
        let writer = SerializedFileWriter::new(Vec::new(), Arc::clone(&schema), Arc::new(properties.build()));
        let columns = schema.get_fields().iter().map(|field| {
            let values = match field.get_physical_type() {
                Physical::INT32 => Ok(Values::Ints(Vec::new())),
                Physical::INT64 => Ok(Values::Longs(Vec::new())),
                Physical::BYTE_ARRAY => Ok(Values::Bytes(Vec::new())),
                other => Err(format!("there is no column of {other}")),
            };
            values.map(|values| Column { values, levels: Vec::new() })
        });
        Ok(Self {
            range: range.clone(),
            raw,
            columns: columns.collect::<Result<_, _>>()?,
            writer: writer.map_err(said)?,
            rows: 0,
            bytes: 0,
        })
    }

    /// Adds the next record.
    pub(super) fn push(&mut self, record: &Record) -> Result<(), String> {
        let cells = row(&self.range, record, self.raw);
        if cells.len() != self.columns.len() {
            return Err(format!("a row has {} cells for {} columns", cells.len(), self.columns.len()));
        }
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.levels.push(i16::from(!matches!(cell, Cell::Nothing)));
            match (&mut column.values, cell) {
                (_, Cell::Nothing) => {}
                (Values::Ints(values), Cell::Int(value)) => values.push(value),
                (Values::Longs(values), Cell::Long(value)) => values.push(value),
                (Values::Bytes(values), Cell::Bytes(value)) => {
                    self.bytes += value.len();
                    values.push(ByteArray::from(value));
                }
                (Values::Ints(_) | Values::Longs(_) | Values::Bytes(_), _) => {
                    return Err("a cell does not fit its column".to_owned());
                }
            }
        }
        self.rows += 1;
        if self.rows >= GROUP_ROWS || self.bytes >= GROUP_BYTES {
            self.close_group().map_err(said)?;
        }
        Ok(())
    }

    fn close_group(&mut self) -> Result<(), ParquetError> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for column in &mut self.columns {
            let Some(mut writer) = group.next_column()? else { break };
            let levels = Some(column.levels.as_slice());
            match (writer.untyped(), &mut column.values) {
                (ColumnWriter::Int32ColumnWriter(writer), Values::Ints(values)) => {
                    writer.write_batch(values, levels, None)?;
                    values.clear();
                }
                (ColumnWriter::Int64ColumnWriter(writer), Values::Longs(values)) => {
                    writer.write_batch(values, levels, None)?;
                    values.clear();
                }
                (ColumnWriter::ByteArrayColumnWriter(writer), Values::Bytes(values)) => {
                    writer.write_batch(values, levels, None)?;
                    values.clear();
                }
                _ => return Err(ParquetError::General("a column is of another type".to_owned())),
            }
            column.levels.clear();
            writer.close()?;
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }

    /// The whole file.
    pub(super) fn finish(mut self) -> Result<Bytes, String> {
        self.close_group().map_err(said)?;
        self.writer.into_inner().map(Bytes::from).map_err(said)
    }
}
