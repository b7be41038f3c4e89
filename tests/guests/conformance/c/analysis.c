// The conformance analysis guest; ../README.md says what it does.
#include "bindings/analysis_plugin.h"
#include "rows.h"

typedef tidemill_plugin_types_findings_t findings_t;

bool exports_tidemill_plugin_analysis_open(text_t *config, tidemill_plugin_types_subscription_t *ret, failure_t *err) {
  return subscribe(config, TIDEMILL_PLUGIN_TYPES_SCOPE_PARTITION, ret, err);
}

static text_t line_of(const rows_t *rows, size_t row) {
  buffer_t line = {0};
  put_line(&line, rows, row);
  return as_text(line);
}

static text_t own_text(const rows_t *rows, size_t row) {
  list_t own = bytes_at(rows, TEXT, row);
  buffer_t text = {0};
  put(&text, own.ptr, own.len);
  return as_text(text);
}

static void put_varint(buffer_t *out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) put_byte(out, (uint8_t)(value | 0x80));
  put_byte(out, (uint8_t)value);
}

static void put_bytes(buffer_t *out, uint8_t tag, const void *bytes, size_t len) {
  put_byte(out, tag);
  put_varint(out, len);
  put(out, bytes, len);
}

// A Heka message: Uuid is field 1, Timestamp 2, Type 3, Payload 6.
static void put_message(buffer_t *out, const rows_t *rows, size_t row) {
  uint8_t uuid[16];
  memset(uuid, (uint8_t)row, sizeof uuid);
  put_bytes(out, 0x0a, uuid, sizeof uuid);
  put_byte(out, 0x10);
  put_varint(out, (uint64_t)int64_at(rows, TIMESTAMP, row));
  put_bytes(out, 0x1a, "conformance", 11);
  text_t line = line_of(rows, row);
  put_bytes(out, 0x32, line.ptr, line.len);
  free(line.ptr);
}

static void set_messages(findings_t *out, const rows_t *rows) {
  buffer_t row_numbers = {0}, offsets = {0}, arena = {0};
  text_t *keys = array(rows->rows, sizeof *keys);
  size_t count = 0;
  put_word(&offsets, 0);
  for (size_t row = 0; row < rows->rows; row++) {
    if (is_null(rows, TEXT, row)) continue;
    put_word(&row_numbers, row);
    keys[count++] = own_text(rows, row);
    put_message(&arena, rows, row);
    put_word(&offsets, arena.len);
  }
  if (count == 0) free(keys);
  out->messages.row.ptr = (uint32_t *)row_numbers.data, out->messages.row.len = count;
  out->messages.keys.ptr = keys, out->messages.keys.len = count;
  out->messages.offsets.ptr = (uint32_t *)offsets.data, out->messages.offsets.len = count + 1;
  out->messages.arena = as_list(arena);
}

static void set_graphs(findings_t *out) {
  tidemill_plugin_types_graph_t *graphs = array(2, sizeof *graphs);
  graphs[0] = (tidemill_plugin_types_graph_t){text_of("numbers ⊕"), 1440, 60};
  graphs[1] = (tidemill_plugin_types_graph_t){text_of("rows"), 11520, 1};
  out->new_graphs.ptr = graphs, out->new_graphs.len = 2;
  tidemill_plugin_types_graph_column_t *columns = array(3, sizeof *columns);
  columns[0] = (tidemill_plugin_types_graph_column_t){0, text_of("int64"), text_of("count"), TIDEMILL_PLUGIN_TYPES_AGGREGATION_SUM};
  columns[1] = (tidemill_plugin_types_graph_column_t){0, text_of("float64"), text_of("ms"), TIDEMILL_PLUGIN_TYPES_AGGREGATION_MIN};
  columns[2] = (tidemill_plugin_types_graph_column_t){1, text_of("rows"), text_of(""), TIDEMILL_PLUGIN_TYPES_AGGREGATION_MAX};
  out->new_columns.ptr = columns, out->new_columns.len = 3;
}

