package audit

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/logging"
)

func init() {
	caddy.RegisterModule(Encoder{})
}

// redacted stands where a credential was, as in Caddy's own access log.
const redacted = "REDACTED"

// Encoder masks credentials in Caddy's own logs: access log, error log and
// everything else that goes through the logger it is set for.
//
// Caddy by itself hides Authorization, Proxy-Authorization, Cookie and
// Set-Cookie, unless log_credentials is on. This encoder also hides DPoP,
// X-Api-Key and every other header whose name says that it carries a
// credential, passwords and tokens in query strings wherever a URL stands
// (the request's, Referer, Location), whatever follows `Bearer` or `Basic`, and
// anything in the form of a JSON Web Token, in messages and errors too. It does
// so whether log_credentials is on or not.
//
// The values are replaced by REDACTED; names stay, so that the log still
// shows that a credential was sent.
type Encoder struct {
	// The encoder that writes the entry once it is clean. Default: json,
	// or console where the output is a terminal.
	WrappedRaw json.RawMessage `json:"wrap,omitempty" caddy:"namespace=caddy.logging.encoders inline_key=format"`

	// Names of further header fields whose values are hidden, in any
	// spelling of case.
	Headers []string `json:"headers,omitempty"`

	// Names of further query parameters whose values are hidden.
	Query []string `json:"query,omitempty"`

	mask    *masker
	wrapped zapcore.Encoder

	wrappedIsDefault bool
	ctx              caddy.Context
}

// CaddyModule returns the Caddy module information.
func (Encoder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "caddy.logging.encoders.moat",
		New: func() caddy.Module { return new(Encoder) },
	}
}

// Provision sets up the encoder.
func (e *Encoder) Provision(ctx caddy.Context) error {
	e.ctx = ctx
	e.mask = newMasker(e.Headers, e.Query)
	if e.WrappedRaw == nil {
		e.wrappedIsDefault = true
		return e.wrapDefault(&logging.JSONEncoder{})
	}
	val, err := ctx.LoadModule(e, "WrappedRaw")
	if err != nil {
		return fmt.Errorf("loading wrapped encoder: %w", err)
	}
	e.wrapped = val.(zapcore.Encoder)
	return nil
}

func (e *Encoder) wrapDefault(enc zapcore.Encoder) error {
	if p, ok := enc.(caddy.Provisioner); ok {
		if err := p.Provision(e.ctx); err != nil {
			return fmt.Errorf("provisioning default encoder: %w", err)
		}
	}
	e.wrapped = enc
	return nil
}

// ConfigureDefaultFormat chooses console for a terminal, as Caddy does.
func (e *Encoder) ConfigureDefaultFormat(wo caddy.WriterOpener) error {
	if !e.wrappedIsDefault {
		if c, ok := e.wrapped.(caddy.ConfiguresFormatterDefault); ok {
			return c.ConfigureDefaultFormat(wo)
		}
		return nil
	}
	if caddy.IsWriterStandardStream(wo) && term.IsTerminal(int(os.Stderr.Fd())) {
		return e.wrapDefault(&logging.ConsoleEncoder{})
	}
	return nil
}

// UnmarshalCaddyfile sets up the encoder from Caddyfile tokens. Syntax:
//
//	format moat {
//		wrap   <encoder>
//		header <name>...
//		query  <name>...
//	}
func (e *Encoder) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // encoder name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "wrap":
			if e.WrappedRaw != nil {
				return d.Err("wrap already specified")
			}
			if !d.NextArg() {
				return d.ArgErr()
			}
			name := d.Val()
			unm, err := caddyfile.UnmarshalModule(d, "caddy.logging.encoders."+name)
			if err != nil {
				return err
			}
			enc, ok := unm.(zapcore.Encoder)
			if !ok {
				return d.Errf("wrap %s: not an encoder (%T)", name, unm)
			}
			e.WrappedRaw = caddyconfig.JSONModuleObject(enc, "format", name, nil)
		case "header":
			if err := manyArgs(d, &e.Headers); err != nil {
				return err
			}
		case "query":
			if err := manyArgs(d, &e.Query); err != nil {
				return err
			}
		default:
			return d.Errf("unrecognized subdirective '%s': format moat knows wrap, header and query", d.Val())
		}
	}
	return nil
}

