"""Reads a Delta table with a foreign tool and prints the rows of a query as JSON.

    read.py deltalake|duckdb TABLE_FOLDER SQL

The query calls the table `t`. `deltalake` resolves the log with delta-rs' own Python build, `duckdb` with DuckDB's delta extension;
the query itself runs in DuckDB both times.
"""

import json
import pathlib
import sys

import duckdb


def by_deltalake(folder):
    import deltalake

    table = deltalake.DeltaTable(folder)
    connection = duckdb.connect()
    connection.register("t", table.to_pyarrow_dataset())
    return connection


def by_duckdb(folder):
    import duckdb_extension_delta

    package = pathlib.Path(duckdb_extension_delta.__file__).parent
    extension = next(package.glob("extensions/*/delta.duckdb_extension"))
    connection = duckdb.connect()
    connection.execute(f"LOAD '{extension}'")
    connection.execute(f"CREATE VIEW t AS SELECT * FROM delta_scan('{folder}')")
    return connection


def main():
    tool, folder, query = sys.argv[1:]
    connection = {"deltalake": by_deltalake, "duckdb": by_duckdb}[tool](folder)
    connection.execute("SET TimeZone = 'UTC'")
    rows = connection.execute(query).fetchall()
    json.dump(rows, sys.stdout, default=str)


main()
