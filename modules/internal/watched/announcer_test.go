package watched

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
)

func TestChangesOfAFileAreAnnouncedOnce(t *testing.T) {
	a := newAnnouncer(&Kind{Layer: "client_cert_auth", Subject: "the map of client certificates", What: "clients"}, "map")
	var told []lifecycle.Change
	for range 2 {
		defer a.enlist(func(c lifecycle.Change) { told = append(told, c) })()
	}
	many := make([]string, maxDescribed+2)
	for i := range many {
		many[i] = "dns a"
	}
	a.report(filewatch.Event{Added: many, Removed: []string{"dns b"}})
	a.report(filewatch.Event{Err: errors.New("line 1:\nwrong")})
	if len(told) != 2 || told[0].Layer != "client_cert_auth" || told[0].Source != "map" || told[0].What != "clients changed" || !strings.HasSuffix(told[0].Detail, "added dns a\nand 3 more") ||
		told[1].What != "clients refused" || told[1].Detail != "line 1: wrong" {
		t.Errorf("got %+v", told)
	}
}