// Clone is part of zapcore.Encoder.
func (e Encoder) Clone() zapcore.Encoder {
	e.wrapped = e.wrapped.Clone()
	return e
}

// EncodeEntry is part of zapcore.Encoder.
func (e Encoder) EncodeEntry(ent zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	ent.Message = e.mask.text(ent.Message)
	e.wrapped = e.wrapped.Clone()
	clean := objectMasker{e.wrapped, e.mask}
	for _, f := range fields {
		f.AddTo(clean)
	}
	return e.wrapped.EncodeEntry(ent, nil)
}

// What follows makes Encoder a zapcore.ObjectEncoder, which zap uses to add
// the fields of a logger that many entries share.

func (e Encoder) obj() objectMasker { return objectMasker{e.wrapped, e.mask} }

func (e Encoder) AddArray(k string, v zapcore.ArrayMarshaler) error   { return e.obj().AddArray(k, v) }
func (e Encoder) AddObject(k string, v zapcore.ObjectMarshaler) error { return e.obj().AddObject(k, v) }
func (e Encoder) AddBinary(k string, v []byte)                        { e.obj().AddBinary(k, v) }
func (e Encoder) AddByteString(k string, v []byte)                    { e.obj().AddByteString(k, v) }
func (e Encoder) AddString(k, v string)                               { e.obj().AddString(k, v) }
func (e Encoder) AddReflected(k string, v any) error                  { return e.obj().AddReflected(k, v) }
func (e Encoder) AddBool(k string, v bool)                            { e.wrapped.AddBool(k, v) }
func (e Encoder) AddComplex128(k string, v complex128)                { e.wrapped.AddComplex128(k, v) }
func (e Encoder) AddComplex64(k string, v complex64)                  { e.wrapped.AddComplex64(k, v) }
func (e Encoder) AddDuration(k string, v time.Duration)               { e.wrapped.AddDuration(k, v) }
func (e Encoder) AddFloat64(k string, v float64)                      { e.wrapped.AddFloat64(k, v) }
func (e Encoder) AddFloat32(k string, v float32)                      { e.wrapped.AddFloat32(k, v) }
func (e Encoder) AddInt(k string, v int)                              { e.wrapped.AddInt(k, v) }
func (e Encoder) AddInt64(k string, v int64)                          { e.wrapped.AddInt64(k, v) }
func (e Encoder) AddInt32(k string, v int32)                          { e.wrapped.AddInt32(k, v) }
func (e Encoder) AddInt16(k string, v int16)                          { e.wrapped.AddInt16(k, v) }
func (e Encoder) AddInt8(k string, v int8)                            { e.wrapped.AddInt8(k, v) }
func (e Encoder) AddTime(k string, v time.Time)                       { e.wrapped.AddTime(k, v) }
func (e Encoder) AddUint(k string, v uint)                            { e.wrapped.AddUint(k, v) }
func (e Encoder) AddUint64(k string, v uint64)                        { e.wrapped.AddUint64(k, v) }
func (e Encoder) AddUint32(k string, v uint32)                        { e.wrapped.AddUint32(k, v) }
func (e Encoder) AddUint16(k string, v uint16)                        { e.wrapped.AddUint16(k, v) }
func (e Encoder) AddUint8(k string, v uint8)                          { e.wrapped.AddUint8(k, v) }
func (e Encoder) AddUintptr(k string, v uintptr)                      { e.wrapped.AddUintptr(k, v) }
func (e Encoder) OpenNamespace(k string)                              { e.wrapped.OpenNamespace(k) }

// objectMasker cleans the members of one object on their way to its encoder.
// What is embedded passes numbers and times through as they are.
type objectMasker struct {
	zapcore.ObjectEncoder
	mask *masker
}

func (o objectMasker) AddString(key, value string) {
	o.ObjectEncoder.AddString(key, o.mask.value(key, value))
}

func (o objectMasker) AddByteString(key string, value []byte) {
	o.ObjectEncoder.AddByteString(key, []byte(o.mask.value(key, string(value))))
}

func (o objectMasker) AddBinary(key string, value []byte) {
	if o.mask.hides(key) {
		o.ObjectEncoder.AddString(key, redacted)
		return
	}
	o.ObjectEncoder.AddBinary(key, value)
}

