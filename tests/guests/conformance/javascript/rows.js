// Reading a batch, for both kinds.

import { log, metricAdd } from 'tidemill:plugin/host@0.1.0';

export const U32_MAX = 0xffffffff;
const LEAST = -(2n ** 63n);

const KINDS = ['int64', 'float64', 'boolean', 'text', 'bytes', 'json'];
const SHAPES = ['one', 'many', 'entries'];
const REQUESTS = [
  { path: 'Timestamp', kind: 'int64', shape: 'one', required: true },
  ...SHAPES.flatMap((shape) => KINDS.map((kind) => ({ path: `/${shape}/${kind}`, kind, shape, required: false }))),
];

// The columns of shape one by their place in the subscription.
export const [TIMESTAMP, NUMBER, FLOAT, FLAG, TEXT, BLOB, VALUE] = REQUESTS.keys();

// Without `ignoreBOM` a decoder eats a leading U+FEFF, which is a character of the text here.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true });
const encoder = new TextEncoder();
export const encode = (text) => encoder.encode(text);

export function subscription(config, scope) {
  if (config !== '{}') throw { code: 7, text: `no such configuration: ${config}` };
  return { matcher: "Type == 'conformance'", columns: REQUESTS, scope, tickMs: 0 };
}

// What every call does first.
export function begin(batch) {
  log('warn', `${batch.rows} rows ⊕`);
  metricAdd('rows', batch.rows + 0.125);
  if (batch.partition === 13) throw { code: U32_MAX, text: 'partition 13' };
}

// A list that is read front to back; numbers are little-endian at any address.
class List {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = 0;
  }

  take(count, width, read) {
    const start = this.at;
    this.at += count * width;
    return Array.from({ length: count }, (_, at) => read(this.view, start + at * width));
  }

  int64s(count) {
    return this.take(count, 8, (view, at) => view.getBigInt64(at, true));
  }

  float64s(count) {
    return this.take(count, 8, (view, at) => view.getFloat64(at, true));
  }

  words(count) {
    return this.take(count, 4, (view, at) => view.getUint32(at, true));
  }

  flags(count) {
    return this.take(count, 1, (view, at) => view.getUint8(at) === 1);
  }
}

// The columns of a batch: the cells of each as values, its keys and the bounds of its runs, its validity.
function read(batch) {
  const { rows, columns } = batch;
  const lists = Object.fromEntries(Object.entries(columns).map(([name, bytes]) => [name, new List(bytes)]));
  const blobs = (count) => {
    const offsets = lists.offsets.words(count + 1);
    return Array.from({ length: count }, (_, at) => columns.arena.subarray(offsets[at], offsets[at + 1]));
  };
  const texts = (count) => blobs(count).map((bytes) => decoder.decode(bytes));
  const cells = {
    int64: (count) => lists.int64s.int64s(count),
    float64: (count) => lists.float64s.float64s(count),
    boolean: (count) => lists.bits.flags(count),
    text: texts,
    bytes: blobs,
    json: texts,
  };
  const found = REQUESTS.map(({ kind, shape }) => {
    const spans = shape === 'one' ? undefined : lists.spans.words(rows + 1);
    const count = spans ? spans[rows] : rows;
    const keys = shape === 'entries' ? texts(count) : undefined;
    return { kind, spans, keys, cells: cells[kind](count) };
  });
  // The validity columns come behind all boolean cells.
  for (const column of found) column.valid = lists.bits.flags(rows);
  return found;
}

const hexadecimal = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

function bitsOf(double) {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, double);
  return view.getBigUint64(0);
}

const CELL_TEXT = {
  int64: String,
  float64: (double) => bitsOf(double).toString(16).padStart(16, '0'),
  boolean: String,
  text: (text) => `"${text}"`,
  bytes: hexadecimal,
  json: (json) => json,
};

function columnText({ kind, spans, keys, cells, valid }, row) {
  if (!valid[row]) return 'null';
  if (!spans) return CELL_TEXT[kind](cells[row]);
  const texts = cells.slice(spans[row], spans[row + 1]).map(CELL_TEXT[kind]);
  return keys ? `{${texts.map((text, at) => `"${keys[spans[row] + at]}":${text}`).join(',')}}` : `[${texts.join(',')}]`;
}

// The rows of a batch.
export class Rows {
  constructor(batch) {
    this.columns = read(batch);
    this.each = Array.from({ length: batch.rows }, (_, row) => row);
  }

  // A cell of a column of shape one, or undefined.
  get(column, row) {
    const { valid, cells } = this.columns[column];
    return valid[row] ? cells[row] : undefined;
  }

  isLeast(row) {
    return this.get(NUMBER, row) === LEAST;
  }

  // All columns of a row as text.
  line(row) {
    return this.columns.map((column) => columnText(column, row)).join(';');
  }
}

export function join(parts) {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
