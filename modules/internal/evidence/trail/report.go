package trail

import (
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// VerifyOptions say against what a trail is verified.
type VerifyOptions struct {
	// Known are the keys that may sign. Without, those noted in the
	// directory are used, which whoever wrote the directory chose: see
	// Report.OwnKeys.
	Known note.Verifiers

	// Remembered are checkpoints that were kept elsewhere. Only they can
	// show that the newest records were removed together with the
	// checkpoints that covered them.
	Remembered [][]byte

	// MaxProblems bounds the report. Default: 100
	MaxProblems int

	// Progress is called now and then with the number of bytes read.
	Progress func(bytes int64)
}

// Kinds of Problem.
const (
	Edited    = "edited"    // a record was changed
	Deleted   = "deleted"   // records were removed
	Inserted  = "inserted"  // a line does not belong here
	Reordered = "reordered" // a record is not where it was
	Truncated = "truncated" // the newest records are missing
	Missing   = "missing"   // a file is not there
	Forged    = "forged"    // a signature or a signed note is not right
	Malformed = "malformed" // a file is not what it should be
)

// Problem is one thing that is wrong with a trail.
type Problem struct {
	Kind string

	// File is the name of the file concerned, Line the number of the line
	// in it, from 1, or 0.
	File string
	Line int64

	// First and End are the records concerned: First to End-1. For a line
	// that was inserted they are equal, and it stands before First.
	First, End int64

	// Detail says what was found in a sentence.
	Detail string
}

func (p Problem) String() string {
	where := p.File
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	switch {
	case p.End-p.First == 1:
		return fmt.Sprintf("%s: %s: record %d: %s", where, p.Kind, p.First, p.Detail)
	case p.End > p.First:
		return fmt.Sprintf("%s: %s: records %d to %d: %s", where, p.Kind, p.First, p.End-1, p.Detail)
	}
	return fmt.Sprintf("%s: %s: %s", where, p.Kind, p.Detail)
}

// Report is what Verify found.
type Report struct {
	Origin   string
	Problems []Problem // nothing is wrong if empty
	Omitted  int       // problems beyond MaxProblems
	Warnings []string  // what is worth knowing and is not a fault

	// Witnessed says who has cosigned the trail and when. Verify leaves it
	// to the caller.
	Witnessed []string `json:",omitempty"`

	Pruned   int64 // records before this one were removed because of their age
	Records  int64 // records read
	Size     int64 // index after the last record
	Bytes    int64 // read
	Segments int

	Root       tlog.Hash // of all Size records, if there was no problem
	Checkpoint Checkpoint
	Unsigned   int64 // records after the checkpoint
	OwnKeys    bool  // the keys came from the directory itself
	Took       time.Duration
}

// OK reports whether nothing is wrong.
func (r *Report) OK() bool { return len(r.Problems) == 0 }
