// Reading a batch, for both kinds. Include the bindings of one world first.
#ifndef CONFORMANCE_ROWS_H
#define CONFORMANCE_ROWS_H

#include <stdlib.h>
#include <string.h>

// The names that the bindings give per world.
#ifdef __BINDINGS_DECODER_PLUGIN_H
typedef decoder_plugin_string_t text_t;
typedef decoder_plugin_list_u8_t list_t;
void __component_type_object_force_link_decoder_plugin(void) {} // the test embeds the world's type itself
#else
typedef analysis_plugin_string_t text_t;
typedef analysis_plugin_list_u8_t list_t;
void __component_type_object_force_link_analysis_plugin(void) {}
#endif

typedef tidemill_plugin_types_columns_t columns_t;
typedef tidemill_plugin_types_batch_t batch_t;
typedef tidemill_plugin_types_failure_t failure_t;

enum { KINDS = 6, SHAPES = 3, COLUMNS = 1 + SHAPES * KINDS };
enum { INT64, FLOAT64, BOOLEAN, TEXT_KIND, BYTES, JSON };
enum { ONE, MANY, ENTRIES };
// The columns of shape one by their place in the subscription.
enum { TIMESTAMP, NUMBER, FLOAT, FLAG, TEXT, BLOB, VALUE };

static const char *const KIND_NAMES[KINDS] = {"int64", "float64", "boolean", "text", "bytes", "json"};
static const char *const SHAPE_NAMES[SHAPES] = {"one", "many", "entries"};

// Bytes that grow.
typedef struct {
  uint8_t *data;
  size_t len, capacity;
} buffer_t;

static void put(buffer_t *out, const void *bytes, size_t len) {
  if (len == 0) return;
  if (out->len + len > out->capacity) {
    out->capacity = 2 * (out->len + len);
    out->data = realloc(out->data, out->capacity);
    if (out->data == NULL) abort();
  }
  memcpy(out->data + out->len, bytes, len);
  out->len += len;
}

static void put_byte(buffer_t *out, uint8_t byte) { put(out, &byte, 1); }
static void put_string(buffer_t *out, const char *string) { put(out, string, strlen(string)); }
static void put_word(buffer_t *out, uint32_t word) { put(out, &word, sizeof word); }

static void put_unsigned(buffer_t *out, uint64_t value) {
  char digits[20];
  size_t at = sizeof digits;
  do digits[--at] = (char)('0' + value % 10);
  while (value /= 10);
  put(out, digits + at, sizeof digits - at);
}

