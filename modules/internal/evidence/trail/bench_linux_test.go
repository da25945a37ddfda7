package trail

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
)

// The benchmarks of this file are run with
//
//	go test ./modules/internal/trail -run '^$' -bench . -benchmem -cpu 1 -count 5
//
// Records have 500 bytes, as those of a usual request do. What others do with
// the same bytes on the same disk is measured in the same run.
const benchSize = 500

// benchRecords is a set of records of benchSize bytes, all different.
func benchRecords(n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = testRecord(i, benchSize)
	}
	return out
}

// cpu reports the processor time of both goroutines and of the kernel on
// their behalf. Other work on the machine does not count in it.
func cpu(b *testing.B) (stop func()) {
	before := cpuUsed(b)
	return func() { b.ReportMetric(float64((cpuUsed(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op") }
}

// cpuRate does the same for what reads size bytes in each round.
func cpuRate(b *testing.B, size int64) (stop func()) {
	before := cpuUsed(b)
	return func() {
		b.ReportMetric(float64(size)*float64(b.N)/1e6/(cpuUsed(b)-before).Seconds(), "MB/cpu-s")
	}
}

func cpuUsed(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// appendAll appends n records without waiting, as fast as the queue takes
// them, and returns the processor time of the goroutine that calls Append.
func appendAll(tb testing.TB, t *Trail, recs [][]byte, n int) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	used := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
			tb.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	start := used()
	var pause time.Duration
	for i := range n {
		if err := t.Append(recs[i%len(recs)]); err != nil {
			tb.Fatal(err)
		}
		if i%256 == 255 && t.Stats().Queued > 8<<20 {
			before := used()
			for t.Stats().Queued > 2<<20 {
				time.Sleep(100 * time.Microsecond)
			}
			pause += used() - before
		}
	}
	return used() - start - pause
}

// BenchmarkAppend measures a record all in: queued, hashed, chained and
// written by both goroutines on one core, up to the last.
func BenchmarkAppend(b *testing.B) {
	recs := benchRecords(1000)
	for _, mode := range []struct {
		name string
		sync Sync
	}{{"off", Off}, {"batch", Batch}} {
		b.Run(mode.name, func(b *testing.B) {
			o := testOptions(b)
			o.Sync, o.Interval, o.Logf, o.Checkpoint = mode.sync, DefaultInterval, nil, DefaultCheckpoint
			t := mustOpen(b, b.TempDir(), o)
			b.SetBytes(benchSize)
			b.ReportAllocs()
			b.ResetTimer()
			stop := cpu(b)
			spent := appendAll(b, t, recs, b.N)
			for t.Stats().Bytes < int64(b.N)*(benchSize+1) && mode.sync == Off || t.Stats().Queued > 0 {
				time.Sleep(100 * time.Microsecond)
			}
			b.StopTimer()
			stop()
			b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N), "caller-ns/op")
			mustClose(b, t)
		})
	}
}

// BenchmarkZap is what a logger does with a record of the same size.
func BenchmarkZap(b *testing.B) {
	for _, buffered := range []bool{false, true} {
		b.Run(map[bool]string{false: "file", true: "buffered"}[buffered], func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "log"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			var sink zapcore.WriteSyncer = f
			if buffered {
				sink = &zapcore.BufferedWriteSyncer{WS: f, Size: 256 << 10}
			}
			log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.Lock(sink), zap.InfoLevel))
			b.SetBytes(benchSize)
			b.ReportAllocs()
			b.ResetTimer()
			stop := cpu(b)
			for i := range b.N {
				zapRecord(log, i)
			}
			_ = log.Sync()
			stop()
		})
	}
}

// zapRecord logs about benchSize bytes.
func zapRecord(log *zap.Logger, i int) {
	log.Info("audit",
		zap.Int("n", i), zap.String("id", "3b2f8c1e-5f0b-4d59-9a49-0e5d1a0c7a11"), zap.String("trace", "4bf92f3577b34da6a3ce929d0e0e4736"),
		zap.String("method", "GET"), zap.String("site", "api.example.com"), zap.String("path", "/orders/123456/lines/7"), zap.String("client", "192.0.2.17"),
		zap.String("peer", "10.0.0.3:51234"), zap.String("user", "0a7c9c52-9f4d-4f51-8f1c-33a2a6f0f2bd"), zap.Strings("roles", []string{"clerk", "manager"}),
		zap.String("issuer", "https://id.example.com/realms/shop"), zap.String("rule", "role clerk allow GET /orders/*"), zap.Int("status", 200), zap.Int("bytes", 1834), zap.Duration("took", 1234567))
}

// BenchmarkFsyncEach is the disk's own measure: a record and a sync at a
// time.
func BenchmarkFsyncEach(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	rec := append(testRecord(0, benchSize), '\n')
	for b.Loop() {
		if _, err := f.Write(rec); err != nil {
			b.Fatal(err)
		}
		if err := datasync(f); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkAppendSync measures durable records with many callers.
func BenchmarkAppendSync(b *testing.B) {
	recs := benchRecords(1000)
	for _, callers := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			o := testOptions(b)
			o.Sync, o.Logf, o.Checkpoint = Always, nil, DefaultCheckpoint
			t := mustOpen(b, b.TempDir(), o)
			b.ReportAllocs()
			b.ResetTimer()
			waits := appendSyncAll(b, t, recs, callers, b.N)
			b.StopTimer()
			slices.Sort(waits)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64(waits[len(waits)/2].Microseconds()), "µs-median")
			b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds()), "µs-p99")
			s := t.Stats()
			b.ReportMetric(float64(s.Records)/float64(s.Syncs), "records/sync")
			mustClose(b, t)
		})
	}
}

