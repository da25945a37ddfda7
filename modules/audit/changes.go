package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"sync"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
)

// loaded remembers the hash of the last configuration of each audit
// directive, for the record of the next one. It is bounded by the directives
// that an administrator has ever written.
var loaded sync.Map // site and path → hash

// announce tells the trail that a configuration with this handler was loaded.
// Who asked for it is not known to modules; the process and its user are.
func (h *Handler) announce(ctx caddy.Context) error {
	tell, err := lifecycle.Changes(ctx)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(h)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(raw)
	now := hex.EncodeToString(sum[:])
	key := h.Path + "\x00" + h.Site
	var before string
	if old, ok := loaded.Swap(key, now); ok {
		before = old.(string)
	}
	tell(lifecycle.Change{
		Layer: "audit", What: "configuration loaded", Source: configSource(), By: processUser(),
		Old: before, New: now, Detail: "options of the audit directive, as JSON: SHA-256 in new",
	})
	return nil
}

// configSource says how this process got its configuration, as far as its
// command line tells.
func configSource() string {
	for i, arg := range os.Args {
		if (arg == "--config" || arg == "-c") && i+1 < len(os.Args) {
			return os.Args[i+1]
		}
	}
	return ""
}

var processUser = sync.OnceValue(func() string {
	name := "?"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, _ := os.Hostname()
	return fmt.Sprintf("process %d of %s on %s", os.Getpid(), name, host)
})
