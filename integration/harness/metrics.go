package harness

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Metrics returns what the admin API exports at /metrics.
func (s *Server) Metrics() string {
	s.T.Helper()
	resp, err := http.Get("http://" + s.Admin + "/metrics")
	if err != nil {
		s.T.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.T.Fatal(err)
	}
	return string(text)
}

// Metric returns the value of the first metric whose line begins with name.
func (s *Server) Metric(name string) float64 {
	s.T.Helper()
	for line := range strings.Lines(s.Metrics()) {
		if strings.HasPrefix(line, name) {
			v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
			if err != nil {
				s.T.Fatal(err)
			}
			return v
		}
	}
	s.T.Fatalf("no metric %s", name)
	return 0
}

// Goroutines returns how many goroutines the process has.
func (s *Server) Goroutines() int {
	s.T.Helper()
	resp, err := http.Get("http://" + s.Admin + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		s.T.Fatal(err)
	}
	defer resp.Body.Close()
	var n int
	if _, err := fmt.Fscanf(resp.Body, "goroutine profile: total %d", &n); err != nil {
		s.T.Fatal(err)
	}
	return n
}
