// The conformance decoder; ../README.md says what it does.
#include "bindings/decoder_plugin.h"
#include "rows.h"

typedef tidemill_plugin_types_field_t field_t;
typedef tidemill_plugin_types_list_section_t sections_t;

static field_t field(const char *name, uint8_t kind, const char *representation) {
  return (field_t){text_of(name), kind, text_of(representation)};
}

bool exports_tidemill_plugin_decoder_open(text_t *config, tidemill_plugin_types_decoder_plan_t *ret, failure_t *err) {
  if (!subscribe(config, TIDEMILL_PLUGIN_TYPES_SCOPE_STATELESS, &ret->subscription, err)) return false;
  field_t *fields = array(6, sizeof *fields);
  fields[0] = field("doubled", INT64, "count");
  fields[1] = field("negated", FLOAT64, "ms");
  fields[2] = field("inverted", BOOLEAN, "");
  fields[3] = field("row", TEXT_KIND, "text/plain");
  fields[4] = field("reversed", BYTES, "B");
  fields[5] = field("same", JSON, "json");
  tidemill_plugin_types_section_t *sections = array(2, sizeof *sections);
  sections[0] = (tidemill_plugin_types_section_t){text_of("/one"), TIDEMILL_PLUGIN_TYPES_FATE_OWN_FIELD};
  sections[1] = (tidemill_plugin_types_section_t){text_of("/many/json"), TIDEMILL_PLUGIN_TYPES_FATE_DROP};
  sections_t *plans = array(2, sizeof *plans);
  plans[1] = (sections_t){sections, 2};
  ret->fields.ptr = fields, ret->fields.len = 6;
  ret->section_plans.ptr = plans, ret->section_plans.len = 2;
  return true;
}

static void put_fixed(const rows_t *rows, buffer_t *int64s, buffer_t *float64s, buffer_t *bits) {
  for (size_t row = 0; row < rows->rows; row++) {
    uint64_t doubled = is_null(rows, NUMBER, row) ? 0 : 2 * (uint64_t)int64_at(rows, NUMBER, row);
    double negated = is_null(rows, FLOAT, row) ? 0.0 : -float64_at(rows, FLOAT, row);
    put(int64s, &doubled, sizeof doubled);
    put(float64s, &negated, sizeof negated);
    put_byte(bits, !is_null(rows, FLAG, row) && !boolean_at(rows, FLAG, row));
  }
}

static void put_validity(const rows_t *rows, buffer_t *bits) {
  // The line has none: it is never null.
  static const int COLUMN_OF[6] = {NUMBER, FLOAT, FLAG, -1, BLOB, VALUE};
  for (size_t field = 0; field < 6; field++) {
    for (size_t row = 0; row < rows->rows; row++) {
      put_byte(bits, COLUMN_OF[field] < 0 || !is_null(rows, (size_t)COLUMN_OF[field], row));
    }
  }
}

static void put_arena(const rows_t *rows, buffer_t *offsets, buffer_t *arena) {
  put_word(offsets, 0);
  for (size_t row = 0; row < rows->rows; row++) {
    put_line(arena, rows, row);
    put_word(offsets, arena->len);
  }
  put_word(offsets, arena->len);
  for (size_t row = 0; row < rows->rows; row++) {
    list_t blob = bytes_at(rows, BLOB, row);
    for (size_t left = blob.len; left > 0; left--) put_byte(arena, blob.ptr[left - 1]);
    put_word(offsets, arena->len);
  }
  put_word(offsets, arena->len);
  for (size_t row = 0; row < rows->rows; row++) {
    list_t value = bytes_at(rows, VALUE, row);
    put(arena, value.ptr, value.len);
    put_word(offsets, arena->len);
  }
}

static tidemill_plugin_types_rejection_t reject(const rows_t *rows, size_t row) {
  buffer_t text = {0};
  list_t own = bytes_at(rows, TEXT, row);
  put_string(&text, "least: ");
  put(&text, own.ptr, own.len);
  return (tidemill_plugin_types_rejection_t){row, UINT32_MAX, as_text(text)};
}

bool exports_tidemill_plugin_decoder_decode(batch_t *input, tidemill_plugin_types_decoded_t *ret, failure_t *err) {
  if (!begin(input, err)) return false;
  rows_t rows = rows_of(input);
  buffer_t int64s = {0}, float64s = {0}, bits = {0}, offsets = {0}, arena = {0}, plan_of = {0};
  put_fixed(&rows, &int64s, &float64s, &bits);
  put_validity(&rows, &bits);
  put_arena(&rows, &offsets, &arena);
  tidemill_plugin_types_rejection_t *rejections = array(rows.rows, sizeof *rejections);
  size_t rejected = 0;
  for (size_t row = 0; row < rows.rows; row++) {
    put_byte(&plan_of, row % 2);
    if (is_least(&rows, row)) rejections[rejected++] = reject(&rows, row);
  }
  ret->columns = (columns_t){as_list(int64s), as_list(float64s), as_list(bits), {NULL, 0}, as_list(offsets), as_list(arena)};
  ret->plan_of = as_list(plan_of);
  ret->rejections.ptr = rejections, ret->rejections.len = rejected;
  if (rejected == 0) free(rejections);
  tidemill_plugin_types_batch_free(input);
  return true;
}
