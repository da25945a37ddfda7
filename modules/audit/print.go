package audit

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/export"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// formats are the forms in which records are printed.
const formats = "json, text, ocsf, ecs or cef"

// printer returns the function that prints records in a form.
func printer(w io.Writer, format, log string) (func(index int64, line []byte, r *record.Record) error, error) {
	var buf []byte
	switch format {
	case "json":
		return func(_ int64, line []byte, _ *record.Record) error {
			buf = append(append(buf[:0], line...), '\n')
			_, err := w.Write(buf)
			return err
		}, nil
	case "text":
		return func(index int64, _ []byte, r *record.Record) error {
			_, err := fmt.Fprintln(w, textLine(index, r))
			return err
		}, nil
	}
	convert, err := export.Format(format)
	if err != nil {
		return nil, fmt.Errorf("--format %s: must be %s", format, formats)
	}
	return func(index int64, line []byte, _ *record.Record) error {
		if buf, err = convert(buf[:0], log, index, line); err != nil {
			return err
		}
		buf = append(buf, '\n')
		_, err := w.Write(buf)
		return err
	}, nil
}

// userText is a user with who vouches for him: the same id from elsewhere is
// somebody else.
func userText(u *record.User) string {
	source := principal.Source{Issuer: u.Issuer, Kind: u.Kind}.String()
	if u.ID == "" || source == "" {
		return u.ID
	}
	return u.ID + " from " + source
}

// textLine is one record for people.
func textLine(index int64, r *record.Record) string {
	when := r.Time.Local().Format(timeFormat)
	if r.Kind == record.Change {
		return printable(strings.TrimRight(fmt.Sprintf("%s  #%d  %s: %s %s %s", when, index, r.Layer, r.What, r.Source, strings.ReplaceAll(r.Detail, "\n", "; ")), " "))
	}
	user := userText(&r.User)
	if user == "" {
		user = "-"
	}
	if r.App.ID != "" {
		user += " by " + userText(&r.App)
	}
	line := fmt.Sprintf("%s  #%d  %d  %s %s", when, index, r.Status, r.Method, r.Path)
	if r.Kind == record.Intent {
		line = fmt.Sprintf("%s  #%d  …    %s %s", when, index, r.Method, r.Path)
	}
	line += fmt.Sprintf("  %s  %s", user, r.Client)
	if r.Site != "" {
		line += "  " + r.Site
	}
	if r.Kind == record.Outcome {
		line += fmt.Sprintf("  %v", r.Duration().Round(10*time.Microsecond))
	}
	if d, ok := r.Refused(); ok {
		line += fmt.Sprintf("  %s: %s", d.Layer, r.Code)
		if d.Rule != "" {
			line += " (" + d.Rule + ")"
		}
		if d.Detail != "" {
			line += ": " + d.Detail
		}
	}
	if r.MCP.Method != "" {
		line += "  " + strings.TrimSpace(r.MCP.Method+" "+r.MCP.Name)
		if r.MCP.Error != 0 {
			line += fmt.Sprintf(" (error %d)", r.MCP.Error)
		}
	}
	if r.Redacted > 0 {
		line += fmt.Sprintf("  %d masked", r.Redacted)
	}
	if r.End != "" {
		line += "  " + r.End
	}
	return printable(line)
}
