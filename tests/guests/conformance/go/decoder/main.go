// The conformance decoder; ../../README.md says what it does.
package main

import (
	"encoding/binary"
	"math"
	"slices"
	"unsafe"

	"conformance/abi"
	"conformance/rows"
)

// The types below lie in memory as the contract's records of these names; plan and decoded as results that are well.
type field struct {
	name           abi.List
	kind           uint8
	representation abi.List
}

type section struct {
	path abi.List
	fate uint8
}

type decoderPlan struct {
	isError              uint8
	subscription         rows.Subscription
	fields, sectionPlans abi.List
}

type rejection struct {
	row, code uint32
	text      abi.List
}

type decoded struct {
	isError                                       uint8
	int64s, float64s, bits, spans, offsets, arena abi.List
	planOf, rejections                            abi.List
}

//go:wasmexport tidemill:plugin/decoder@0.1.0#open
func open(config unsafe.Pointer, length uint32) unsafe.Pointer {
	const stateless, ownField, drop = 0, 0, 1
	subscription, refusal := rows.Subscribe(abi.Bytes(config, length), stateless)
	if refusal != nil {
		return refusal
	}
	fields := []field{
		{abi.Text("doubled"), rows.Int64, abi.Text("count")},
		{abi.Text("negated"), rows.Float64, abi.Text("ms")},
		{abi.Text("inverted"), rows.Boolean, abi.Text("")},
		{abi.Text("row"), rows.Text, abi.Text("text/plain")},
		{abi.Text("reversed"), rows.Bytes, abi.Text("B")},
		{abi.Text("same"), rows.JSON, abi.Text("json")},
	}
	sections := []section{{abi.Text("/one"), ownField}, {abi.Text("/many/json"), drop}}
	plans := []abi.List{abi.Of[section](nil), abi.Of(sections)}
	return abi.Keep(&decoderPlan{0, subscription, abi.Of(fields), abi.Of(plans)})
}

//go:wasmexport tidemill:plugin/decoder@0.1.0#decode
func decode(partition, count uint32, _ int64, int64s unsafe.Pointer, int64sLen uint32, float64s unsafe.Pointer, float64sLen uint32,
	bits unsafe.Pointer, bitsLen uint32, spans unsafe.Pointer, spansLen uint32, offsets unsafe.Pointer, offsetsLen uint32,
	arena unsafe.Pointer, arenaLen uint32) unsafe.Pointer {
	defer abi.End()
	input, refusal := rows.Begin(partition, count, abi.Bytes(int64s, int64sLen), abi.Bytes(float64s, float64sLen),
		abi.Bytes(bits, bitsLen), abi.Bytes(spans, spansLen), abi.Bytes(offsets, offsetsLen), abi.Bytes(arena, arenaLen))
	if refusal != nil {
		return refusal
	}
	answer := columns(input)
	planOf, rejections := []byte{}, []rejection{}
	for row := range input.Count {
		planOf = append(planOf, byte(row%2))
		if input.IsLeast(row) {
			rejections = append(rejections, rejection{uint32(row), math.MaxUint32, abi.Text("least: " + input.Text(row))})
		}
	}
	answer.planOf, answer.rejections = abi.Of(planOf), abi.Of(rejections)
	return abi.Keep(&answer)
}

func columns(input *rows.Rows) decoded {
	var doubled, negated, bits []byte
	var arena blobs
	for row := range input.Count {
		number, float, flag := uint64(0), 0.0, byte(0)
		if input.Has(rows.NumberColumn, row) {
			number = 2 * uint64(input.Int64(rows.NumberColumn, row))
		}
		if input.Has(rows.FloatColumn, row) {
			float = -input.Float64(rows.FloatColumn, row)
		}
		if input.Has(rows.FlagColumn, row) && !input.Flag(row) {
			flag = 1
		}
		doubled = binary.LittleEndian.AppendUint64(doubled, number)
		negated = binary.LittleEndian.AppendUint64(negated, math.Float64bits(float))
		bits = append(bits, flag)
	}
	bits = append(bits, validity(input)...)
	arena.column(input.Count, func(row int) []byte { return []byte(input.Line(row)) })
	arena.column(input.Count, func(row int) []byte {
		blob := slices.Clone(input.Blob(rows.BlobColumn, row))
		slices.Reverse(blob)
		return blob
	})
	arena.column(input.Count, func(row int) []byte { return input.Blob(rows.ValueColumn, row) })
	return decoded{
		int64s: abi.Of(doubled), float64s: abi.Of(negated), bits: abi.Of(bits), spans: abi.Of[byte](nil),
		offsets: abi.Of(arena.offsets), arena: abi.Of(arena.bytes),
	}
}

func validity(input *rows.Rows) []byte {
	const never = -1 // the line is never null
	var bits []byte
	for _, column := range []int{rows.NumberColumn, rows.FloatColumn, rows.FlagColumn, never, rows.BlobColumn, rows.ValueColumn} {
		for row := range input.Count {
			bit := byte(0)
			if column == never || input.Has(column, row) {
				bit = 1
			}
			bits = append(bits, bit)
		}
	}
	return bits
}

// Columns of the arena in the making.
type blobs struct{ offsets, bytes []byte }

func (out *blobs) column(count int, cell func(int) []byte) {
	out.end()
	for row := range count {
		out.bytes = append(out.bytes, cell(row)...)
		out.end()
	}
}

func (out *blobs) end() {
	out.offsets = binary.LittleEndian.AppendUint32(out.offsets, uint32(len(out.bytes)))
}

func main() {}
