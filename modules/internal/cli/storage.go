package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
)

// OpenStorage opens the storage that a configuration (Caddy's JSON) names, or
// Caddy's default one, for a command that runs beside the server. The caller
// closes it.
func OpenStorage(ctx context.Context, config []byte) (storage certmagic.Storage, done func(), err error) {
	var top struct {
		StorageRaw json.RawMessage `json:"storage,omitempty" caddy:"namespace=caddy.storage inline_key=module"`
	}
	if err := json.Unmarshal(config, &top); err != nil {
		return nil, nil, fmt.Errorf("reading configuration: %w", err)
	}
	if len(top.StorageRaw) == 0 {
		return caddy.DefaultStorage, func() {}, nil
	}
	cctx, cancel := caddy.NewContext(caddy.Context{Context: ctx})
	mod, err := cctx.LoadModule(&top, "StorageRaw")
	if err != nil {
		cancel()
		return nil, nil, fmt.Errorf("opening the storage: %w", err)
	}
	converter, ok := mod.(caddy.StorageConverter)
	if !ok {
		cancel()
		return nil, nil, fmt.Errorf("opening the storage: module %T does not implement certmagic.Storage", mod)
	}
	if storage, err = converter.CertMagicStorage(); err != nil {
		cancel()
		return nil, nil, fmt.Errorf("opening the storage: %w", err)
	}
	return storage, cancel, nil
}
