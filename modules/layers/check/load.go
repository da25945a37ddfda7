package check

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// silent is a log writer that writes nothing. Unlike Caddy's "discard", with
// which a log has no encoder, what is written can still be looked at.
type silent struct{}

// CaddyModule returns the Caddy module information.
func (silent) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.writers.moat_silent", New: func() caddy.Module { return new(silent) }}
}

func (silent) String() string                      { return "silent" }
func (silent) WriterKey() string                   { return "moat_silent" }
func (silent) OpenWriter() (io.WriteCloser, error) { return silent{}, nil }
func (silent) Write(p []byte) (int, error)         { return len(p), nil }
func (silent) Close() error                        { return nil }

// looker is an app that looks at the servers of a configuration that is being
// loaded, and ends with it.
type looker struct{}

// CaddyModule returns the Caddy module information.
func (looker) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "moat_check", New: func() caddy.Module { return new(looker) }}
}

// looking is what the app does, for one configuration after the other.
var looking struct {
	sync.Mutex
	at func(caddy.Context, *caddyhttp.App)
}

// Provision has the servers loaded, and looks at them. As an app of its own it
// is loaded by nothing but Caddy, so that the servers are not being loaded yet.
func (looker) Provision(ctx caddy.Context) error {
	app, err := ctx.App("http")
	if err != nil {
		return err
	}
	looking.at(ctx, app.(*caddyhttp.App))
	return nil
}

func (looker) Start() error { return nil }
func (looker) Stop() error  { return nil }

// register makes the two modules known. They are for the process of the
// command and do not exist in a server.
var register = sync.OnceFunc(func() {
	caddy.RegisterModule(silent{})
	caddy.RegisterModule(looker{})
})

// quiet returns a configuration that can be loaded beside the server whose it
// is: it writes no log files and has no admin endpoint.
func quiet(text []byte) (*caddy.Config, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(caddy.RemoveMetaFields(text), &all); err != nil {
		return nil, err
	}
	var logging map[string]json.RawMessage
	logs := map[string]map[string]json.RawMessage{}
	if raw, ok := all["logging"]; ok {
		if err := json.Unmarshal(raw, &logging); err != nil {
			return nil, fmt.Errorf("logging: %w", err)
		}
		if raw, ok := logging["logs"]; ok {
			if err := json.Unmarshal(raw, &logs); err != nil {
				return nil, fmt.Errorf("logging: %w", err)
			}
		}
	}
	if logs["default"] == nil {
		logs["default"] = map[string]json.RawMessage{}
	}
	for _, log := range logs {
		log["writer"] = json.RawMessage(`{"output":"moat_silent"}`)
	}
	// Caddy says so where its own log gets another writer: it keeps that, and
	// has nothing to write.
	logs["moat_default"] = logs["default"]
	logs["default"] = map[string]json.RawMessage{
		"level": json.RawMessage(`"FATAL"`), "encoder": json.RawMessage(`{"format":"moat"}`),
	}
	if logging == nil {
		logging = map[string]json.RawMessage{}
	}
	var err error
	if logging["logs"], err = json.Marshal(logs); err != nil {
		return nil, err
	}
	if all["logging"], err = json.Marshal(logging); err != nil {
		return nil, err
	}
	if text, err = json.Marshal(all); err != nil {
		return nil, err
	}
	var config caddy.Config
	if err := caddy.StrictUnmarshalJSON(text, &config); err != nil {
		return nil, err
	}
	return &config, nil
}

// Look loads a configuration and calls f with its servers, if it has any. It
// starts nothing.
func Look(config *caddy.Config, f func(caddy.Context, *caddyhttp.App)) error {
	register()
	looking.Lock()
	defer looking.Unlock()
	looking.at = f
	if config.AppsRaw["http"] != nil {
		config.AppsRaw["moat_check"] = json.RawMessage(`{}`)
	}
	return caddy.Validate(config)
}
