// The conformance analysis guest; ../../README.md says what it does.
package main

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
	"unsafe"

	"conformance/abi"
	"conformance/rows"
)

// The types below lie in memory as the contract's records of these names; subscription and findings as results that are well.
type subscription struct {
	isError uint8
	value   rows.Subscription
}

type graph struct {
	title               abi.List
	rows, secondsPerRow uint32
}

type graphColumn struct {
	graph       uint32
	name, unit  abi.List
	aggregation uint8
}

type alertRule struct {
	graph, column         uint32
	id                    abi.List
	test                  uint8
	threshold             float64
	windowRows, throttleS uint32
}

type payload struct{ name, mediaType, data abi.List }

type alert struct {
	row                 uint32
	id, summary, detail abi.List
	throttleS           uint32
}

type findings struct {
	isError                         uint8
	messages                        [4]abi.List // row, keys, offsets, arena
	newGraphs, newColumns, newRules abi.List
	cells                           [4]abi.List // graph, column, time-s, value
	payloads, alerts                abi.List
}

//go:wasmexport tidemill:plugin/analysis@0.1.0#open
func open(config unsafe.Pointer, length uint32) unsafe.Pointer {
	const partition = 1
	value, refusal := rows.Subscribe(abi.Bytes(config, length), partition)
	if refusal != nil {
		return refusal
	}
	return abi.Keep(&subscription{0, value})
}

//go:wasmexport tidemill:plugin/analysis@0.1.0#process
func process(partition, count uint32, nowMs int64, int64s unsafe.Pointer, int64sLen uint32, float64s unsafe.Pointer, float64sLen uint32,
	bits unsafe.Pointer, bitsLen uint32, spans unsafe.Pointer, spansLen uint32, offsets unsafe.Pointer, offsetsLen uint32,
	arena unsafe.Pointer, arenaLen uint32) unsafe.Pointer {
	defer abi.End()
	input, refusal := rows.Begin(partition, count, abi.Bytes(int64s, int64sLen), abi.Bytes(float64s, float64sLen),
		abi.Bytes(bits, bitsLen), abi.Bytes(spans, spansLen), abi.Bytes(offsets, offsetsLen), abi.Bytes(arena, arenaLen))
	if refusal != nil {
		return refusal
	}
	head := strconv.Itoa(int(partition)) + " " + strconv.FormatInt(nowMs, 10) + " " + strconv.Itoa(int(count)) + "\n"
	answer := findings{messages: messages(input), cells: cells(input), alerts: alerts(input), payloads: payloads(input, head)}
	declare(&answer)
	return abi.Keep(&answer)
}

func declare(answer *findings) {
	const sum, least, most = 0, 1, 2
	const inactive, above, below, percentChange = 0, 1, 2, 3
	answer.newGraphs = abi.Of([]graph{{abi.Text("numbers ⊕"), 1440, 60}, {abi.Text("rows"), 11520, 1}})
	answer.newColumns = abi.Of([]graphColumn{
		{0, abi.Text("int64"), abi.Text("count"), sum},
		{0, abi.Text("float64"), abi.Text("ms"), least},
		{1, abi.Text("rows"), abi.Text(""), most},
	})
	answer.newRules = abi.Of([]alertRule{
		{0, 0, abi.Text("inactive"), inactive, 0.0, 5, 60},
		{0, 1, abi.Text("above"), above, 0.1, 1440, math.MaxUint32},
		// A constant cannot be minus zero.
		{0, 1, abi.Text("below"), below, math.Copysign(0, -1), 1, 0},
		{1, 0, abi.Text("percent"), percentChange, 1e300, 11520, 1},
	})
}

func messages(input *rows.Rows) [4]abi.List {
	var numbers []uint32
	var keys []abi.List
	var arena []byte
	offsets := []uint32{0}
	for row := range input.Count {
		if !input.Has(rows.TextColumn, row) {
			continue
		}
		numbers = append(numbers, uint32(row))
		keys = append(keys, abi.Text(input.Text(row)))
		arena = appendMessage(arena, input, row)
		offsets = append(offsets, uint32(len(arena)))
	}
	return [4]abi.List{abi.Of(numbers), abi.Of(keys), abi.Of(offsets), abi.Of(arena)}
}

// A Heka message: Uuid is field 1, Timestamp 2, Type 3, Payload 6.
func appendMessage(out []byte, input *rows.Rows, row int) []byte {
	out = appendBytes(out, 0x0a, bytes.Repeat([]byte{byte(row)}, 16))
	out = binary.AppendUvarint(append(out, 0x10), uint64(input.Int64(rows.Timestamp, row)))
	out = appendBytes(out, 0x1a, []byte("conformance"))
	return appendBytes(out, 0x32, []byte(input.Line(row)))
}

func appendBytes(out []byte, tag byte, value []byte) []byte {
	out = binary.AppendUvarint(append(out, tag), uint64(len(value)))
	return append(out, value...)
}

func cells(input *rows.Rows) [4]abi.List {
	var graphs, columns, times []uint32
	var values []float64
	for row := range input.Count {
		time := uint32(uint64(input.Int64(rows.Timestamp, row)) / 1_000_000_000)
		add := func(graph, column uint32, value float64) {
			graphs, columns, times, values = append(graphs, graph), append(columns, column), append(times, time), append(values, value)
		}
		if input.Has(rows.NumberColumn, row) {
			add(0, 0, float64(input.Int64(rows.NumberColumn, row)))
		}
		if input.Has(rows.FloatColumn, row) {
			add(0, 1, input.Float64(rows.FloatColumn, row))
		}
		add(1, 0, 1)
	}
	return [4]abi.List{abi.Of(graphs), abi.Of(columns), abi.Of(times), abi.Of(values)}
}

func payloads(input *rows.Rows, head string) abi.List {
	data := []byte(head)
	for row := range input.Count {
		data = append(append(data, input.Line(row)...), '\n')
	}
	return abi.Of([]payload{{abi.Text("rows ⊕"), abi.Text("text/plain"), abi.Of(data)}})
}

func alerts(input *rows.Rows) abi.List {
	var found []alert
	for row := range input.Count {
		if input.IsLeast(row) {
			found = append(found, alert{uint32(row), abi.Text("least"), abi.Text(input.Text(row)), abi.Text(input.Line(row)), math.MaxUint32})
		}
	}
	return abi.Of(found)
}

func main() {}