func (o objectMasker) AddObject(key string, value zapcore.ObjectMarshaler) error {
	if o.mask.hides(key) {
		o.ObjectEncoder.AddString(key, redacted)
		return nil
	}
	return o.ObjectEncoder.AddObject(key, zapcore.ObjectMarshalerFunc(func(enc zapcore.ObjectEncoder) error {
		return value.MarshalLogObject(objectMasker{enc, o.mask})
	}))
}

func (o objectMasker) AddArray(key string, value zapcore.ArrayMarshaler) error {
	if o.mask.hides(key) {
		return o.ObjectEncoder.AddArray(key, zapcore.ArrayMarshalerFunc(func(enc zapcore.ArrayEncoder) error {
			enc.AppendString(redacted)
			return nil
		}))
	}
	return o.ObjectEncoder.AddArray(key, zapcore.ArrayMarshalerFunc(func(enc zapcore.ArrayEncoder) error {
		return value.MarshalLogArray(arrayMasker{enc, o.mask})
	}))
}

// AddReflected cleans a value of any type by way of its JSON, which is what
// the encoders would write.
func (o objectMasker) AddReflected(key string, value any) error {
	if o.mask.hides(key) {
		o.ObjectEncoder.AddString(key, redacted)
		return nil
	}
	clean, err := o.mask.reflected(value)
	if err != nil {
		return err
	}
	return o.ObjectEncoder.AddReflected(key, clean)
}

// arrayMasker is objectMasker for the elements of an array.
type arrayMasker struct {
	zapcore.ArrayEncoder
	mask *masker
}

func (a arrayMasker) AppendString(v string) { a.ArrayEncoder.AppendString(a.mask.text(v)) }

func (a arrayMasker) AppendByteString(v []byte) {
	a.ArrayEncoder.AppendByteString([]byte(a.mask.text(string(v))))
}

func (a arrayMasker) AppendObject(v zapcore.ObjectMarshaler) error {
	return a.ArrayEncoder.AppendObject(zapcore.ObjectMarshalerFunc(func(enc zapcore.ObjectEncoder) error {
		return v.MarshalLogObject(objectMasker{enc, a.mask})
	}))
}

func (a arrayMasker) AppendArray(v zapcore.ArrayMarshaler) error {
	return a.ArrayEncoder.AppendArray(zapcore.ArrayMarshalerFunc(func(enc zapcore.ArrayEncoder) error {
		return v.MarshalLogArray(arrayMasker{enc, a.mask})
	}))
}

func (a arrayMasker) AppendReflected(v any) error {
	clean, err := a.mask.reflected(v)
	if err != nil {
		return err
	}
	return a.ArrayEncoder.AppendReflected(clean)
}

// masker knows what a credential looks like.
type masker struct {
	headers map[string]bool // further names, lower case
	query   map[string]bool
}

func newMasker(headers, query []string) *masker {
	m := &masker{headers: make(map[string]bool), query: make(map[string]bool)}
	for _, h := range headers {
		m.headers[lower(h)] = true
	}
	for _, q := range query {
		m.query[lower(q)] = true
	}
	return m
}

// hides reports whether the value of a log field or header of this name is
// hidden whatever it is.
func (m *masker) hides(key string) bool {
	return m.headers[lower(key)] || carriesCredential(key)
}

// value cleans the value of a field.
func (m *masker) value(key, s string) string {
	if m.hides(key) {
		return redacted
	}
	return m.text(s)
}

// text cleans a text: credentials in the query strings of URLs, what follows
// an authentication scheme, JSON Web Tokens.
func (m *masker) text(s string) string {
	if strings.IndexByte(s, '=') >= 0 {
		s = m.parameters(s)
	}
	s = maskSchemes(s)
	if strings.Contains(s, "eyJ") {
		s = maskTokens(s)
	}
	return s
}

