"""The conformance analysis guest; ../README.md says what it does."""

from rows import FLOAT, NUMBER, TEXT, TIMESTAMP, Rows, begin, subscription
from wit_world import exports
from wit_world.imports.types import (
    Aggregation, Alert, AlertRule, AlertTest, Batch, Cells, Findings, Graph, GraphColumn, Messages, Payload, Scope, Subscription,
)  # fmt: skip

U32_MAX = 0xFFFFFFFF


class Analysis(exports.Analysis):
    def open(self, config: str) -> Subscription:
        return subscription(config, Scope.PARTITION)

    def process(self, input: Batch) -> Findings:
        begin(input)
        rows = Rows(input)
        lines = [rows.line(row) for row in rows.each]
        head = f"{input.partition} {input.now_ms} {input.rows}"
        return Findings(
            messages=messages(rows, lines),
            new_graphs=[Graph("numbers ⊕", 1440, 60), Graph("rows", 11520, 1)],
            new_columns=[
                GraphColumn(0, "int64", "count", Aggregation.SUM),
                GraphColumn(0, "float64", "ms", Aggregation.MIN),
                GraphColumn(1, "rows", "", Aggregation.MAX),
            ],
            new_rules=[
                AlertRule(0, 0, "inactive", AlertTest.INACTIVE, 0.0, 5, 60),
                AlertRule(0, 1, "above", AlertTest.ABOVE, 0.1, 1440, U32_MAX),
                AlertRule(0, 1, "below", AlertTest.BELOW, -0.0, 1, 0),
                AlertRule(1, 0, "percent", AlertTest.PERCENT_CHANGE, 1e300, 11520, 1),
            ],
            cells=cells(rows),
            payloads=[Payload("rows ⊕", "text/plain", "".join(line + "\n" for line in [head, *lines]).encode())],
            alerts=[Alert(row, "least", rows.get(TEXT, row), lines[row], U32_MAX) for row in rows.each if rows.is_least(row)],
        )


def messages(rows: Rows, lines: list[str]) -> Messages:
    chosen = [row for row in rows.each if rows.get(TEXT, row) is not None]
    arena, offsets = bytearray(), [0]
    for row in chosen:
        arena += message(row, rows.get(TIMESTAMP, row), lines[row].encode())
        offsets.append(len(arena))
    return Messages(chosen, [rows.get(TEXT, row) for row in chosen], offsets, bytes(arena))


def message(row: int, timestamp: int, line: bytes) -> bytes:
    """A Heka message: Uuid is field 1, Timestamp 2, Type 3, Payload 6."""
    uuid = bytes([row & 0xFF]) * 16
    return field(0x0A, uuid) + b"\x10" + varint(timestamp & 0xFFFF_FFFF_FFFF_FFFF) + field(0x1A, b"conformance") + field(0x32, line)


def field(tag: int, value: bytes) -> bytes:
    return bytes([tag]) + varint(len(value)) + value


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def cells(rows: Rows) -> Cells:
    graph, column, time_s, value = found = [], [], [], []

    def add(*cell):
        for part, of_cell in zip(found, cell):
            part.append(of_cell)

    for row in rows.each:
        time = (rows.get(TIMESTAMP, row) & 0xFFFF_FFFF_FFFF_FFFF) // 10**9 & U32_MAX
        number, double = rows.get(NUMBER, row), rows.get(FLOAT, row)
        if number is not None:
            add(0, 0, time, float(number))
        if double is not None:
            add(0, 1, time, double)
        add(1, 0, time, 1.0)
    return Cells(graph, column, time_s, value)
