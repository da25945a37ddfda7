package audit

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/conceal"
	"github.com/caddy-moat/caddy-moat/modules/internal/suggest"
)

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	audit [<matcher>] <dir> {
//		sync         always|batch [<duration>]|off
//		on_failure   refuse|continue
//		site         <name>
//		record       headers <name>...
//		record       query [<name>...]
//		record       request_body <size>
//		record       response_body <size>
//		hash         <selector>...
//		mask         <selector>...
//		remove       <selector>...
//		path         <pattern>...
//		roll         <size>|<duration>
//		keep         <duration>
//		sign         [<key file>]
//		checkpoint   <duration>
//		origin       <name>
//		witness      <url> <verifier key>
//		quorum       <number>
//		tiles        <dir>
//		deliver      file <path>            { <delivery options> }
//		deliver      http <url>             { <delivery options> }
//		deliver      syslog tcp|tls <addr>  { <delivery options> }
//	}
//
// where the delivery options are
//
//	name      <name>
//	format    moat|ocsf|ecs|cef
//	batch     <records>
//	timeout   <duration>
//	header    <name> <value>
//	ca        <pem file>
//	from      start|now
//
// record, hash, mask, remove, path, witness and deliver may be repeated, roll may stand once
// with a size and once with a duration.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // directive name
	if !d.NextArg() {
		return d.Err("audit needs the directory of its trail: audit /var/log/moat/api.audit")
	}
	h.Path = d.Val()
	if h.Path == "" {
		return d.Err("the trail's directory is empty")
	}
	if strings.ContainsRune(h.Path, '*') {
		return d.Errf("'%s' is a matcher, not a directory: write audit %s <directory>", h.Path, h.Path)
	}
	if d.NextArg() {
		return d.Errf("unexpected argument '%s': audit takes a matcher and one directory", d.Val())
	}
	seen := make(map[string]bool)
	for d.NextBlock(0) {
		option := d.Val()
		parse, ok := options[option]
		if !ok {
			return d.Errf("unrecognized subdirective '%s'%s audit knows sync, on_failure, site, record, hash, mask, remove, path, roll, keep, sign, checkpoint, origin, witness, quorum, tiles and deliver", option,
				cmp.Or(suggest.DidYouMean(option, slices.Sorted(maps.Keys(options))), ":"))
		}
		if seen[option] && !repeatable[option] {
			return d.Errf("%s already specified", option)
		}
		seen[option] = true
		if err := parse(h, d); err != nil {
			return err
		}
	}
	return nil
}

var repeatable = map[string]bool{"record": true, "hash": true, "mask": true, "remove": true, "path": true, "roll": true, "witness": true, "deliver": true}

// options parses one subdirective each; the dispenser stands on its name.
var options = map[string]func(*Handler, *caddyfile.Dispenser) error{
	"sync":       (*Handler).parseSync,
	"on_failure": (*Handler).parseOnFailure,
	"site": func(h *Handler, d *caddyfile.Dispenser) error {
		return oneArg(d, &h.Site)
	},
	"record": (*Handler).parseRecord,
	"hash": func(h *Handler, d *caddyfile.Dispenser) error {
		return manyArgs(d, &h.Hash)
	},
	"mask": func(h *Handler, d *caddyfile.Dispenser) error {
		return manyArgs(d, &h.Mask)
	},
	"remove": func(h *Handler, d *caddyfile.Dispenser) error {
		return manyArgs(d, &h.Remove)
	},
	"path": func(h *Handler, d *caddyfile.Dispenser) error {
		return pathArgs(d, &h.Paths)
	},
	"roll": (*Handler).parseRoll,
	"keep": func(h *Handler, d *caddyfile.Dispenser) error {
		return durationArg(d, &h.Keep)
	},
	"sign": func(h *Handler, d *caddyfile.Dispenser) error {
		switch args := d.RemainingArgs(); len(args) {
		case 0:
			return nil // the default, said aloud
		case 1:
			h.Sign = args[0]
			return nil
		}
		return d.ArgErr()
	},
	"checkpoint": func(h *Handler, d *caddyfile.Dispenser) error {
		return durationArg(d, &h.Checkpoint)
	},
	"deliver": (*Handler).parseDeliver,
	"origin": func(h *Handler, d *caddyfile.Dispenser) error {
		if err := oneArg(d, &h.Origin); err != nil {
			return err
		}
		if strings.ContainsAny(h.Origin, "+ \t\r\n") || strings.Contains(h.Origin, "://") {
			return d.Errf("origin '%s': write a URL without its scheme, such as audit.example.com/orders", h.Origin)
		}
		return nil
	},
	"tiles": func(h *Handler, d *caddyfile.Dispenser) error {
		return oneArg(d, &h.Tiles)
	},
	"quorum": func(h *Handler, d *caddyfile.Dispenser) error {
		var text string
		if err := oneArg(d, &text); err != nil {
			return err
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return d.Errf("quorum '%s': write how many witnesses must cosign, such as 2", text)
		}
		h.Quorum = n
		return nil
	},
	"witness": (*Handler).parseWitness,
}

