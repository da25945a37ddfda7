package adapter

import (
	"errors"
	"strings"
	"testing"
)

func TestChangesOfAFileAreAnnouncedOnce(t *testing.T) {
	a := NewAnnouncer("client_cert_auth", "the map of client certificates", "clients", "map")
	var told []Change
	for owner := range 2 {
		a.listeners = append(a.listeners, listener{owner, func(c Change) { told = append(told, c) }})
	}
	many := make([]string, maxDescribed+2)
	for i := range many {
		many[i] = "dns a"
	}
	a.InForce(many, []string{"dns b"}, nil)
	a.Refused(errors.New("line 1:\nwrong"))
	if len(told) != 2 || told[0].Layer != "client_cert_auth" || told[0].Source != "map" || told[0].What != "clients changed" || !strings.HasSuffix(told[0].Detail, "added dns a\nand 3 more") ||
		told[1].What != "clients refused" || told[1].Detail != "line 1: wrong" {
		t.Errorf("got %+v", told)
	}
}
