package option

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"
)

// Resolve expands the placeholders in an option at load: {env.X}, {file.X}
// and the other global ones. An unknown placeholder, or one that is empty, is
// an error that names the directive, the option and the text that was
// written (which is where the value comes from) and never the value itself.
func Resolve(directive, option, text string) (string, error) {
	out, err := caddy.NewReplacer().ReplaceOrErr(text, true, true)
	if err != nil {
		return "", fmt.Errorf("%s: %s %s: %w", directive, option, text, err)
	}
	if out == "" {
		return "", fmt.Errorf("%s: %s %q is empty", directive, option, text)
	}
	return out, nil
}
