package audit

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/logging"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/conceal"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

func init() {
	caddy.RegisterModule(Encoder{})
}

// Encoder masks credentials in Caddy's own logs: access log, error log and
// everything else that goes through the logger it is set for.
//
// Caddy by itself hides Authorization, Proxy-Authorization, Cookie and
// Set-Cookie, unless log_credentials is on. This encoder also hides DPoP,
// X-Api-Key and every other header whose name says that it carries a
// credential, passwords and tokens in query strings wherever a URL stands
// (the request's, Referer, Location), in pieces of JSON and in data source names,
// secrets in the paths of bots and webhooks and in links that reset passwords,
// activate accounts or invite, whatever follows `Bearer` or `Basic`, and anything
// in the form of a JSON Web Token, of an API key of ours or of a well-known
// issuer, or of a private key, in messages and errors too. It does so whether
// log_credentials is on or not.
//
// An access log has a logger of its own, and errors go to the default one: write
// the encoder into the `log` option of the global block as well, or there alone.
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

	// Where further secrets stand in paths, such as /share/{token}: what is in
	// braces is hidden. See the option of the same name of audit.
	Paths []string `json:"paths,omitempty"`

	mask    *conceal.Text
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
	var err error
	if e.mask, err = newText(e.Headers, e.Query, e.Paths); err != nil {
		return err
	}
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
//		path   <pattern>...
//	}
func (e *Encoder) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // encoder name
	if err := option.NoArgs(d); err != nil {
		return err
	}
	return option.Block(d, []string{"header", "query", "path"}, func(d *caddyfile.Dispenser) error {
		switch d.Val() {
		case "wrap":
			return e.unmarshalWrap(d)
		case "header":
			return option.List(d, &e.Headers)
		case "query":
			return option.List(d, &e.Query)
		case "path":
			return pathArgs(d, &e.Paths)
		}
		return option.Unrecognized(d, "format moat", []string{"wrap", "header", "query", "path"})
	})
}

func (e *Encoder) unmarshalWrap(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return option.Takes(d, "wrap", "an encoder, such as json")
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
	return nil
}

// Clone is part of zapcore.Encoder.
func (e Encoder) Clone() zapcore.Encoder {
	e.wrapped = e.wrapped.Clone()
	return e
}

// EncodeEntry is part of zapcore.Encoder.
func (e Encoder) EncodeEntry(ent zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	ent.Message = e.mask.Clean(ent.Message)
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

func (e Encoder) AddArray(k string, v zapcore.ArrayMarshaler) error { return e.obj().AddArray(k, v) }

func (e Encoder) AddObject(k string, v zapcore.ObjectMarshaler) error { return e.obj().AddObject(k, v) }
func (e Encoder) AddBinary(k string, v []byte)                        { e.obj().AddBinary(k, v) }
func (e Encoder) AddByteString(k string, v []byte)                    { e.obj().AddByteString(k, v) }
func (e Encoder) AddString(k, v string)                               { e.obj().AddString(k, v) }
func (e Encoder) AddReflected(k string, v any) error                  { return e.obj().AddReflected(k, v) }
func (e Encoder) AddBool(k string, v bool)                            { e.wrapped.AddBool(k, v) }
func (e Encoder) AddComplex128(k string, v complex128)                { e.wrapped.AddComplex128(k, v) }

func (e Encoder) AddComplex64(k string, v complex64) { e.wrapped.AddComplex64(k, v) }

func (e Encoder) AddDuration(k string, v time.Duration) { e.wrapped.AddDuration(k, v) }
func (e Encoder) AddFloat64(k string, v float64)        { e.wrapped.AddFloat64(k, v) }
func (e Encoder) AddFloat32(k string, v float32)        { e.wrapped.AddFloat32(k, v) }
func (e Encoder) AddInt(k string, v int)                { e.wrapped.AddInt(k, v) }
func (e Encoder) AddInt64(k string, v int64)            { e.wrapped.AddInt64(k, v) }
func (e Encoder) AddInt32(k string, v int32)            { e.wrapped.AddInt32(k, v) }
func (e Encoder) AddInt16(k string, v int16)            { e.wrapped.AddInt16(k, v) }
func (e Encoder) AddInt8(k string, v int8)              { e.wrapped.AddInt8(k, v) }
func (e Encoder) AddTime(k string, v time.Time)         { e.wrapped.AddTime(k, v) }
func (e Encoder) AddUint(k string, v uint)              { e.wrapped.AddUint(k, v) }
func (e Encoder) AddUint64(k string, v uint64)          { e.wrapped.AddUint64(k, v) }
func (e Encoder) AddUint32(k string, v uint32)          { e.wrapped.AddUint32(k, v) }
func (e Encoder) AddUint16(k string, v uint16)          { e.wrapped.AddUint16(k, v) }
func (e Encoder) AddUint8(k string, v uint8)            { e.wrapped.AddUint8(k, v) }
func (e Encoder) AddUintptr(k string, v uintptr)        { e.wrapped.AddUintptr(k, v) }
func (e Encoder) OpenNamespace(k string)                { e.wrapped.OpenNamespace(k) }

// objectMasker cleans the members of one object on their way to its encoder.
// What is embedded passes numbers and times through as they are.
type objectMasker struct {
	zapcore.ObjectEncoder
	mask *conceal.Text
}

func (o objectMasker) AddString(key, value string) {
	o.ObjectEncoder.AddString(key, o.mask.Value(key, value))
}

func (o objectMasker) AddByteString(key string, value []byte) {
	o.ObjectEncoder.AddByteString(key, []byte(o.mask.Value(key, string(value))))
}

func (o objectMasker) AddBinary(key string, value []byte) {
	if o.mask.Hides(key) {
		o.ObjectEncoder.AddString(key, conceal.Redacted)
		return
	}
	o.ObjectEncoder.AddBinary(key, value)
}

func (o objectMasker) AddObject(key string, value zapcore.ObjectMarshaler) error {
	if o.mask.Hides(key) {
		o.ObjectEncoder.AddString(key, conceal.Redacted)
		return nil
	}
	return o.ObjectEncoder.AddObject(key, zapcore.ObjectMarshalerFunc(func(enc zapcore.ObjectEncoder) error {
		return value.MarshalLogObject(objectMasker{enc, o.mask})
	}))
}

func (o objectMasker) AddArray(key string, value zapcore.ArrayMarshaler) error {
	if o.mask.Hides(key) {
		return o.ObjectEncoder.AddArray(key, zapcore.ArrayMarshalerFunc(func(enc zapcore.ArrayEncoder) error {
			enc.AppendString(conceal.Redacted)
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
	if o.mask.Hides(key) {
		o.ObjectEncoder.AddString(key, conceal.Redacted)
		return nil
	}
	clean, err := o.mask.Reflected(value)
	if err != nil {
		return err
	}
	return o.ObjectEncoder.AddReflected(key, clean)
}

// arrayMasker is objectMasker for the elements of an array.
type arrayMasker struct {
	zapcore.ArrayEncoder
	mask *conceal.Text
}

func (a arrayMasker) AppendString(v string) { a.ArrayEncoder.AppendString(a.mask.Clean(v)) }

func (a arrayMasker) AppendByteString(v []byte) {
	a.ArrayEncoder.AppendByteString([]byte(a.mask.Clean(string(v))))
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
	clean, err := a.mask.Reflected(v)
	if err != nil {
		return err
	}
	return a.ArrayEncoder.AppendReflected(clean)
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
