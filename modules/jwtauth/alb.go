package jwtauth

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/keyset"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/ownissuer"
)

// ALB is an AWS Application Load Balancer that logs users in and signs what the
// identity provider says of them into X-Amzn-Oidc-Data. That is a token with
// padding, in ES256, whose key stands under an address of its own.
type ALB struct {
	// The ARN of the load balancer, which must have signed the token: everybody
	// with an AWS account can have one whose keys stand at the same address.
	ARN string `json:"arn"`

	// What stands before the key ID in the address of a key. Default:
	// https://public-keys.auth.elb.<region>.amazonaws.com/ or, in AWS GovCloud,
	// https://s3-<region>.amazonaws.com/aws-elb-public-keys-prod-<region>/
	Keys string `json:"keys,omitempty"`
}

// albHeader is where a load balancer puts its token, and its algorithm.
const (
	albHeader    = "X-Amzn-Oidc-Data"
	albAlgorithm = "ES256"
)

var albARN = regexp.MustCompile(`^arn:(aws[a-z-]*):elasticloadbalancing:([a-z]{2,4}(?:-[a-z]+)+-[0-9]+):[0-9]{12}:loadbalancer/app/[A-Za-z0-9-]+/[0-9a-f]+$`)

// source returns where the keys are.
func (a *ALB) source() (keyset.Source, error) {
	var s keyset.Source
	arn := albARN.FindStringSubmatch(a.ARN)
	if arn == nil {
		return s, fmt.Errorf("alb: '%s' is not the ARN of an application load balancer: write arn:aws:elasticloadbalancing:<region>:<account>:loadbalancer/app/<name>/<id>", a.ARN)
	}
	partition, region := arn[1], arn[2]
	switch {
	case a.Keys != "":
		s.URL = strings.TrimSuffix(a.Keys, "/") + "/"
	case partition == "aws":
		s.URL = "https://public-keys.auth.elb." + region + ".amazonaws.com/"
	case partition == "aws-us-gov":
		s.URL = "https://s3-" + region + ".amazonaws.com/aws-elb-public-keys-prod-" + region + "/"
	default:
		return s, fmt.Errorf("alb: the address of the keys in %s is not known: write it behind the ARN", partition)
	}
	if err := s.Check(); err != nil {
		return s, fmt.Errorf("alb: keys: %w", err)
	}
	if strings.ContainsAny(s.URL, "?#") {
		return s, errors.New("alb: keys: the key ID is added to the URL, which must not have a query")
	}
	return s, nil
}

// checkALB refuses what the tokens of a load balancer cannot be.
func (i *Issuer) checkALB() error {
	switch {
	case i.ALB == nil:
		return nil
	case i.Internal != nil || len(i.JWKS) > 0 || len(i.Keys) > 0:
		return errors.New("alb: the load balancer has its own keys: remove jwks and key, or write another issuer for them")
	case len(i.Algorithms) > 0 && !slices.Equal(i.Algorithms, []string{albAlgorithm}):
		return errors.New("alb: a load balancer signs with ES256 and nothing else: remove algorithms")
	}
	_, err := i.ALB.source()
	return err
}

// checkALBs refuses a load balancer whose tokens are not looked for.
func (p *Provider) checkALBs() error {
	for _, i := range p.Issuers {
		if i == nil || i.ALB == nil {
			continue
		}
		if err := i.checkALB(); err != nil {
			return fmt.Errorf("%s: %w", i.label(), err)
		}
		if !slices.ContainsFunc(p.From, func(s Source) bool { return strings.EqualFold(s.Header, albHeader) }) {
			return errors.New("alb: a load balancer puts its token into a header of its own: write from header " + albHeader)
		}
	}
	return nil
}

// openALB opens the keys of a load balancer and has its tokens read as it
// writes them.
func (p *Provider) openALB(a *ALB, t *token.Issuer) error {
	source, err := a.source()
	if err != nil {
		return err
	}
	t.Padded, t.Signer, t.Algorithms = true, a.ARN, []string{albAlgorithm}
	source.Issuer = t.Name
	t.Keys, err = lifecycle.Share(&p.held, sets, albKeys{source}, func() (token.KeySource, func(), error) {
		n := keyset.OpenNamed(source, albAlgorithm, keyset.Options{
			Report:  ownissuer.Report("source", source.String()),
			Changed: ownissuer.KeysChanged(ownissuer.WhatKeySet, source.String(), source.Issuer),
		})
		return n, n.Close, nil
	})
	return err
}

// albKeys tells the keys of load balancers from key sets at the same address.
type albKeys struct{ keyset.Source }

// unmarshalALB reads the rest of a line alb <arn> [<keys URL>].
func (i *Issuer) unmarshalALB(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 || len(args) > 2 {
		return d.Err("alb takes the ARN of the load balancer and perhaps the URL of its keys: alb arn:aws:elasticloadbalancing:<region>:<account>:loadbalancer/app/<name>/<id>")
	}
	i.ALB = &ALB{ARN: args[0]}
	if len(args) == 2 {
		i.ALB.Keys = args[1]
	}
	if _, err := i.ALB.source(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}
