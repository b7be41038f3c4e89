// The conformance decoder; ../README.md says what it does.

import { BLOB, FLAG, FLOAT, NUMBER, Rows, TEXT, U32_MAX, VALUE, begin, encode, join, subscription } from './rows.js';

function open(config) {
  const fields = [
    { name: 'doubled', kind: 'int64', representation: 'count' },
    { name: 'negated', kind: 'float64', representation: 'ms' },
    { name: 'inverted', kind: 'boolean', representation: '' },
    { name: 'row', kind: 'text', representation: 'text/plain' },
    { name: 'reversed', kind: 'bytes', representation: 'B' },
    { name: 'same', kind: 'json', representation: 'json' },
  ];
  const sectionPlans = [
    [],
    [
      { path: '/one', fate: 'own-field' },
      { path: '/many/json', fate: 'drop' },
    ],
  ];
  return { subscription: subscription(config, 'stateless'), fields, sectionPlans };
}

function decode(batch) {
  begin(batch);
  const rows = new Rows(batch);
  const rejections = rows.each
    .filter((row) => rows.isLeast(row))
    .map((row) => ({ row, code: U32_MAX, text: `least: ${rows.get(TEXT, row)}` }));
  return { columns: answer(rows), planOf: Uint8Array.from(rows.each, (row) => row % 2), rejections };
}

function answer(rows) {
  const each = (column, make) =>
    rows.each.map((row) => {
      const cell = rows.get(column, row);
      return cell === undefined ? undefined : make(cell);
    });
  const doubled = each(NUMBER, (number) => BigInt.asIntN(64, 2n * number));
  const negated = each(FLOAT, (double) => -double);
  const inverted = each(FLAG, (flag) => !flag);
  const lines = rows.each.map((row) => encode(rows.line(row)));
  const reversed = each(BLOB, (blob) => blob.slice().reverse());
  const same = each(VALUE, encode);
  const validity = [doubled, negated, inverted, lines, reversed, same].flat().map((cell) => cell !== undefined);
  return {
    int64s: numbers(doubled, (view, at, cell) => view.setBigInt64(at, cell, true)),
    float64s: numbers(negated, (view, at, cell) => view.setFloat64(at, cell, true)),
    bits: Uint8Array.from([...inverted, ...validity], (flag) => (flag ? 1 : 0)),
    spans: new Uint8Array(),
    ...blobs([lines, reversed, same]),
  };
}

function numbers(cells, set) {
  const bytes = new Uint8Array(8 * cells.length);
  const view = new DataView(bytes.buffer);
  cells.forEach((cell, at) => cell !== undefined && set(view, 8 * at, cell));
  return bytes;
}

function blobs(columns) {
  const ends = [];
  let end = 0;
  for (const cells of columns) {
    ends.push(end);
    for (const cell of cells) ends.push((end += cell?.length ?? 0));
  }
  const offsets = new Uint8Array(4 * ends.length);
  const view = new DataView(offsets.buffer);
  ends.forEach((offset, at) => view.setUint32(4 * at, offset, true));
  return { offsets, arena: join(columns.flat().filter((cell) => cell !== undefined)) };
}

export const decoder = { open, decode };
