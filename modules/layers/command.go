package layers

import (
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/spf13/cobra"

	"github.com/caddy-moat/caddy-moat/modules/internal/cli"
	"github.com/caddy-moat/caddy-moat/modules/layers/check"
)

func init() {
	cli.RegisterCommand(func() *cobra.Command { return check.Command(examine) })
	cli.RegisterCommand(check.PlanCommand)
}

// examining is set while a command examines a configuration: a finding that is
// refused then does not end the loading, so that all of them are found. It is
// for the processes of commands; no server sets it.
var examining atomic.Bool

// examine loads a configuration without starting it, and returns what is wrong
// with its layers.
func examine(config *caddy.Config) (found []check.Loaded, err error) {
	examining.Store(true)
	defer examining.Store(false)
	err = check.Look(config, func(ctx caddy.Context, app *caddyhttp.App) {
		for _, f := range Findings(ctx, app) {
			found = append(found, check.Loaded{Name: f.ID, Error: f.Severity == Refused, Place: f.Place, About: f.About, Text: f.Text})
		}
	})
	return found, err
}
