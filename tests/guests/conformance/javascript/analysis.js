// The conformance analysis guest; ../README.md says what it does.

import { FLOAT, NUMBER, Rows, TEXT, TIMESTAMP, U32_MAX, begin, encode, join, subscription } from './rows.js';

function open(config) {
  return subscription(config, 'partition');
}

function process(batch) {
  begin(batch);
  const rows = new Rows(batch);
  const lines = rows.each.map((row) => rows.line(row));
  const head = `${batch.partition} ${batch.nowMs} ${batch.rows}`;
  return {
    messages: messages(rows, lines),
    newGraphs: [
      { title: 'numbers ⊕', rows: 1440, secondsPerRow: 60 },
      { title: 'rows', rows: 11520, secondsPerRow: 1 },
    ],
    newColumns: [
      { graph: 0, name: 'int64', unit: 'count', aggregation: 'sum' },
      { graph: 0, name: 'float64', unit: 'ms', aggregation: 'min' },
      { graph: 1, name: 'rows', unit: '', aggregation: 'max' },
    ],
    newRules: [
      { graph: 0, column: 0, id: 'inactive', test: 'inactive', threshold: 0, windowRows: 5, throttleS: 60 },
      { graph: 0, column: 1, id: 'above', test: 'above', threshold: 0.1, windowRows: 1440, throttleS: U32_MAX },
      { graph: 0, column: 1, id: 'below', test: 'below', threshold: -0, windowRows: 1, throttleS: 0 },
      { graph: 1, column: 0, id: 'percent', test: 'percent-change', threshold: 1e300, windowRows: 11520, throttleS: 1 },
    ],
    cells: cells(rows),
    payloads: [{ name: 'rows ⊕', mediaType: 'text/plain', data: encode([head, ...lines, ''].join('\n')) }],
    alerts: rows.each
      .filter((row) => rows.isLeast(row))
      .map((row) => ({ row, id: 'least', summary: rows.get(TEXT, row), detail: lines[row], throttleS: U32_MAX })),
  };
}

function messages(rows, lines) {
  const chosen = rows.each.filter((row) => rows.get(TEXT, row) !== undefined);
  const each = chosen.map((row) => message(row, rows.get(TIMESTAMP, row), encode(lines[row])));
  const offsets = [0];
  for (const bytes of each) offsets.push(offsets.at(-1) + bytes.length);
  return { row: chosen, keys: chosen.map((row) => rows.get(TEXT, row)), offsets, arena: join(each) };
}

// A Heka message: Uuid is field 1, Timestamp 2, Type 3, Payload 6.
function message(row, timestamp, line) {
  const uuid = new Uint8Array(16).fill(row & 0xff);
  const time = [0x10, ...varint(BigInt.asUintN(64, timestamp))];
  return join([...field(0x0a, uuid), time, ...field(0x1a, encode('conformance')), ...field(0x32, line)]);
}

const field = (tag, value) => [[tag, ...varint(BigInt(value.length))], value];

function varint(value) {
  const bytes = [];
  for (; value >= 0x80n; value >>= 7n) bytes.push(Number(value & 0x7fn) | 0x80);
  return [...bytes, Number(value)];
}

function cells(rows) {
  const found = { graph: [], column: [], timeS: [], value: [] };
  const add = (cell) => Object.entries(cell).forEach(([part, value]) => found[part].push(value));
  for (const row of rows.each) {
    const seconds = BigInt.asUintN(64, rows.get(TIMESTAMP, row)) / 1_000_000_000n;
    const timeS = Number(BigInt.asUintN(32, seconds));
    const [number, double] = [rows.get(NUMBER, row), rows.get(FLOAT, row)];
    if (number !== undefined) add({ graph: 0, column: 0, timeS, value: Number(number) });
    if (double !== undefined) add({ graph: 0, column: 1, timeS, value: double });
    add({ graph: 1, column: 0, timeS, value: 1 });
  }
  return found;
}

export const analysis = { open, process };
