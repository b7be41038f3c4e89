// Package rows reads a batch, for both kinds.
package rows

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"unsafe"

	"conformance/abi"
)

// Kinds and shapes by their number in the contract.
const (
	Int64 uint8 = iota
	Float64
	Boolean
	Text
	Bytes
	JSON
)

const (
	one uint8 = iota
	many
	entries
)

var (
	kindNames  = []string{"int64", "float64", "boolean", "text", "bytes", "json"}
	shapeNames = []string{"one", "many", "entries"}
)

// The columns of shape one by their place in the subscription.
const (
	Timestamp = iota
	NumberColumn
	FloatColumn
	FlagColumn
	TextColumn
	BlobColumn
	ValueColumn
	columnCount = 1 + 3*6
)

// Request and Subscription lie in memory as the contract's column-request and subscription.
type Request struct {
	path        abi.List
	kind, shape uint8
	required    bool
}

type Subscription struct {
	matcher, columns abi.List
	scope            uint8
	tickMs           uint32
}

func kindAndShape(column int) (uint8, uint8) {
	if column == Timestamp {
		return Int64, one
	}
	return uint8((column - 1) % 6), uint8((column - 1) / 6)
}

// Subscribe answers open, or is the refusal.
func Subscribe(config []byte, scope uint8) (Subscription, unsafe.Pointer) {
	abi.Begin()
	defer abi.End()
	if string(config) != "{}" {
		return Subscription{}, abi.Fail(7, "no such configuration: "+string(config))
	}
	requests := []Request{{abi.Text("Timestamp"), Int64, one, true}}
	for column := 1; column < columnCount; column++ {
		kind, shape := kindAndShape(column)
		path := "/" + shapeNames[shape] + "/" + kindNames[kind]
		requests = append(requests, Request{abi.Text(path), kind, shape, false})
	}
	return Subscription{abi.Text("Type == 'conformance'"), abi.Of(requests), scope, 0}, nil
}

// Rows are the rows of a batch.
type Rows struct {
	Count                                         int
	int64s, float64s, bits, spans, offsets, arena []byte
	places                                        [columnCount]place
	validity                                      int
}

// Where a column lies: its first cell (in its list, or for the arena its first offset), the first offset of its keys, its first span.
type place struct {
	kind, shape       uint8
	first, keys, span int
}

// Begin is what every call does first: the rows, or the refusal.
func Begin(partition, count uint32, int64s, float64s, bits, spans, offsets, arena []byte) (*Rows, unsafe.Pointer) {
	abi.Begin()
	abi.Warn(strconv.Itoa(int(count)) + " rows ⊕")
	abi.MetricAdd("rows", float64(count)+0.125)
	if partition == 13 {
		return nil, abi.Fail(math.MaxUint32, "partition 13")
	}
	rows := &Rows{Count: int(count), int64s: int64s, float64s: float64s, bits: bits, spans: spans, offsets: offsets, arena: arena}
	rows.lay()
	return rows, nil
}

func (rows *Rows) lay() {
	var fixed [3]int
	spans, offsets := 0, 0
	take := func(at *int, count int) int {
		before := *at
		*at += count
		return before
	}
	for column := range rows.places {
		kind, shape := kindAndShape(column)
		at := place{kind: kind, shape: shape}
		cells := rows.Count
		if shape != one {
			at.span = take(&spans, rows.Count+1)
			cells = word(rows.spans, at.span+rows.Count)
		}
		if shape == entries {
			at.keys = take(&offsets, cells+1)
		}
		if kind <= Boolean {
			at.first = take(&fixed[kind], cells)
		} else {
			at.first = take(&offsets, cells+1)
		}
		rows.places[column] = at
	}
	rows.validity = fixed[Boolean]
}

func word(list []byte, at int) int { return int(binary.LittleEndian.Uint32(list[4*at:])) }

func eight(list []byte, at int) uint64 { return binary.LittleEndian.Uint64(list[8*at:]) }

func (rows *Rows) blob(at int) []byte {
	return rows.arena[word(rows.offsets, at):word(rows.offsets, at+1)]
}

// Has is whether a column is not null.
func (rows *Rows) Has(column, row int) bool {
	return rows.bits[rows.validity+column*rows.Count+row] == 1
}

// Int64 and the others are cells of columns of shape one.
func (rows *Rows) Int64(column, row int) int64 {
	return int64(eight(rows.int64s, rows.places[column].first+row))
}

func (rows *Rows) Float64(column, row int) float64 {
	return math.Float64frombits(eight(rows.float64s, rows.places[column].first+row))
}

func (rows *Rows) Flag(row int) bool { return rows.bits[rows.places[FlagColumn].first+row] == 1 }

func (rows *Rows) Blob(column, row int) []byte { return rows.blob(rows.places[column].first + row) }

func (rows *Rows) Text(row int) string { return string(rows.Blob(TextColumn, row)) }

func (rows *Rows) IsLeast(row int) bool {
	return rows.Has(NumberColumn, row) && rows.Int64(NumberColumn, row) == math.MinInt64
}

// Line is all columns of a row as text.
func (rows *Rows) Line(row int) string {
	cells := make([]string, columnCount)
	for column := range cells {
		cells[column] = rows.value(column, row)
	}
	return strings.Join(cells, ";")
}

func (rows *Rows) value(column, row int) string {
	at := rows.places[column]
	if !rows.Has(column, row) {
		return "null"
	}
	if at.shape == one {
		return rows.cell(at.kind, at.first+row)
	}
	var cells []string
	for cell := word(rows.spans, at.span+row); cell < word(rows.spans, at.span+row+1); cell++ {
		text := rows.cell(at.kind, at.first+cell)
		if at.shape == entries {
			text = `"` + string(rows.blob(at.keys+cell)) + `":` + text
		}
		cells = append(cells, text)
	}
	if at.shape == entries {
		return "{" + strings.Join(cells, ",") + "}"
	}
	return "[" + strings.Join(cells, ",") + "]"
}

func (rows *Rows) cell(kind uint8, at int) string {
	switch kind {
	case Int64:
		return strconv.FormatInt(int64(eight(rows.int64s, at)), 10)
	case Float64:
		return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, eight(rows.float64s, at)))
	case Boolean:
		return strconv.FormatBool(rows.bits[at] == 1)
	case Text:
		return `"` + string(rows.blob(at)) + `"`
	case Bytes:
		return hex.EncodeToString(rows.blob(at))
	default:
		return string(rows.blob(at))
	}
}
