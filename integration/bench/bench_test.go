package main

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSpreadIsMedianAndExtremes(t *testing.T) {
	for _, tc := range []struct {
		in   []float64
		want spread
	}{
		{nil, spread{}},
		{[]float64{3}, spread{3, 3, 3}},
		{[]float64{9, 1}, spread{5, 1, 9}},
		{[]float64{9, 1, 2}, spread{2, 1, 9}},
	} {
		if got := spreadOf(tc.in); got != tc.want {
			t.Errorf("spread of %v = %v, want %v", tc.in, got, tc.want)
		}
	}
}

func TestQuantileIsTheNearestRank(t *testing.T) {
	var sorted []int
	for i := range 100 {
		sorted = append(sorted, i+1)
	}
	for q, want := range map[float64]int{0: 1, 0.01: 1, 0.5: 50, 0.501: 51, 0.99: 99, 0.991: 100, 1: 100} {
		if got := quantile(sorted, q); got != want {
			t.Errorf("quantile %v of 1…100 = %d, want %d", q, got, want)
		}
	}
	if got := quantile([]int{}, 0.5); got != 0 {
		t.Errorf("quantile of nothing = %d", got)
	}
}

func TestRowComparesWithinARound(t *testing.T) {
	// The machine is slower in the second round: ratios of medians over all
	// rounds would say that the layer costs more than it does.
	bare := &result{contestant: &contestant{group: "g", name: "bare", base: true}, samples: map[int]sample{
		0: {CPUMicros: 50}, 1: {CPUMicros: 100}, 2: {CPUMicros: 50},
	}}
	ours := &result{contestant: &contestant{group: "g", name: "layer", target: target{addedMicros: 5, cpuRatio: 1.05}}, samples: map[int]sample{
		0: {CPUMicros: 55}, 1: {CPUMicros: 110},
	}}
	rows := summarize([]*result{bare, ours}, floors{})
	if got, want := rows[1].CPURatio, (spread{1.1, 1.1, 1.1}); got != want {
		t.Errorf("ratio %v, want %v", got, want)
	}
	if got, want := rows[1].Added, (spread{7.5, 5, 10}); got != want {
		t.Errorf("added %v, want %v", got, want)
	}
	if got, want := rows[1].Targets, []string{"≤ +5 µs MISSED", "≤ 1.05 × MISSED"}; !slices.Equal(got, want) {
		t.Errorf("verdicts %q, want %q", got, want)
	}
	if rows[0].Added != (spread{}) {
		t.Errorf("the bare configuration is compared with itself: %v", rows[0].Added)
	}
}

func TestFailedContestantIsSaidToHaveFailed(t *testing.T) {
	bare := &result{contestant: &contestant{group: "g", name: "bare", base: true}, samples: map[int]sample{0: {CPUMicros: 50}}}
	bad := &result{contestant: &contestant{group: "g", name: "layer", target: target{addedMicros: 5}}, err: errors.New("not correct")}
	for _, markdown := range []bool{false, true} {
		var b strings.Builder
		write(&b, conditions{}, summarize([]*result{bare, bad}, floors{}), markdown)
		if !strings.Contains(b.String(), "FAILED") || strings.Contains(b.String(), "met") {
			t.Errorf("the failure is not in the table:\n%s", &b)
		}
	}
}

// pieces is a connection that delivers its bytes n at a time.
type pieces struct {
	net.Conn
	data []byte
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.data[:min(p.n, len(p.data))])
	p.data = p.data[n:]
	return n, nil
}

func TestClientReadsResponsesHoweverTheyAreCut(t *testing.T) {
	const after = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	for _, tc := range []struct {
		response string
		status   int
		body     int64
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, 5},
		{"HTTP/1.1 200 OK\r\nDate: x\r\ncontent-length:  5 \r\nContent-Type: a\r\n\r\nhello", 200, 5},
		{"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", 401, 0},
		{"HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n", 204, 0},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\na\r\n0123\r\n6789\r\n0\r\n\r\n", 200, 15},
	} {
		for n := 1; n <= len(tc.response+after); n++ {
			c := &conn{Conn: &pieces{data: []byte(tc.response + after), n: n}, buf: make([]byte, 128)}
			status, body, err := c.response()
			if status != tc.status || body != tc.body || err != nil {
				t.Errorf("%q, %d bytes at a time: %d %d %v, want %d %d", tc.response, n, status, body, err, tc.status, tc.body)
			}
			if status, body, err = c.response(); status != 200 || body != 0 || err != nil {
				t.Errorf("%q, %d bytes at a time: the next response is %d %d %v", tc.response, n, status, body, err)
			}
		}
	}
}

