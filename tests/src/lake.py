"""Reads every Delta table below a folder with two readers, which must agree, and prints what tests look at.

Arguments: the folder, then texts to look for in every row."""

import json
import os
import sys

import deltalake
import duckdb
import duckdb_extension_delta


def tables(root):
    for folder, folders, _ in os.walk(root):
        if "_delta_log" in folders:
            folders.clear()
            yield folder


def sql_text(text):
    return "'" + text.replace("'", "''") + "'"


def read(duck, folder, needles):
    columns = ["document_id"]
    is_errors = os.path.basename(folder) == "errors"
    if is_errors:
        columns += ["error_type", "plugin"]
    arrow = deltalake.DeltaTable(folder).to_pyarrow_table(columns=columns)
    scan = "delta_scan(" + sql_text("file://" + folder) + ")"
    rows = duck.execute(f"select {', '.join(columns)} from {scan}").fetchall()
    ids = arrow.column("document_id").to_pylist()
    if sorted(map(str, ids)) != sorted(str(row[0]) for row in rows):
        sys.exit(f"{folder}: deltalake sees {len(ids)} rows, DuckDB {len(rows)}, or others")
    found = {"rows": len(rows), "ids": [row[0] for row in rows]}
    if is_errors:
        found["error_types"] = [row[1] for row in rows]
        found["plugins"] = [row[2] for row in rows]
    described = duck.execute(f"describe select * from {scan}").fetchall()
    found["columns"] = {row[0]: row[1] for row in described}
    if needles:
        test = " or ".join(f"contains(t::varchar, {sql_text(needle)})" for needle in needles)
        found["with_needles"] = duck.execute(f"select count(*) from {scan} t where {test}").fetchone()[0]
    return found


def main():
    root, needles = sys.argv[1], sys.argv[2:]
    duck = duckdb.connect()
    load(duck)
    found = {os.path.relpath(folder, root): read(duck, folder, needles) for folder in tables(root)}
    json.dump(found, sys.stdout)


def load(duck):
    """Loads DuckDB's delta extension from the Python package that carries it."""
    folder = os.path.dirname(duckdb_extension_delta.__file__)
    duck.execute("load " + sql_text(f"{folder}/extensions/v{duckdb.__version__}/delta.duckdb_extension"))


main()
