"""Follows a Delta table with delta-rs' own Python build and prints `ID NANOSECONDS` of every row it sees for the first time.

    follow.py TABLE_FOLDER ROWS

It ends after that many rows. A row is seen when its file, as the newest version of the log names it, was read.
"""

import pathlib
import sys
import time

import deltalake
import pyarrow.parquet

# How often the log is looked at: what a reader adds to the latency by itself is half of it.
PAUSE_S = 0.02


def opened(folder):
    """The table, as soon as there is one."""
    while not list(pathlib.Path(folder).glob("_delta_log/*.json")):
        time.sleep(PAUSE_S)
    return deltalake.DeltaTable(folder)


def main():
    folder, rows = sys.argv[1], int(sys.argv[2])
    table, files, seen = opened(folder), set(), set()
    while len(seen) < rows:
        for uri in set(table.file_uris()) - files:
            files.add(uri)
            ids = pyarrow.parquet.read_table(uri.removeprefix("file://"), columns=["document_id"], partitioning=None)
            now = time.time_ns()
            new = set(ids.column(0).to_pylist()) - seen
            seen |= new
            print("".join(f"{one} {now}\n" for one in new), end="", flush=True)
        time.sleep(PAUSE_S)
        table.update_incremental()


main()
