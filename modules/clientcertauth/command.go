package clientcertauth

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-moat/caddy-moat/modules/internal/cli"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/clientcert"
)

func init() {
	cli.RegisterCommand(certCommand)
}

func certCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cert FILE...",
		Short: "Shows the names in client certificates as client_cert_auth spells them",
		Long: `Shows what the first certificate in each PEM file says of its holder, in the
spelling that client_cert_auth compares, for the lines of a map and for pin.
It needs no private key and verifies nothing.`,
		Example:      "  caddy moat cert orders.crt",
		Args:         cobra.MinimumNArgs(1),
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, files []string) error {
			for i, file := range files {
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				if err := showCertificate(cmd.OutOrStdout(), file); err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
			}
			return nil
		},
	}
}

func showCertificate(w io.Writer, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	block, rest := pem.Decode(text)
	for block != nil && block.Type != "CERTIFICATE" {
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return errors.New("it has no certificate in PEM form in it")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	n, err := clientcert.Read(cert)
	if err != nil {
		return err
	}
	show := func(name string, values ...string) {
		for _, v := range values {
			if v != "" {
				fmt.Fprintf(w, "%-11s %s\n", name, v)
			}
		}
	}
	show("spiffe", string(n.ID))
	show("uri", n.URIs...)
	show("dns", n.DNS...)
	show("email", n.Emails...)
	show("subject", n.Subject)
	show("cn", n.CommonNames...)
	show("spki", n.SPKI)
	show("serial", n.Serial)
	show("issuer", n.Issuer)
	show("not before", cert.NotBefore.UTC().Format(time.RFC3339))
	show("not after", cert.NotAfter.UTC().Format(time.RFC3339))
	return nil
}
