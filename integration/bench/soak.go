package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// soak sends requests with a token, a user and a path that were never seen
// before through all four layers at once, at the constant rate, and fails if
// the memory of the server still grows towards the end. rate_limit is left
// out: it keeps a ring for every user until its next sweep, a minute later.
func (b *bench) soak(ctx context.Context, long time.Duration) error {
	defer b.Close()
	c := &contestant{
		group: "soak", name: "ever-new tokens, users and paths",
		layers: allLayers, body: body1KB, conns: defaultConns, alg: "HS256", order: repeated,
		expect: expectsAll,
	}
	if err := b.prepare(ctx, []*contestant{c}); err != nil {
		return err
	}
	if err := pinSelf(b.cores.load); err != nil {
		return err
	}
	dir := b.dir
	directives, env, err := b.directives(c, dir)
	if err != nil {
		return err
	}
	srv, err := start(ctx, b.binary, dir, b.cores.server, directives, env)
	if err != nil {
		return err
	}
	defer srv.stop()
	sign := b.signers[c.alg]
	if err := check(ctx, c, srv, b.upstreams[string(c.body)], sign); err != nil {
		return fmt.Errorf("not correct: %w", err)
	}
	l, err := connect(srv.site, c.conns, len(c.body), sign.everNew())
	if err != nil {
		return err
	}
	defer l.Close()
	return b.watch(ctx, srv, l, long)
}

// watch keeps the load up and compares the memory of the third quarter of the
// time with that of the last.
func (b *bench) watch(ctx context.Context, srv *server, l *load, long time.Duration) error {
	const steps = 40
	var resident []float64
	for i := range steps {
		n := int(b.Rate * long.Seconds() / steps)
		took, err := l.pace(ctx, max(n, 1), b.Rate)
		if err != nil {
			return err
		}
		now, _, err := memory(srv.cmd.Process.Pid)
		if err != nil {
			return err
		}
		slices.Sort(took)
		resident = append(resident, float64(now)/(1<<20))
		log.Printf("%3d %%  %10d requests  RSS %6.1f MiB  p99 %6.0f µs", (i+1)*100/steps, (i+1)*n, resident[i], micros(quantile(took, 0.99)))
	}
	third := median(slices.Sorted(slices.Values(resident[steps/2 : 3*steps/4])))
	last := median(slices.Sorted(slices.Values(resident[3*steps/4:])))
	fmt.Printf("resident memory: %.1f MiB in the third quarter of %v, %.1f MiB in the last (%+.1f %%)\n", third, long, last, 100*(last/third-1))
	if last > 1.05*third {
		return errors.New("memory grows")
	}
	return nil
}

// everNew returns a source of requests whose tokens are signed as they are
// sent, with a shared secret, since that costs the load little.
func (s *signer) everNew() source {
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "."
	secret, _ := s.key.([]byte)
	exp := time.Now().Add(24 * time.Hour).Unix()
	var users atomic.Int64
	return func(buf []byte) ([]byte, error) {
		user := users.Add(1)
		payload := fmt.Appendf(nil, `{"iss":%q,"aud":%q,"sub":"user-%d","jti":"jti-%d","exp":%d,"realm_access":{"roles":["offline_access","clerk"]}}`,
			issuer, audience, user, user, exp)
		buf = append(buf, "GET /orders/"...)
		buf = strconv.AppendInt(buf, user, 10)
		buf = append(buf, " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "...)
		token := len(buf)
		buf = append(buf, header...)
		buf = base64.RawURLEncoding.AppendEncode(buf, payload)
		mac := hmac.New(sha256.New, secret)
		mac.Write(buf[token:])
		buf = append(buf, '.')
		buf = base64.RawURLEncoding.AppendEncode(buf, mac.Sum(nil))
		return append(buf, "\r\n\r\n"...), nil
	}
}
