"""Counts what became of acknowledged pings: soak.py LAKE ACKNOWLEDGED_FILE, one id a line. Prints one JSON object."""

import json
import pathlib
import sys

import deltalake
import duckdb

lake, acknowledged = sys.argv[1:]
connection = duckdb.connect()
connection.execute("SET memory_limit = '4GB'")
# It would be printed between the figures.
connection.execute("SET enable_progress_bar = false")
connection.execute(f"CREATE TABLE acknowledged AS SELECT column0 AS id FROM read_csv('{acknowledged}', header=false, columns={{'column0': 'VARCHAR'}})")
tables = sorted(path.parent for path in pathlib.Path(lake).rglob("_delta_log"))
connection.execute("CREATE TABLE found (id VARCHAR, place VARCHAR)")
rows = {}
for table in tables:
    name = str(table.relative_to(lake))
    connection.register("t", deltalake.DeltaTable(str(table)).to_pyarrow_dataset())
    connection.execute("INSERT INTO found SELECT document_id, ? FROM t", [name])
    connection.unregister("t")
    rows[name] = connection.execute("SELECT count(*) FROM found WHERE place = ?", [name]).fetchone()[0]


def count(query):
    return connection.execute(query).fetchone()[0]


print(json.dumps({
    "rows": rows,
    "acknowledged": count("SELECT count(*) FROM acknowledged"),
    "lost": count("SELECT count(*) FROM acknowledged ANTI JOIN found USING (id)"),
    "twice": count("SELECT count(*) - count(DISTINCT id) FROM found"),
    "unacknowledged": count("SELECT count(*) FROM found ANTI JOIN acknowledged USING (id)"),
}))
