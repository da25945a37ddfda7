package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestUnknownCommandNamesTheOneThatWasMeant(t *testing.T) {
	root := &cobra.Command{Use: "moat", Args: NoCommand, SilenceUsage: true, SilenceErrors: true, RunE: func(*cobra.Command, []string) error { return nil }}
	for _, name := range []string{"policy", "audit"} {
		root.AddCommand(&cobra.Command{Use: name, Run: func(*cobra.Command, []string) {}})
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(&cobra.Command{Use: "polcies", Hidden: true, Run: func(*cobra.Command, []string) {}})
	for args, want := range map[string]string{
		"polcy": `unknown command "polcy" for "moat"; did you mean 'policy'? moat has audit, policy`,
		"zzz":   `unknown command "zzz" for "moat"; moat has audit, policy`,
		"":      "",
	} {
		root.SetArgs(strings.Fields(args))
		err := root.Execute()
		if got := ""; err != nil && err.Error() != want || err == nil && want != got {
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
}
