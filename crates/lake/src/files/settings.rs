//! Parquet settings: from the table's properties, by Iceberg's names, and encodings by what a column holds.

use crate::contract::property;
use arrow::datatypes::{DataType, Schema as ArrowSchema};
use iceberg::spec::TableMetadata;
use k2_model::{Error, Result};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use std::collections::HashMap;

/// Texts of which hardly any two are the same: a dictionary is work for nothing.
const UNIQUE_TEXTS: [&str; 4] = ["message_id", "trade_id", "vendor_data", "error_detail"];

/// Parquet settings from the table's properties (Iceberg's names), and encodings by what a column holds.
pub(super) fn writer_properties(table: &TableMetadata, schema: &ArrowSchema) -> Result<WriterProperties> {
    let p = table.properties();
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("k2 ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(compression(p)?)
        .set_max_row_group_row_count(Some(1 << 20))
        .set_max_row_group_bytes(Some(property(p, "write.parquet.row-group-size-bytes", 16 << 20).max(1 << 10)))
        .set_data_page_size_limit(property(p, "write.parquet.page-size-bytes", 1 << 20))
        .set_data_page_row_count_limit(property(p, "write.parquet.page-row-limit", 20_000))
        .set_dictionary_page_size_limit(property(p, "write.parquet.dict-size-bytes", 1 << 20))
        .set_statistics_truncate_length(Some(64));
    for field in schema.fields() {
        let column = ColumnPath::from(field.name().as_str());
        builder = match field.data_type() {
            // opaque bytes: no order that anybody asks for, no repetition worth a dictionary
            DataType::Binary if field.name() == "raw_bytes" || field.name() == "raw_record" => builder
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_statistics_enabled(column, EnabledStatistics::None),
            // plain: deltas would be smaller by a byte a row, but Iceberg's vectorized reader in Spark knows them only
            // since 1.10, and a dictionary costs time and makes most of these larger
            DataType::Int32 | DataType::Int64 | DataType::Date32 | DataType::Timestamp(..) => {
                builder.set_column_dictionary_enabled(column, false)
            }
            DataType::Utf8 if UNIQUE_TEXTS.contains(&field.name().as_str()) => {
                builder.set_column_dictionary_enabled(column, false)
            }
            _ => builder,
        };
    }
    Ok(builder.build())
}

fn compression(properties: &HashMap<String, String>) -> Result<Compression> {
    let codec = properties.get("write.parquet.compression-codec").map_or("zstd", String::as_str);
    let level = properties.get("write.parquet.compression-level");
    let bad = |e: parquet::errors::ParquetError| {
        Error::config(format!("table property write.parquet.compression-level does not fit {codec}")).caused_by(e)
    };
    let number = |default: i32| level.map_or(Ok(default), |l| l.trim().parse::<i32>());
    let not_a_number = |e: std::num::ParseIntError| {
        Error::config("table property write.parquet.compression-level is not a number").caused_by(e)
    };
    Ok(match codec.to_ascii_lowercase().as_str() {
        // streaming writes want level 1: level 3 costs 2.8 times the CPU for 2 % of size (docs/adr/0004)
        "zstd" => Compression::ZSTD(ZstdLevel::try_new(number(1).map_err(not_a_number)?).map_err(bad)?),
        "gzip" => {
            let level = u32::try_from(number(6).map_err(not_a_number)?).unwrap_or(u32::MAX);
            Compression::GZIP(GzipLevel::try_new(level).map_err(bad)?)
        }
        "snappy" => Compression::SNAPPY,
        "lz4" => Compression::LZ4_RAW,
        "uncompressed" | "none" => Compression::UNCOMPRESSED,
        other => {
            return Err(Error::config(format!(
                "table property write.parquet.compression-codec = {other} is not supported"
            ))
            .fix("set it to zstd, snappy, lz4, gzip or uncompressed"));
        }
    })
}