static void set_rules(findings_t *out) {
  typedef tidemill_plugin_types_alert_rule_t rule_t;
  rule_t *rules = array(4, sizeof *rules);
  rules[0] = (rule_t){0, 0, text_of("inactive"), TIDEMILL_PLUGIN_TYPES_ALERT_TEST_INACTIVE, 0.0, 5, 60};
  rules[1] = (rule_t){0, 1, text_of("above"), TIDEMILL_PLUGIN_TYPES_ALERT_TEST_ABOVE, 0.1, 1440, UINT32_MAX};
  rules[2] = (rule_t){0, 1, text_of("below"), TIDEMILL_PLUGIN_TYPES_ALERT_TEST_BELOW, -0.0, 1, 0};
  rules[3] = (rule_t){1, 0, text_of("percent"), TIDEMILL_PLUGIN_TYPES_ALERT_TEST_PERCENT_CHANGE, 1e300, 11520, 1};
  out->new_rules.ptr = rules, out->new_rules.len = 4;
}

static void add_cell(findings_t *out, uint32_t graph, uint32_t column, uint32_t time_s, double value) {
  size_t at = out->cells.graph.len++;
  out->cells.column.len++, out->cells.time_s.len++, out->cells.value.len++;
  out->cells.graph.ptr[at] = graph;
  out->cells.column.ptr[at] = column;
  out->cells.time_s.ptr[at] = time_s;
  out->cells.value.ptr[at] = value;
}

static void set_cells(findings_t *out, const rows_t *rows) {
  size_t most = 3 * rows->rows;
  out->cells.graph.ptr = array(most, sizeof(uint32_t));
  out->cells.column.ptr = array(most, sizeof(uint32_t));
  out->cells.time_s.ptr = array(most, sizeof(uint32_t));
  out->cells.value.ptr = array(most, sizeof(double));
  for (size_t row = 0; row < rows->rows; row++) {
    uint32_t time_s = (uint32_t)((uint64_t)int64_at(rows, TIMESTAMP, row) / 1000000000);
    if (!is_null(rows, NUMBER, row)) add_cell(out, 0, 0, time_s, (double)int64_at(rows, NUMBER, row));
    if (!is_null(rows, FLOAT, row)) add_cell(out, 0, 1, time_s, float64_at(rows, FLOAT, row));
    add_cell(out, 1, 0, time_s, 1.0);
  }
}

static void set_payload(findings_t *out, const rows_t *rows, const batch_t *batch) {
  buffer_t data = {0};
  put_unsigned(&data, batch->partition);
  put_byte(&data, ' ');
  put_signed(&data, batch->now_ms);
  put_byte(&data, ' ');
  put_unsigned(&data, batch->rows);
  put_byte(&data, '\n');
  for (size_t row = 0; row < rows->rows; row++) {
    put_line(&data, rows, row);
    put_byte(&data, '\n');
  }
  tidemill_plugin_types_payload_t *payload = array(1, sizeof *payload);
  *payload = (tidemill_plugin_types_payload_t){text_of("rows ⊕"), text_of("text/plain"), as_list(data)};
  out->payloads.ptr = payload, out->payloads.len = 1;
}

static void set_alerts(findings_t *out, const rows_t *rows) {
  tidemill_plugin_types_alert_t *alerts = array(rows->rows, sizeof *alerts);
  size_t count = 0;
  for (size_t row = 0; row < rows->rows; row++) {
    if (!is_least(rows, row)) continue;
    alerts[count++] = (tidemill_plugin_types_alert_t){row, text_of("least"), own_text(rows, row), line_of(rows, row), UINT32_MAX};
  }
  if (count == 0) free(alerts);
  out->alerts.ptr = alerts, out->alerts.len = count;
}

bool exports_tidemill_plugin_analysis_process(batch_t *input, findings_t *ret, failure_t *err) {
  if (!begin(input, err)) return false;
  rows_t rows = rows_of(input);
  memset(ret, 0, sizeof *ret);
  set_messages(ret, &rows);
  set_graphs(ret);
  set_rules(ret);
  set_cells(ret, &rows);
  set_payload(ret, &rows, input);
  set_alerts(ret, &rows);
  tidemill_plugin_types_batch_free(input);
  return true;
}
