package audit

import (
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/conceal"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
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
	return option.Block(d, repeatable, func(d *caddyfile.Dispenser) error {
		if parse := options[d.Val()]; parse != nil {
			return parse(h, d)
		}
		return option.Unrecognized(d, "audit", optionNames)
	})
}

var (
	repeatable  = []string{"record", "hash", "mask", "remove", "path", "roll", "witness", "deliver"}
	optionNames = []string{
		"sync", "on_failure", "site", "record", "hash", "mask", "remove", "path", "roll", "keep", "sign", "checkpoint", "origin", "witness", "quorum", "tiles", "deliver",
	}

	durations       = option.Durations{Min: 1, Example: "24h"}
	batches         = option.Durations{Min: 1, Example: "100ms"}
	bodySizes       = option.Sizes{Max: 64 << 10, Example: "8KiB"}
	rollSizes       = option.Sizes{Min: minRoll, Example: "64MiB"}
	rollEvery       = option.Durations{Min: time.Second, Example: "24h"}
	records         = option.Counts{Min: 1, Max: 10_000, Of: "records"}
	deliveryFormats = []string{"moat", "ocsf", "ecs", "cef"} // of deliver
	froms           = []string{"start", "now"}
	cosigners       = option.Counts{Min: 1, Of: "witnesses"}
)

// options parses one subdirective each; the dispenser stands on its name.
var options = map[string]func(*Handler, *caddyfile.Dispenser) error{
	"sync":       (*Handler).parseSync,
	"on_failure": (*Handler).parseOnFailure,
	"site": func(h *Handler, d *caddyfile.Dispenser) error {
		return option.OneArg(d, &h.Site)
	},
	"record": (*Handler).parseRecord,
	"hash": func(h *Handler, d *caddyfile.Dispenser) error {
		return option.List(d, &h.Hash)
	},
	"mask": func(h *Handler, d *caddyfile.Dispenser) error {
		return option.List(d, &h.Mask)
	},
	"remove": func(h *Handler, d *caddyfile.Dispenser) error {
		return option.List(d, &h.Remove)
	},
	"path": func(h *Handler, d *caddyfile.Dispenser) error {
		return pathArgs(d, &h.Paths)
	},
	"roll": (*Handler).parseRoll,
	"keep": func(h *Handler, d *caddyfile.Dispenser) error {
		return option.Duration(d, &h.Keep, durations)
	},
	"sign": func(h *Handler, d *caddyfile.Dispenser) error {
		switch args := d.RemainingArgs(); len(args) {
		case 0:
			return nil // the default, said aloud
		case 1:
			h.Sign = args[0]
			return nil
		}
		return option.Takes(d, "sign", "one key file, or nothing")
	},
	"checkpoint": func(h *Handler, d *caddyfile.Dispenser) error {
		return option.Duration(d, &h.Checkpoint, durations)
	},
	"deliver": (*Handler).parseDeliver,
	"origin": func(h *Handler, d *caddyfile.Dispenser) error {
		if err := option.OneArg(d, &h.Origin); err != nil {
			return err
		}
		if strings.ContainsAny(h.Origin, "+ \t\r\n") || strings.Contains(h.Origin, "://") {
			return d.Errf("origin '%s': write a URL without its scheme, such as audit.example.com/orders", h.Origin)
		}
		return nil
	},
	"tiles": func(h *Handler, d *caddyfile.Dispenser) error {
		return option.OneArg(d, &h.Tiles)
	},
	"quorum": func(h *Handler, d *caddyfile.Dispenser) error {
		return option.Count(d, &h.Quorum, cosigners)
	},
	"witness": (*Handler).parseWitness,
}