// parameters hides the values of secret parameters: what follows name= up to
// the next separator, where the name follows the start of a query or another
// parameter. The rest is copied as it is, since a log must show what was sent
// and not what a parser would make of it.
func (m *masker) parameters(s string) string {
	var out strings.Builder
	done := 0
	for i := 0; i < len(s); i++ {
		if s[i] != '=' {
			continue
		}
		start := strings.LastIndexAny(s[done:i], "?&;#, \t\"'(") + 1 + done
		end := i + 1
		for end < len(s) && !strings.ContainsRune("&;# \t\"'),", rune(s[end])) {
			end++
		}
		name := s[start:i]
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if end > i+1 && (secretParameter(name) && !harmless(s, start, name) || m.query[lower(name)]) {
			out.WriteString(s[done : i+1])
			out.WriteString(redacted)
			done = end
		}
		i = end - 1
	}
	if done == 0 {
		return s
	}
	out.WriteString(s[done:])
	return out.String()
}

// harmless spares short words such as "code=" and "state=" where they do not
// stand in a query, so that messages like "exit code=1" stay readable.
func harmless(s string, start int, name string) bool {
	if hasCredentialWord(lower(name)) {
		return false
	}
	if start == 0 {
		return strings.IndexByte(s, ' ') >= 0
	}
	return strings.IndexByte("?&#;", s[start-1]) < 0
}

// maskSchemes hides what follows the name of an authentication scheme.
func maskSchemes(s string) string {
	for _, scheme := range [...]string{"bearer ", "basic ", "dpop ", "digest ", "negotiate "} {
		from := 0
		for {
			i := indexFold(s[from:], scheme)
			if i < 0 {
				break
			}
			start := from + i + len(scheme)
			end := start
			for end < len(s) && tokenByte(s[end]) {
				end++
			}
			// English words follow these names too.
			if end-start >= 4 && !englishWord(s[start:end]) && s[start:end] != redacted {
				s = s[:start] + redacted + s[end:]
				end = start + len(redacted)
			}
			from = end
		}
	}
	return s
}

// maskTokens hides JSON Web Tokens: three parts in base64url of which the
// first begins a JSON object, {" in base64 being eyJ.
func maskTokens(s string) string {
	from := 0
	for {
		i := strings.Index(s[from:], "eyJ")
		if i < 0 {
			return s
		}
		start := from + i
		end, dots := start, 0
		for end < len(s) && (base64Byte(s[end]) || s[end] == '.') {
			if s[end] == '.' {
				dots++
			}
			end++
		}
		if dots >= 1 && end-start >= 20 {
			s = s[:start] + redacted + s[end:]
			end = start + len(redacted)
		}
		from = end
	}
}

// reflected returns value with every text in its JSON cleaned.
func (m *masker) reflected(value any) (any, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var v any
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return m.tree(v), nil
}

func (m *masker) tree(v any) any {
	switch v := v.(type) {
	case string:
		return m.text(v)
	case []any:
		for i := range v {
			v[i] = m.tree(v[i])
		}
	case map[string]any:
		for k := range v {
			if m.hides(k) {
				v[k] = redacted
			} else {
				v[k] = m.tree(v[k])
			}
		}
	}
	return v
}

// indexFold is strings.Index for a lower-case ASCII text in any case.
func indexFold(s, lowerText string) int {
	for i := 0; i+len(lowerText) <= len(s); i++ {
		if s[i]|0x20 == lowerText[0] && strings.EqualFold(s[i:i+len(lowerText)], lowerText) {
			return i
		}
	}
	return -1
}

func base64Byte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// tokenByte reports whether c may stand in token68 of RFC 9110 section 11.2.
func tokenByte(c byte) bool {
	return base64Byte(c) || c == '.' || c == '~' || c == '+' || c == '/' || c == '='
}

// englishWord reports whether s is letters only, all in lower case but
// perhaps the first, as no encoded credential of any length is.
func englishWord(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (i > 0 || c < 'A' || c > 'Z') {
			return i > 0 && i == len(s)-1 && c == '.' // the end of a sentence
		}
	}
	return true
}

// Interface guards
var (
	_ zapcore.Encoder                  = (*Encoder)(nil)
	_ caddyfile.Unmarshaler            = (*Encoder)(nil)
	_ caddy.Provisioner                = (*Encoder)(nil)
	_ caddy.ConfiguresFormatterDefault = (*Encoder)(nil)
	_ zapcore.ObjectEncoder            = objectMasker{}
	_ zapcore.ArrayEncoder             = arrayMasker{}
)
