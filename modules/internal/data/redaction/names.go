package redaction

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// names gives each member name that a rule mentions a number from 1 on. What
// it is asked about is nearly always a name that no rule mentions, so the table
// is kept sparse: those end at an empty slot, after one multiplication.
type names struct {
	slots []uint16 // by hash: the first name with it, 0 if there is none
	shift uint8    // of the hash, to get an index into slots
	list  []string // list[id]; list[0] is unused
	next  []uint16 // next[id] has the same slot
	ids   map[string]uint16
	// filter tells of a name by its first byte, in the bit of its length,
	// whether it is worth a look. After the empty name
	// a text has the closing quote.
	filter [256]uint64
	rawOf  int  // no spelling of a name in JSON is longer, quotes not counted
	fold   bool // names match whatever their case; those in list are folded
}

const maxNames = 1<<16 - 2

func newNames(fold bool) *names {
	return &names{list: []string{""}, ids: map[string]uint16{}, fold: fold}
}

// add returns the number of name.
func (n *names) add(name string) uint16 {
	if n.fold {
		name = FoldName(name)
	}
	id, ok := n.ids[name]
	if !ok {
		id = uint16(len(n.list))
		n.list = append(n.list, name)
		n.ids[name] = id
		// \u00xx for every byte of ASCII is the longest spelling;
		// other characters need at most 12 bytes for 4 of their own.
		n.rawOf = max(n.rawOf, 6*len(name))
		if n.fold {
			_, _, escaped := spellings(name)
			n.rawOf = max(n.rawOf, escaped)
		}
	}
	return id
}

// build makes the table once every name is added.
func (n *names) build() {
	size := 64
	for size < 16*len(n.list) {
		size *= 2
	}
	n.shift = uint8(64 - bits.TrailingZeros(uint(size)))
	n.slots = make([]uint16, size)
	n.next = make([]uint16, len(n.list))
	for id := 1; id < len(n.list); id++ {
		n.let(n.list[id])
		h := hashName([]byte(n.list[id])) >> n.shift
		n.next[id] = n.slots[h]
		n.slots[h] = uint16(id)
	}
}

// let makes the filter pass name.
func (n *names) let(name string) {
	switch {
	case name == "":
		n.filter['"'] |= 1
	case !n.fold:
		n.filter[name[0]] |= 1 << (len(name) % 64)
	default:
		least, most, _ := spellings(name)
		lengths := uint64(0)
		for i := least; i <= min(most, least+63); i++ {
			lengths |= 1 << (i % 64)
		}
		first, _ := utf8.DecodeRuneInString(name)
		variants(first, func(v rune) {
			n.filter[string(v)[0]] |= lengths
		})
	}
}

// find returns the number of name, 0 if no rule mentions it.
func (n *names) find(name []byte) int {
	if n.fold {
		name = appendFold(make([]byte, 0, 64), name)
	}
	return n.match(n.slots[hashName(name)>>n.shift], name)
}

// findIn is find for the name that is p[from:to]. It may look at the bytes
// around it, which saves the branches on its length.
func (n *names) findIn(p []byte, from, to int) int {
	if n.fold || to < 8 || from+8 > len(p) || from >= to {
		return n.find(p[from:to])
	}
	head := binary.LittleEndian.Uint64(p[from:])
	tail := binary.LittleEndian.Uint64(p[to-8:])
	short := uint(8*max(0, 8-(to-from))) & 63
	head = head << short >> short
	tail >>= short
	id := n.slots[mixName(head, tail, to-from)>>(n.shift&63)]
	if id == 0 {
		return 0
	}
	return n.match(id, p[from:to])
}

func (n *names) match(id uint16, name []byte) int {
	for ; id != 0; id = n.next[id] {
		if n.list[id] == string(name) {
			break
		}
	}
	return int(id)
}

// hashName hashes the first 8 bytes, the last 8, and the length.
func hashName(name []byte) uint64 {
	var head, tail uint64
	if len(name) >= 8 {
		head = binary.LittleEndian.Uint64(name)
		tail = binary.LittleEndian.Uint64(name[len(name)-8:])
	} else {
		for i, c := range name {
			head |= uint64(c) << (8 * i)
		}
		tail = head
	}
	return mixName(head, tail, len(name))
}

func mixName(head, tail uint64, n int) uint64 {
	const odd = 0x9e3779b97f4a7c15
	return (head ^ bits.RotateLeft64(tail, 29) + uint64(n)) * odd
}
