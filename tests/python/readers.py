"""Reads every table of a namespace with PyIceberg and with DuckDB, and writes each as canonical JSON lines.

    readers.py CATALOG_DB CATALOG_NAME NAMESPACE FOLDER

writes FOLDER/<table>.pyiceberg.jsonl and FOLDER/<table>.duckdb.jsonl: one row a line, keys sorted, lines sorted; bytes
as hex, times as microseconds since 1970 UTC, dates as ISO text, decimals with all their digits. Prints the names of the tables.
"""

import datetime
import decimal
import importlib
import json
import pathlib
import sys

import duckdb
from pyiceberg.catalog.sql import SqlCatalog

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
MICROSECOND = datetime.timedelta(microseconds=1)


def canonical(value):
    match value:
        case None | bool() | int() | str():
            return value
        case bytes():
            return value.hex()
        case datetime.datetime():
            return (value - EPOCH) // MICROSECOND
        case datetime.date():
            return value.isoformat()
        case decimal.Decimal():
            return format(value, "f")  # str() would write 1E-8
        case list():
            return [canonical(v) for v in value]
        case dict():
            return {k: canonical(v) for k, v in value.items()}
    raise TypeError(f"no canonical form for {type(value)}")


def null_headers(row):
    """PyIceberg 0.11.1 rebuilds a list of structs from its offsets and loses its nulls: a null list reads as an empty
    one. K2 writes no empty lists of headers (no headers are null), so nothing is hidden by taking it back."""
    return {k: None if k == "headers" and v == [] else v for k, v in row.items()}


def write(path, rows):
    lines = [json.dumps(canonical(row), sort_keys=True, ensure_ascii=False) for row in rows]
    path.write_text("".join(line + "\n" for line in sorted(lines)), encoding="utf-8")


def duckdb_with_iceberg():
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    for name in ("avro", "iceberg"):  # iceberg needs avro
        folder = pathlib.Path(importlib.import_module(f"duckdb_extension_{name}").__file__).parent
        (extension,) = folder.rglob(f"{name}.duckdb_extension")
        connection.execute(f"LOAD '{extension}'")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def main(database, name, namespace, folder):
    folder = pathlib.Path(folder)
    catalog = SqlCatalog(name, uri=f"sqlite:///{database}")
    connection = duckdb_with_iceberg()
    for identifier in sorted(catalog.list_tables(namespace)):
        table = catalog.load_table(identifier)
        rows = [null_headers(row) for row in table.scan().to_arrow().to_pylist()]
        write(folder / f"{identifier[-1]}.pyiceberg.jsonl", rows)
        scan = connection.execute("SELECT * FROM iceberg_scan(?)", [table.metadata_location])
        write(folder / f"{identifier[-1]}.duckdb.jsonl", scan.to_arrow_table().to_pylist())
        print(identifier[-1])


if __name__ == "__main__":
    main(*sys.argv[1:])