// parseWitness reads a URL and a key, in any order.
func (h *Handler) parseWitness(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 2 {
		return d.Err("witness: write witness <url> <verifier key>, such as witness https://witness.example.com witness.example.com+1a2b3c4d+BA…")
	}
	if strings.Contains(args[1], "://") {
		args[0], args[1] = args[1], args[0]
	}
	w := Witness{URL: args[0], Key: args[1]}
	if _, err := w.parse(); err != nil {
		return d.Errf("witness: %v", err)
	}
	h.Witnesses = append(h.Witnesses, w)
	return nil
}

func (h *Handler) parseSync(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.ArgErr()
	}
	switch args[0] {
	case SyncAlways, SyncOff:
		if len(args) > 1 {
			return d.Errf("sync %s takes no argument, got '%s'", args[0], args[1])
		}
	case SyncBatch:
		if len(args) > 2 {
			return d.ArgErr()
		}
		if len(args) == 2 {
			dur, err := parseDuration(d, args[1])
			if err != nil {
				return err
			}
			h.Batch = dur
		}
	default:
		return d.Errf("sync '%s': write always, batch [<duration>] or off", args[0])
	}
	h.Sync = args[0]
	return nil
}

func (h *Handler) parseOnFailure(d *caddyfile.Dispenser) error {
	if err := oneArg(d, &h.OnFailure); err != nil {
		return err
	}
	if h.OnFailure != FailRefuse && h.OnFailure != FailContinue {
		return d.Errf("on_failure '%s': write refuse or continue", h.OnFailure)
	}
	return nil
}

func (h *Handler) parseRecord(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	switch what := d.Val(); what {
	case "headers":
		names := d.RemainingArgs()
		if len(names) == 0 {
			return d.ArgErr()
		}
		for _, name := range names {
			if conceal.Header(name) {
				return d.Errf("record headers %s: this header carries credentials, which are never recorded", name)
			}
		}
		h.RecordHeaders = append(h.RecordHeaders, names...)
	case "query":
		if h.RecordQuery != nil {
			return d.Err("record query already specified")
		}
		names := append([]string{}, d.RemainingArgs()...) // not nil: "all" must survive as JSON
		for _, name := range names {
			if conceal.Parameter(name) {
				return d.Errf("record query %s: this parameter carries credentials, which are never recorded", name)
			}
		}
		h.RecordQuery = &names
	case "request_body":
		return sizeArg(d, "record request_body", &h.RequestBody)
	case "response_body":
		return sizeArg(d, "record response_body", &h.ResponseBody)
	default:
		return d.Errf("record '%s': write headers <name>..., query [<name>...], request_body <size> or response_body <size>", what)
	}
	return nil
}

func (h *Handler) parseRoll(d *caddyfile.Dispenser) error {
	var text string
	if err := oneArg(d, &text); err != nil {
		return err
	}
	// 10m is ten minutes, as everywhere in Caddy: sizes are written 10MB.
	dur, err := caddy.ParseDuration(text)
	if err != nil {
		size, err := humanize.ParseBytes(text)
		if err != nil || size < minRoll {
			return d.Errf("roll '%s': write a size of at least 64KiB such as 64MiB, or a duration such as 24h", text)
		}
		if h.RollSize != 0 {
			return d.Err("roll <size> already specified")
		}
		h.RollSize = int64(min(size, 1<<62))
		return nil
	}
	if dur < time.Second {
		return d.Errf("roll '%s': write a duration of at least 1s", text)
	}
	if h.RollEvery != 0 {
		return d.Err("roll <duration> already specified")
	}
	h.RollEvery = caddy.Duration(dur)
	return nil
}