// BenchmarkDurable compares, in turns of a moment each, durable records of 64
// callers with a sync for every record. Its figures are ratios, medians over
// the rounds: how many times the records, and how many times a sync's
// duration a caller waits. They depend on the disk: a record costs the two
// goroutines some 2 µs of processor time, 64 of them what a fast disk needs
// for two syncs and a usual one for a fraction of one.
func BenchmarkDurable(b *testing.B) {
	dir := b.TempDir()
	f, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	o := testOptions(b)
	o.Sync, o.Logf, o.Checkpoint = Always, nil, DefaultCheckpoint
	t := mustOpen(b, filepath.Join(dir, "trail"), o)
	defer t.Close()
	recs := benchRecords(1000)
	line := append(testRecord(0, benchSize), '\n')
	var rates, medians, p99s, syncs []float64
	for b.Loop() {
		const n, callers = 200, 64
		each := make([]time.Duration, n)
		start := time.Now()
		for i := range each {
			one := time.Now()
			if _, err := f.Write(line); err != nil {
				b.Fatal(err)
			}
			if err := datasync(f); err != nil {
				b.Fatal(err)
			}
			each[i] = time.Since(one)
		}
		alone := n / time.Since(start).Seconds()
		slices.Sort(each)
		start = time.Now()
		waits := appendSyncAll(b, t, recs, callers, n*callers)
		together := n * callers / time.Since(start).Seconds()
		slices.Sort(waits)
		rates = append(rates, together/alone)
		syncs = append(syncs, float64(each[n/2].Nanoseconds())/1000)
		medians = append(medians, float64(waits[len(waits)/2])/float64(each[n/2]))
		p99s = append(p99s, float64(waits[len(waits)*99/100])/float64(each[n*99/100]))
	}
	median := func(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }
	b.ReportMetric(median(rates), "x-records")
	b.ReportMetric(median(medians), "syncs-median")
	b.ReportMetric(median(p99s), "syncs-p99")
	b.ReportMetric(median(syncs), "µs/sync")
}

// appendSyncAll appends n records from some callers and returns their waits.
func appendSyncAll(tb testing.TB, t *Trail, recs [][]byte, callers, n int) []time.Duration {
	waits := make([]time.Duration, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				start := time.Now()
				if err := t.AppendSync(context.Background(), recs[i%len(recs)]); err != nil {
					tb.Error(err)
					return
				}
				waits[i] = time.Since(start)
			}
		})
	}
	wg.Wait()
	return waits
}

// bigTrail makes a trail of n records once for all benchmarks that read.
func bigTrail(tb testing.TB, n int) string {
	tb.Helper()
	dir := tb.TempDir()
	o := testOptions(tb)
	o.Sync, o.Interval, o.Logf, o.Keep = Off, DefaultInterval, nil, -1
	t := mustOpen(tb, dir, o)
	recs := benchRecords(1000)
	for i := range recs {
		// One in a thousand is about somebody.
		if i == 500 {
			recs[i] = append(recs[i][:len(recs[i])-30], `","user":"alice@example.com"}`...)
		}
	}
	appendAll(tb, t, recs, n)
	mustClose(tb, t)
	return dir
}

const bigRecords = 1_000_000

func BenchmarkRead(b *testing.B) {
	dir := bigTrail(b, bigRecords)
	size := int64(bigRecords * (benchSize + 1))
	b.Run("verify", func(b *testing.B) {
		b.SetBytes(size)
		defer cpuRate(b, size)()
		for b.Loop() {
			if r := wantGood(b, dir, bigRecords); r.Bytes < size*9/10 {
				b.Fatalf("%d bytes read", r.Bytes)
			}
		}
	})
	for name, texts := range map[string][][]byte{
		"scan":        nil,
		"search":      {[]byte(`"user":"alice@example.com"`)},
		"search-none": {[]byte(`"user":"bob@example.com"`)},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			defer cpuRate(b, size)()
			for b.Loop() {
				n := 0
				_, err := Scan(context.Background(), dir, ScanOptions{Contains: texts}, func(Record) error { n++; return nil })
				want := map[string]int{"scan": bigRecords, "search": bigRecords / 1000, "search-none": 0}[name]
				if err != nil || n != want {
					b.Fatalf("%d records found, want %d: %v", n, want, err)
				}
			}
		})
	}
	b.Run("open", func(b *testing.B) {
		o := testOptions(b)
		o.Logf, o.Keep = nil, -1
		for b.Loop() {
			mustClose(b, mustOpen(b, dir, o))
		}
	})
}

// TestBenchmarksMeasureWhatTheySay runs their bodies with few records.
func TestBenchmarksMeasureWhatTheySay(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t)
	o.Sync = Always
	tr := mustOpen(t, dir, o)
	recs := benchRecords(100)
	appendAll(t, tr, recs, 500)
	waits := appendSyncAll(t, tr, recs, 10, 500)
	if len(waits) != 500 || waits[0] <= 0 {
		t.Errorf("waits: %v …", waits[:1])
	}
	mustClose(t, tr)
	wantGood(t, dir, 1000)
	if n := len(lines(t, bigTrail(t, 2000))); n != 2000 {
		t.Errorf("%d records", n)
	}
}