func TestClientRefusesWhatItCannotRead(t *testing.T) {
	for _, tc := range []struct {
		response string
		want     error
	}{
		{"", io.ErrUnexpectedEOF},
		{"HTTP/1.1 200 OK\r\n", io.ErrUnexpectedEOF},
		{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", io.ErrUnexpectedEOF},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", io.ErrUnexpectedEOF},
		{"HTTP/1.1 200 OK\r\n\r\nuntil the end", errResponse},
		{"HTTP/1.1 xyz OK\r\nContent-Length: 0\r\n\r\n", errResponse},
		{"SMTP\r\n\r\n", errResponse},
		{"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", errResponse},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", errResponse},
		{"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 256) + "\r\n\r\n", errResponse},
	} {
		c := &conn{Conn: &pieces{data: []byte(tc.response), n: 1 << 10}, buf: make([]byte, 128)}
		if status, _, err := c.response(); !errors.Is(err, tc.want) {
			t.Errorf("%.80q: status %d, error %v, want %v", tc.response, status, err, tc.want)
		}
	}
}

// joined is a load connected straight to an upstream.
func joined(t *testing.T, body string, conns int, next source) (*load, *upstream) {
	t.Helper()
	up, err := serve([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Close)
	l, err := connect(up.addr(), conns, len(body), next)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l, up
}

func TestSaturateSendsExactlyNRequests(t *testing.T) {
	l, up := joined(t, small, 7, requests(resource, repeated, 0, nil))
	const n = 1000
	body, err := l.saturate(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	if got := up.requests.Load(); got != n || body != n*int64(len(small)) {
		t.Errorf("the upstream answered %d requests and %d bytes came, want %d and %d", got, body, n, n*len(small))
	}
}

func TestSaturateEndsWithTheFirstRefusal(t *testing.T) {
	l, up := joined(t, small, 3, requests(resource, repeated, 0, nil))
	up.answer = []byte("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
	if _, err := l.saturate(t.Context(), 1<<30); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("error %v, want status 401", err)
	}
}

func TestInterruptEndsTheLoad(t *testing.T) {
	l, up := joined(t, small, 3, requests(resource, repeated, 0, nil))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for up.requests.Load() < 10 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if _, err := l.saturate(ctx, 1<<30); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
	if _, err := l.pace(ctx, 1<<30, 1000); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
}

func TestPaceMeasuresEveryRequest(t *testing.T) {
	l, up := joined(t, small, 4, requests(resource, repeated, 0, nil))
	for range 2 { // the connections are fit for use afterwards
		before := up.requests.Load()
		took, err := l.pace(t.Context(), 300, 20_000)
		if err != nil {
			t.Fatal(err)
		}
		if len(took) != 300 || up.requests.Load()-before != 300 {
			t.Errorf("%d latencies of %d requests, want 300", len(took), up.requests.Load()-before)
		}
		if slices.Min(took) <= 0 {
			t.Errorf("a request took %v: answered before it was due", slices.Min(took))
		}
	}
	if _, err := l.saturate(t.Context(), 100); err != nil {
		t.Error(err)
	}
}

// TestPaceChargesAStallToAllThatWereDue holds that requests which could not
// be sent because the server stalled count as slow: measuring from when they
// were sent would hide the stall behind one slow request.
func TestPaceChargesAStallToAllThatWereDue(t *testing.T) {
	const (
		stall = 60 * time.Millisecond
		every = time.Millisecond
	)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 4<<10)
		for first := true; ; first = false {
			if _, err := c.Read(buf); err != nil {
				return
			}
			if first {
				time.Sleep(stall)
			}
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
				return
			}
		}
	}()
	l, err := connect(ln.Addr().String(), 1, 0, requests(resource, repeated, 0, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	took, err := l.pace(t.Context(), 20, float64(time.Second/every))
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range took {
		if least := stall - time.Duration(i)*every; d < least {
			t.Errorf("request %d was due %v into a stall of %v and took %v, want at least %v", i, time.Duration(i)*every, stall, d, least)
		}
	}
}

func TestMarkdownIsATable(t *testing.T) {
	var b strings.Builder
	writeMarkdown(&b, [][]string{{"proxied", "CPU µs"}, {"bare", "66.0"}})
	if want := "| proxied | CPU µs |\n|---|---:|\n| bare | 66.0 |\n"; b.String() != want {
		t.Errorf("got\n%swant\n%s", &b, want)
	}
}
