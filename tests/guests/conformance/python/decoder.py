"""The conformance decoder; ../README.md says what it does."""

import struct

from rows import BLOB, FLAG, FLOAT, NUMBER, TEXT, VALUE, Rows, begin, pack_blobs, subscription, validity
from wit_world import exports
from wit_world.imports.types import (
    Batch, Columns, Decoded, DecoderPlan, Fate, Field, Kind, Rejection, Scope, Section,
)  # fmt: skip


class Decoder(exports.Decoder):
    def open(self, config: str) -> DecoderPlan:
        fields = [
            Field("doubled", Kind.INT64, "count"),
            Field("negated", Kind.FLOAT64, "ms"),
            Field("inverted", Kind.BOOLEAN, ""),
            Field("row", Kind.TEXT, "text/plain"),
            Field("reversed", Kind.BYTES, "B"),
            Field("same", Kind.JSON, "json"),
        ]
        plans = [[], [Section("/one", Fate.OWN_FIELD), Section("/many/json", Fate.DROP)]]
        return DecoderPlan(subscription(config, Scope.STATELESS), fields, plans)

    def decode(self, input: Batch) -> Decoded:
        begin(input)
        rows = Rows(input)
        rejections = [Rejection(row, 0xFFFFFFFF, "least: " + rows.get(TEXT, row)) for row in rows.each if rows.is_least(row)]
        return Decoded(answer(rows), bytes(row % 2 for row in rows.each), rejections)


def answer(rows: Rows) -> Columns:
    def each(column, make):
        cells = (rows.get(column, row) for row in rows.each)
        return [None if cell is None else make(cell) for cell in cells]

    doubled = each(NUMBER, lambda number: 2 * number & 0xFFFF_FFFF_FFFF_FFFF)
    negated = each(FLOAT, lambda number: -number)
    inverted = each(FLAG, lambda flag: not flag)
    lines = [rows.line(row).encode() for row in rows.each]
    backwards = each(BLOB, lambda blob: blob[::-1])
    same = each(VALUE, str.encode)
    blobs = [[cell or b"" for cell in column] for column in (lines, backwards, same)]
    offsets, arena = pack_blobs(blobs)
    return Columns(
        int64s=struct.pack(f"<{len(doubled)}Q", *(cell or 0 for cell in doubled)),
        float64s=struct.pack(f"<{len(negated)}d", *(0.0 if cell is None else cell for cell in negated)),
        bits=bytes(bool(cell) for cell in inverted) + validity([doubled, negated, inverted, lines, backwards, same]),
        spans=b"",
        offsets=offsets,
        arena=arena,
    )
