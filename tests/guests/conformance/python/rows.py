"""Reading a batch, for both kinds."""

import struct
from itertools import chain

from componentize_py_types import Err
from wit_world.imports import host
from wit_world.imports.types import Batch, ColumnRequest, Failure, Kind, Scope, Shape, Subscription

# The columns of shape one by their place in the subscription.
TIMESTAMP, NUMBER, FLOAT, FLAG, TEXT, BLOB, VALUE = range(7)

LEAST = -(1 << 63)
REQUESTS = [ColumnRequest("Timestamp", Kind.INT64, Shape.ONE, True)] + [
    ColumnRequest(f"/{shape.name.lower()}/{kind.name.lower()}", kind, shape, False) for shape in Shape for kind in Kind
]


def subscription(config: str, scope: Scope) -> Subscription:
    if config != "{}":
        raise Err(Failure(7, f"no such configuration: {config}"))
    return Subscription("Type == 'conformance'", REQUESTS, scope, 0)


def begin(batch: Batch) -> None:
    """What every call does first."""
    host.log(host.Level.WARN, f"{batch.rows} rows ⊕")
    host.metric_add("rows", batch.rows + 0.125)
    if batch.partition == 13:
        raise Err(Failure(0xFFFFFFFF, "partition 13"))


class Column:
    """One column: its cells as Python values, its validity and where its runs begin."""

    def __init__(self, request, cells, bits, keys, spans, valid):
        self.kind, self.shape = request.kind, request.shape
        self.cells, self.bits, self.keys, self.spans, self.valid = cells, bits, keys, spans, valid

    def text(self, row: int) -> str:
        if not self.valid[row]:
            return "null"
        if self.shape == Shape.ONE:
            return self.cell(row)
        run = range(self.spans[row], self.spans[row + 1])
        if self.shape == Shape.MANY:
            return "[" + ",".join(map(self.cell, run)) + "]"
        return "{" + ",".join(f'"{self.keys[at]}":{self.cell(at)}' for at in run) + "}"

    def cell(self, at: int) -> str:
        match self.kind:
            case Kind.INT64:
                return str(self.cells[at])
            case Kind.FLOAT64:
                return f"{self.bits[at]:016x}"
            case Kind.BOOLEAN:
                return "true" if self.cells[at] else "false"
            case Kind.TEXT:
                return f'"{self.cells[at]}"'
            case Kind.BYTES:
                return self.cells[at].hex()
            case Kind.JSON:
                return self.cells[at]


class Lists:
    """The lists of a batch, read front to back."""

    def __init__(self, batch: Batch):
        columns = batch.columns
        self.rows = batch.rows
        # `cast` reads in the order of the machine, which is little-endian in WebAssembly.
        self.int64s = memoryview(columns.int64s).cast("q")
        self.float64s = memoryview(columns.float64s).cast("d")
        self.float_bits = memoryview(columns.float64s).cast("Q")
        self.spans = memoryview(columns.spans).cast("I")
        self.offsets = memoryview(columns.offsets).cast("I")
        self.bits, self.arena = columns.bits, columns.arena
        self.at = dict.fromkeys(["int64s", "float64s", "bits", "spans", "offsets"], 0)

    def take(self, name: str, count: int):
        at = self.at[name]
        self.at[name] = at + count
        return at, at + count

    def blobs(self, cells: int) -> list[bytes]:
        start, end = self.take("offsets", cells + 1)
        offsets = self.offsets[start:end]
        return [self.arena[offsets[at] : offsets[at + 1]] for at in range(cells)]

    def column(self, request: ColumnRequest):
        spans, keys, bits = None, None, None
        count = self.rows
        if request.shape != Shape.ONE:
            start, end = self.take("spans", self.rows + 1)
            spans = self.spans[start:end]
            count = spans[self.rows]
        if request.shape == Shape.ENTRIES:
            keys = [key.decode() for key in self.blobs(count)]
        match request.kind:
            case Kind.INT64:
                start, end = self.take("int64s", count)
                cells = self.int64s[start:end]
            case Kind.FLOAT64:
                start, end = self.take("float64s", count)
                cells, bits = self.float64s[start:end], self.float_bits[start:end]
            case Kind.BOOLEAN:
                start, end = self.take("bits", count)
                cells = self.bits[start:end]
            case Kind.BYTES:
                cells = self.blobs(count)
            case Kind.TEXT | Kind.JSON:
                cells = [text.decode() for text in self.blobs(count)]
        return request, cells, bits, keys, spans

    def validity(self) -> bytes:
        start, end = self.take("bits", self.rows)
        return self.bits[start:end]


class Rows:
    """The rows of a batch."""

    def __init__(self, batch: Batch):
        lists = Lists(batch)
        columns = [lists.column(request) for request in REQUESTS]
        # The validity columns come behind all boolean cells.
        self.columns = [Column(*column, lists.validity()) for column in columns]
        self.each = range(batch.rows)

    def get(self, column: int, row: int):
        """A cell of a column of shape one, or none."""
        found = self.columns[column]
        return found.cells[row] if found.valid[row] else None

    def is_least(self, row: int) -> bool:
        return self.get(NUMBER, row) == LEAST

    def line(self, row: int) -> str:
        """All columns of a row as text."""
        return ";".join(column.text(row) for column in self.columns)


def pack_blobs(columns) -> tuple[bytes, bytes]:
    """Offsets and arena of columns of bytes."""
    offsets, arena = [], bytearray()
    for cells in columns:
        offsets.append(len(arena))
        for cell in cells:
            arena += cell
            offsets.append(len(arena))
    return struct.pack(f"<{len(offsets)}I", *offsets), bytes(arena)


def validity(columns) -> bytes:
    return bytes(cell is not None for cell in chain.from_iterable(columns))