// parseWitness reads a URL and a key, in any order.
func (h *Handler) parseWitness(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 2 {
		return option.Takes(d, "witness", "<url> <verifier key>, such as https://witness.example.com witness.example.com+1a2b3c4d+BA…")
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
	switch n := d.CountRemainingArgs(); {
	case n == 1:
		return option.Word(d, &h.Sync, SyncAlways, SyncBatch, SyncOff)
	case n == 2 && d.NextArg() && d.Val() == SyncBatch:
		h.Sync = SyncBatch
		return option.Duration(d, &h.Batch, batches)
	}
	return option.Takes(d, "sync", "always, batch [<duration>] or off")
}

func (h *Handler) parseOnFailure(d *caddyfile.Dispenser) error {
	return option.Word(d, &h.OnFailure, FailRefuse, FailContinue)
}

func (h *Handler) parseRecord(d *caddyfile.Dispenser) error {
	const forms = "headers <name>..., query [<name>...], request_body <size> or response_body <size>"
	if !d.NextArg() {
		return option.Takes(d, "record", forms)
	}
	switch what := d.Val(); what {
	case "headers":
		var names []string
		if err := option.List(d, &names); err != nil {
			return err
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
		return sizeArg(d, &h.RequestBody)
	case "response_body":
		return sizeArg(d, &h.ResponseBody)
	default:
		return d.Errf("record '%s': write %s", what, forms)
	}
	return nil
}

func (h *Handler) parseRoll(d *caddyfile.Dispenser) error {
	var text string
	if err := option.OneArg(d, &text); err != nil {
		return err
	}
	// 10m is ten minutes, as everywhere in Caddy: sizes are written 10MB.
	every, err := caddy.ParseDuration(text)
	size, notSize := humanize.ParseBytes(text)
	switch {
	case err == nil && rollEvery.Check("roll", caddy.Duration(every)) == nil && every != 0:
		if h.RollEvery != 0 {
			return d.Err("roll <duration> already specified")
		}
		h.RollEvery = caddy.Duration(every)
	case err != nil && notSize == nil && size >= minRoll:
		if h.RollSize != 0 {
			return d.Err("roll <size> already specified")
		}
		h.RollSize = int64(min(size, 1<<62))
	default:
		return d.Errf("roll '%s': write %s, or %s", text, rollSizes, rollEvery)
	}
	return nil
}

func (h *Handler) parseDeliver(d *caddyfile.Dispenser) error {
	const forms = "file <path>, http <url> or syslog tcp|tls <address>"
	args := d.RemainingArgs()
	if len(args) < 2 {
		return option.Takes(d, "deliver", forms)
	}
	v := Delivery{Sink: args[0]}
	switch {
	case (v.Sink == SinkFile || v.Sink == SinkHTTP) && len(args) == 2:
		v.Target = args[1]
	case v.Sink == SinkSyslog && len(args) == 3 && (args[1] == "tcp" || args[1] == "tls"):
		v.Network, v.Target = args[1], args[2]
	default:
		return option.Takes(d, "deliver", forms)
	}
	if err := option.Block(d, []string{"header"}, v.parseOption); err != nil {
		return err
	}
	h.Deliver = append(h.Deliver, v)
	return nil
}

func (v *Delivery) parseOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "name":
		return option.OneArg(d, &v.Name)
	case "format":
		return option.Word(d, &v.Format, deliveryFormats...)
	case "from":
		return option.Word(d, &v.From, froms...)
	case "ca":
		return option.OneArg(d, &v.CA)
	case "timeout":
		return option.Duration(d, &v.Timeout, durations)
	case "batch":
		return option.Count(d, &v.Batch, records)
	case "header":
		args := d.RemainingArgs()
		if len(args) != 2 {
			return option.Takes(d, "header", "a name and a value, such as Authorization \"Bearer {file./run/token}\"")
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
	return option.Unrecognized(d, "deliver", []string{"name", "format", "batch", "timeout", "header", "ca", "from"})
}

// pathArgs appends one pattern of paths or more.
func pathArgs(d *caddyfile.Dispenser, to *[]string) error {
	first := len(*to)
	if err := option.List(d, to); err != nil {
		return err
	}
	for _, pattern := range (*to)[first:] {
		if _, err := conceal.ParsePathPattern(pattern); err != nil {
			return d.Errf("path %v", err)
		}
	}
	return nil
}

// sizeArg reads the size of recorded bodySizes, which record has of two kinds.
func sizeArg(d *caddyfile.Dispenser, to *int64) error {
	if *to != 0 {
		return d.Errf("record %s already specified", d.Val())
	}
	return option.Size(d, to, bodySizes)
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Handler)(nil)
)
