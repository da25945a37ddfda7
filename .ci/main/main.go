// Command main is the program that xcaddy writes, for tools that look at the
// program as a whole.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-moat/caddy-moat"
)

func main() { caddycmd.Main() }