func (h *Handler) parseDeliver(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 2 {
		return d.Err("deliver: write deliver file <path>, deliver http <url> or deliver syslog tcp|tls <address>")
	}
	v := Delivery{Sink: args[0]}
	switch {
	case (v.Sink == SinkFile || v.Sink == SinkHTTP) && len(args) == 2:
		v.Target = args[1]
	case v.Sink == SinkSyslog && len(args) == 3 && (args[1] == "tcp" || args[1] == "tls"):
		v.Network, v.Target = args[1], args[2]
	default:
		return d.Errf("deliver %s: write deliver file <path>, deliver http <url> or deliver syslog tcp|tls <address>", strings.Join(args, " "))
	}
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if seen[option] && option != "header" {
			return d.Errf("%s already specified", option)
		}
		seen[option] = true
		if err := v.parseOption(d, option); err != nil {
			return err
		}
	}
	h.Deliver = append(h.Deliver, v)
	return nil
}

func (v *Delivery) parseOption(d *caddyfile.Dispenser, option string) error {
	switch option {
	case "name":
		return oneArg(d, &v.Name)
	case "format":
		return oneArg(d, &v.Format)
	case "from":
		return oneArg(d, &v.From)
	case "ca":
		return oneArg(d, &v.CA)
	case "timeout":
		return durationArg(d, &v.Timeout)
	case "batch":
		var text string
		if err := oneArg(d, &text); err != nil {
			return err
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxBatch {
			return d.Errf("batch '%s': write a number of records from 1 to %d", text, maxBatch)
		}
		v.Batch = n
		return nil
	case "header":
		args := d.RemainingArgs()
		if len(args) != 2 {
			return d.ArgErr()
		}
		if v.Headers == nil {
			v.Headers = make(map[string]string)
		}
		if _, ok := v.Headers[args[0]]; ok {
			return d.Errf("header %s already specified", args[0])
		}
		v.Headers[args[0]] = args[1]
		return nil
	}
	return d.Errf("unrecognized subdirective '%s': deliver knows name, format, batch, timeout, header, ca and from", option)
}

// oneArg reads exactly one argument.
func oneArg(d *caddyfile.Dispenser, to *string) error {
	args := d.RemainingArgs()
	if len(args) != 1 || args[0] == "" {
		return d.ArgErr()
	}
	*to = args[0]
	return nil
}

// pathArgs appends one pattern of paths or more.
func pathArgs(d *caddyfile.Dispenser, to *[]string) error {
	first := len(*to)
	if err := manyArgs(d, to); err != nil {
		return err
	}
	for _, pattern := range (*to)[first:] {
		if _, err := conceal.ParsePathPattern(pattern); err != nil {
			return d.Errf("path %v", err)
		}
	}
	return nil
}

// manyArgs appends one argument or more.
func manyArgs(d *caddyfile.Dispenser, to *[]string) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.ArgErr()
	}
	*to = append(*to, args...)
	return nil
}

func durationArg(d *caddyfile.Dispenser, to *caddy.Duration) error {
	option := d.Val()
	var text string
	if err := oneArg(d, &text); err != nil {
		return err
	}
	dur, err := caddy.ParseDuration(text)
	if err != nil || dur <= 0 {
		return d.Errf("%s '%s': write a duration above zero, such as 10s, 24h or 180d", option, text)
	}
	*to = caddy.Duration(dur)
	return nil
}

func parseDuration(d *caddyfile.Dispenser, text string) (caddy.Duration, error) {
	dur, err := caddy.ParseDuration(text)
	if err != nil || dur <= 0 {
		return 0, d.Errf("'%s' is not a duration above zero: write one such as 100ms", text)
	}
	return caddy.Duration(dur), nil
}

func sizeArg(d *caddyfile.Dispenser, option string, to *int64) error {
	if *to != 0 {
		return d.Errf("%s already specified", option)
	}
	var text string
	if err := oneArg(d, &text); err != nil {
		return err
	}
	n, err := humanize.ParseBytes(text)
	if err != nil || n == 0 || n > maxBody {
		return d.Errf("%s '%s': write a size from 1B to 64KiB", option, text)
	}
	*to = int64(n)
	return nil
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Handler)(nil)
)
