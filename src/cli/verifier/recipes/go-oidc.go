package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/coreos/go-oidc"
)

var verifier = oidc.NewVerifier(
	"{{issuer}}",
	oidc.NewRemoteKeySet(context.Background(), "{{jwks}}"),
	// go-oidc knows no leeway: the times are checked below.
	&oidc.Config{ClientID: "{{audience}}", SupportedSigningAlgs: []string{"{{alg}}"}, SkipExpiryCheck: true},
)

const leeway = {{leeway}} * time.Second

// Claims are what a token says.
type Claims struct {
	ClientID string   `json:"client_id"`
	Scopes   []string `json:"scp"`
	Kind     int      `json:"stt"`
	Issued   int64    `json:"iat"`
	From     int64    `json:"nbf"`
}

// go-oidc does not look at the type of a token.
func isAccessToken(raw string) bool {
	var header struct {
		Type     string          `json:"typ"`
		Critical json.RawMessage `json:"crit"`
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[0])
	return err == nil && json.Unmarshal(text, &header) == nil && header.Type == "at+jwt" && header.Critical == nil
}

// Verify returns the claims of a token that may do this here, and an error for any other.
func Verify(ctx context.Context, raw string) (*Claims, error) {
	if !isAccessToken(raw) {
		return nil, errors.New("another kind of token")
	}
	token, err := verifier.Verify(ctx, raw)
	if err != nil {
		return nil, err
	}
	var claims Claims
	if err := token.Claims(&claims); err != nil {
		return nil, err
	}
	now := time.Now()
	soon := now.Add(leeway).Unix()
	if now.After(token.Expiry.Add(leeway)) || claims.Issued > soon || claims.From > soon {
		return nil, errors.New("expired, or not yet valid")
	}
	if claims.Kind != 1 || len(token.Audience) != 1 {
		return nil, errors.New("not a token of a service for this one")
	}
	for _, scope := range claims.Scopes {
		if scope == "{{scope}}" {
			return &claims, nil
		}
	}
	return nil, errors.New("insufficient_scope")
}
