// Package abi is the canonical ABI for guests of the contract: memory for arguments, lists of answers, the host's functions.
package abi

import "unsafe"

// What the host is about to hand over, kept until the call has read it; what it is about to read, kept until the next call.
var arguments, answers []any

// The host asks for memory of an argument.
//
//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	// Words, so that every alignment the contract needs holds and the collector does not look inside.
	words := make([]uint64, (size+7)/8+1)
	arguments = append(arguments, words)
	made := unsafe.Pointer(&words[0])
	copy(unsafe.Slice((*byte)(made), size), unsafe.Slice((*byte)(old), oldSize))
	return made
}

// Begin is the first thing a call does, End the last.
func Begin() { answers = nil }
func End()   { arguments = nil }

// List is a list in memory: WebAssembly's pointers are half as wide as Go's.
type List struct{ address, length uint32 }

// Of makes a slice a list of an answer.
func Of[T any](slice []T) List {
	if len(slice) == 0 {
		return List{8, 0} // any aligned address
	}
	answers = append(answers, slice)
	return List{uint32(uintptr(unsafe.Pointer(&slice[0]))), uint32(len(slice))}
}

// Text is Of for text.
func Text(text string) List { return Of([]byte(text)) }

// Keep keeps an answer until it is read, and is where it lies.
func Keep[T any](answer *T) unsafe.Pointer {
	answers = append(answers, answer)
	return unsafe.Pointer(answer)
}

// Bytes is an argument.
func Bytes(address unsafe.Pointer, length uint32) []byte {
	return unsafe.Slice((*byte)(address), length)
}

// Failure is the contract's failure, as the error case of a result.
type Failure struct {
	isError uint8
	Code    uint32
	Text    List
}

// Fail is an answer that refuses.
func Fail(code uint32, text string) unsafe.Pointer {
	return Keep(&Failure{1, code, Text(text)})
}

//go:wasmimport tidemill:plugin/host@0.1.0 log
func log(level uint32, address unsafe.Pointer, length uint32)

//go:wasmimport tidemill:plugin/host@0.1.0 metric-add
func metricAdd(address unsafe.Pointer, length uint32, delta float64)

// Warn writes a warning to the plugin's log.
func Warn(text string) { log(2, unsafe.Pointer(unsafe.StringData(text)), uint32(len(text))) }

// MetricAdd adds to a counter of the plugin.
func MetricAdd(name string, delta float64) {
	metricAdd(unsafe.Pointer(unsafe.StringData(name)), uint32(len(name)), delta)
}