static void put_signed(buffer_t *out, int64_t value) {
  if (value < 0) put_byte(out, '-');
  put_unsigned(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

static void put_hexadecimal(buffer_t *out, uint8_t byte) {
  put_byte(out, (uint8_t)"0123456789abcdef"[byte >> 4]);
  put_byte(out, (uint8_t)"0123456789abcdef"[byte & 15]);
}

// What was written, as a list or text of an answer; the bindings free it after the call.
static list_t as_list(buffer_t buffer) { return (list_t){buffer.data, buffer.len}; }
static text_t as_text(buffer_t buffer) { return (text_t){buffer.data, buffer.len}; }

static text_t text_of(const char *string) {
  buffer_t out = {0};
  put_string(&out, string);
  return as_text(out);
}

static void *array(size_t count, size_t size) {
  void *made = calloc(count ? count : 1, size);
  if (made == NULL) abort();
  return made;
}

static int kind_of(size_t column) { return column == TIMESTAMP ? INT64 : (int)((column - 1) % KINDS); }
static int shape_of(size_t column) { return column == TIMESTAMP ? ONE : (int)((column - 1) / KINDS); }

static tidemill_plugin_types_column_request_t request(size_t column) {
  buffer_t path = {0};
  if (column == TIMESTAMP) {
    put_string(&path, "Timestamp");
  } else {
    put_byte(&path, '/');
    put_string(&path, SHAPE_NAMES[shape_of(column)]);
    put_byte(&path, '/');
    put_string(&path, KIND_NAMES[kind_of(column)]);
  }
  return (tidemill_plugin_types_column_request_t){
      as_text(path), (uint8_t)kind_of(column), (uint8_t)shape_of(column), column == TIMESTAMP};
}

static bool subscribe(const text_t *config, uint8_t scope, tidemill_plugin_types_subscription_t *out, failure_t *failure) {
  if (config->len != 2 || memcmp(config->ptr, "{}", 2) != 0) {
    buffer_t text = {0};
    put_string(&text, "no such configuration: ");
    put(&text, config->ptr, config->len);
    *failure = (failure_t){7, as_text(text)};
    return false;
  }
  tidemill_plugin_types_column_request_t *requests = array(COLUMNS, sizeof *requests);
  for (size_t column = 0; column < COLUMNS; column++) requests[column] = request(column);
  *out = (tidemill_plugin_types_subscription_t){text_of("Type == 'conformance'"), {requests, COLUMNS}, scope, 0};
  return true;
}

// What every call does first.
static bool begin(const batch_t *batch, failure_t *failure) {
  buffer_t line = {0};
  put_unsigned(&line, batch->rows);
  put_string(&line, " rows ⊕");
  text_t text = as_text(line), name = {(uint8_t *)"rows", 4};
  tidemill_plugin_host_log(TIDEMILL_PLUGIN_HOST_LEVEL_WARN, &text);
  free(line.data);
  tidemill_plugin_host_metric_add(&name, batch->rows + 0.125);
  if (batch->partition == 13) *failure = (failure_t){UINT32_MAX, text_of("partition 13")};
  return batch->partition != 13;
}

// Where a column lies: its first cell (in its list, or for the arena its first offset), the first offset of its keys, its first span.
typedef struct {
  size_t first, keys, span;
} place_t;

typedef struct {
  const columns_t *columns;
  size_t rows, validity;
  place_t places[COLUMNS];
} rows_t;

static uint32_t word(list_t list, size_t at) {
  uint32_t value;
  memcpy(&value, list.ptr + 4 * at, sizeof value);
  return value;
}

static uint64_t eight(list_t list, size_t at) {
  uint64_t value;
  memcpy(&value, list.ptr + 8 * at, sizeof value);
  return value;
}

static size_t take(size_t *at, size_t count) {
  size_t before = *at;
  *at += count;
  return before;
}

static rows_t rows_of(const batch_t *batch) {
  rows_t rows = {.columns = &batch->columns, .rows = batch->rows};
  size_t fixed[3] = {0}, spans = 0, offsets = 0;
  for (size_t column = 0; column < COLUMNS; column++) {
    int kind = kind_of(column), shape = shape_of(column);
    place_t *place = &rows.places[column];
    place->span = take(&spans, shape == ONE ? 0 : rows.rows + 1);
    size_t cells = shape == ONE ? rows.rows : word(batch->columns.spans, place->span + rows.rows);
    place->keys = take(&offsets, shape == ENTRIES ? cells + 1 : 0);
    place->first = kind <= BOOLEAN ? take(&fixed[kind], cells) : take(&offsets, cells + 1);
  }
  rows.validity = fixed[BOOLEAN];
  return rows;
}

static bool is_null(const rows_t *rows, size_t column, size_t row) {
  return rows->columns->bits.ptr[rows->validity + column * rows->rows + row] == 0;
}

static int64_t int64_at(const rows_t *rows, size_t column, size_t row) {
  return (int64_t)eight(rows->columns->int64s, rows->places[column].first + row);
}

static double float64_at(const rows_t *rows, size_t column, size_t row) {
  uint64_t bits = eight(rows->columns->float64s, rows->places[column].first + row);
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static bool boolean_at(const rows_t *rows, size_t column, size_t row) {
  return rows->columns->bits.ptr[rows->places[column].first + row] == 1;
}

// A cell of the arena by its offset.
static list_t arena(const rows_t *rows, size_t at) {
  uint32_t start = word(rows->columns->offsets, at), end = word(rows->columns->offsets, at + 1);
  return (list_t){rows->columns->arena.ptr + start, end - start};
}

static list_t bytes_at(const rows_t *rows, size_t column, size_t row) { return arena(rows, rows->places[column].first + row); }

static bool is_least(const rows_t *rows, size_t row) {
  return !is_null(rows, NUMBER, row) && int64_at(rows, NUMBER, row) == INT64_MIN;
}

static void put_quoted(buffer_t *out, list_t text) {
  put_byte(out, '"');
  put(out, text.ptr, text.len);
  put_byte(out, '"');
}

static void put_cell(buffer_t *out, const rows_t *rows, int kind, size_t at) {
  const columns_t *columns = rows->columns;
  if (kind == INT64) {
    put_signed(out, (int64_t)eight(columns->int64s, at));
  } else if (kind == FLOAT64) {
    uint64_t bits = eight(columns->float64s, at);
    for (int shift = 56; shift >= 0; shift -= 8) put_hexadecimal(out, (uint8_t)(bits >> shift));
  } else if (kind == BOOLEAN) {
    put_string(out, columns->bits.ptr[at] == 1 ? "true" : "false");
  } else if (kind == TEXT_KIND) {
    put_quoted(out, arena(rows, at));
  } else if (kind == BYTES) {
    list_t bytes = arena(rows, at);
    for (size_t byte = 0; byte < bytes.len; byte++) put_hexadecimal(out, bytes.ptr[byte]);
  } else {
    list_t json = arena(rows, at);
    put(out, json.ptr, json.len);
  }
}

static void put_run(buffer_t *out, const rows_t *rows, size_t column, size_t row) {
  const place_t *place = &rows->places[column];
  bool has_keys = shape_of(column) == ENTRIES;
  uint32_t start = word(rows->columns->spans, place->span + row), end = word(rows->columns->spans, place->span + row + 1);
  put_byte(out, has_keys ? '{' : '[');
  for (uint32_t at = start; at < end; at++) {
    if (at > start) put_byte(out, ',');
    if (has_keys) {
      put_quoted(out, arena(rows, place->keys + at));
      put_byte(out, ':');
    }
    put_cell(out, rows, kind_of(column), place->first + at);
  }
  put_byte(out, has_keys ? '}' : ']');
}

// All columns of a row as text.
static void put_line(buffer_t *out, const rows_t *rows, size_t row) {
  for (size_t column = 0; column < COLUMNS; column++) {
    if (column > 0) put_byte(out, ';');
    if (is_null(rows, column, row)) {
      put_string(out, "null");
    } else if (shape_of(column) == ONE) {
      put_cell(out, rows, kind_of(column), rows->places[column].first + row);
    } else {
      put_run(out, rows, column, row);
    }
  }
}

#endif
