package lifecycle

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// fail is how the app of that ID ends its loading; nil: well.
var fail = map[string]func() error{}

// checking stands for one of our apps.
type checking struct{ ID string }

func (c checking) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: caddy.ModuleID(c.ID), New: func() caddy.Module { return &checking{c.ID} }}
}

func (c *checking) Provision(caddy.Context) error {
	if end := fail[c.ID]; end != nil {
		return end()
	}
	return nil
}

func (*checking) Start() error { return nil }
func (*checking) Stop() error  { return nil }

// asking is a module that asks for both while it is being loaded.
type asking struct{}

func (asking) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "asking", New: func() caddy.Module { return new(asking) }}
}

func (asking) Provision(ctx caddy.Context) error {
	if err := CheckLayers(ctx); err != nil {
		return err
	}
	_, err := Changes(ctx)
	return err
}

func (asking) Start() error { return nil }
func (asking) Stop() error  { return nil }

func init() {
	caddy.RegisterModule(checking{LayersApp})
	caddy.RegisterModule(checking{AuditApp})
	caddy.RegisterModule(asking{})
}

// load loads a configuration in which the app of that ID ends like that.
func load(id string, end func() error) (err error, panicked any) {
	fail = map[string]func() error{id: end}
	defer func() { panicked = recover() }()
	return caddy.Validate(&caddy.Config{AppsRaw: caddy.ModuleMap{"asking": []byte(`{}`)}}), nil
}

// TestFailingChecksAreNotSwallowed: however a check at load ends, the module
// that asked for it must not go on as if nothing had been found.
func TestFailingChecksAreNotSwallowed(t *testing.T) {
	for _, id := range []string{LayersApp, AuditApp} {
		if err, panicked := load(id, nil); err != nil || panicked != nil {
			t.Errorf("%s that loads: got %v, panic %v", id, err, panicked)
		}
		err, panicked := load(id, func() error { return errors.New("found something") })
		if err == nil || !strings.Contains(err.Error(), "found something") || panicked != nil {
			t.Errorf("%s that fails: got %v, panic %v", id, err, panicked)
		}
		err, panicked = load(id, func() error { panic("a bug") })
		if panicked != "a bug" {
			t.Errorf("%s that panics: got %v, panic %v", id, err, panicked)
		}
	}
}

// TestContextsWithoutConfigurationAreLeftAlone: those of tests and commands.
func TestContextsWithoutConfigurationAreLeftAlone(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	if err := CheckLayers(ctx); err != nil {
		t.Error(err)
	}
	announce, err := Changes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	announce(Change{})
}
