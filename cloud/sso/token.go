package sso

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Device is what a program on a terminal has to know, to have a person sign in by a device
// code (RFC 8628).
type Device struct {
	Issuer, ClientID    string
	DeviceURL, TokenURL string
	Scopes              []string
}

// Device asks the provider how a terminal signs in.
func (p *Provider) Device(ctx context.Context) (Device, error) {
	k, err := p.ask(ctx)
	if err != nil {
		return Device{}, err
	}
	if k.endpoint.DeviceAuthURL == "" {
		return Device{}, refuse("%s has no device codes, by which terminals sign in: use the console, or an access key.", p.host)
	}
	return Device{p.o.Issuer, p.o.DeviceClientID, k.endpoint.DeviceAuthURL, k.endpoint.TokenURL, k.scopes}, nil
}

// Verify says whose ID token it is that a terminal got by a device code. Whoever has the
// token is taken for that person, so it is good once, which the caller sees to by what
// once says, and within ten minutes. The error is a Refusal or Unavailable.
func (p *Provider) Verify(ctx context.Context, token string) (who Person, once string, err error) {
	k, err := p.ask(ctx)
	if err != nil {
		return Person{}, "", err
	}
	verified, err := p.verify(ctx, k, p.o.DeviceClientID, token)
	if err != nil {
		return Person{}, "", err
	}
	if who, err = p.person(verified); err != nil {
		return who, "", err
	}
	// One token can be written in several ways, as its signature can; what it says cannot.
	var says json.RawMessage
	if err := verified.Claims(&says); err != nil {
		return Person{}, "", err
	}
	sum := sha256.Sum256(says)
	return who, hex.EncodeToString(sum[:]), nil
}

// verify takes a token that the provider signed for a client a moment ago.
func (p *Provider) verify(ctx context.Context, k *known, clientID, token string) (*oidc.IDToken, error) {
	if len(token) > maxToken {
		return nil, refuse("The token of %s is larger than %d bytes.", p.host, maxToken)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	verified, err := k.Verifier(&oidc.Config{ClientID: clientID, Now: p.o.Now}).Verify(ctx, token)
	var expired *oidc.TokenExpiredError
	switch {
	case err != nil && errors.Is(ctx.Err(), context.Canceled):
		return nil, ctx.Err()
	case errors.As(err, &expired):
		return nil, p.late()
	case err != nil && strings.Contains(err.Error(), "fetching keys "): // all that the library tells of it
		return nil, p.unavailable(err)
	case err != nil:
		return nil, refuse("This is no token of %s for this server: %s.", p.host, printable(strings.ReplaceAll(err.Error(), "oidc: ", ""), 300))
	}
	var claims struct {
		Party string `json:"azp"`
	}
	if err := verified.Claims(&claims); err != nil {
		return nil, refuse("The token of %s does not parse: %s.", p.host, printable(err.Error(), 300))
	}
	switch now := p.o.Now(); {
	case claims.Party != clientID && (claims.Party != "" || len(verified.Audience) > 1):
		return nil, refuse("The token of %s was given to %q, and not to this server, which is %q there.", p.host, printable(claims.Party, 100), clientID)
	case verified.Subject == "":
		return nil, refuse("The token of %s does not say whose it is.", p.host)
	case verified.IssuedAt.Before(now.Add(-oldest)):
		return nil, p.late()
	case verified.IssuedAt.After(now.Add(ahead)):
		return nil, refuse("The token of %s is of %s, which is yet to come: set the clock there, or this server's, which says %s.", p.host, verified.IssuedAt.UTC().Format("2006-01-02 15:04:05"), now.UTC().Format("15:04:05"))
	}
	return verified, nil
}

func (p *Provider) late() error {
	return refuse("What %s said of you is over, or older than %d minutes. Sign in again.", p.host, int(oldest.Minutes()))
}

// person finds who it is, and what they may act as. It is a Refusal for who may nothing.
func (p *Provider) person(token *oidc.IDToken) (Person, error) {
	var claims map[string]any
	if err := token.Claims(&claims); err != nil {
		return Person{}, refuse("The token of %s does not parse: %s.", p.host, printable(err.Error(), 300))
	}
	who := Person{Name: printable(name(claims, token.Subject), 128), Subject: token.Subject}
	list := texts(member(claims, p.o.Claim))
	if p.o.Claim == emailClaim && !verifiedEmail(claims) {
		return who, p.unmapped(who, fmt.Sprintf("%s does not say that it has verified your e-mail address", p.host))
	}
	for _, rule := range p.o.Rules {
		if slices.Contains(list, rule.Value) {
			who.KeyID = rule.KeyID
			return who, nil
		}
	}
	if len(list) == 0 {
		return who, p.unmapped(who, fmt.Sprintf("%s sent no value of the claim %q, in an ID token, by which that is decided", p.host, p.o.Claim))
	}
	shown := make([]string, 0, maxShown+1)
	for _, value := range list[:min(len(list), maxShown)] {
		shown = append(shown, fmt.Sprintf("%q", printable(value, 100)))
	}
	if more := len(list) - maxShown; more > 0 {
		shown = append(shown, fmt.Sprintf("%d more", more))
	}
	return who, p.unmapped(who, fmt.Sprintf("your claim %q is %s, and no access key is for that", p.o.Claim, strings.Join(shown, ", ")))
}

// maxShown is how many values of a claim are shown to whoever has them.
const maxShown = 20

func (p *Provider) unmapped(who Person, why string) error {
	p.o.Logger.Warn("somebody who may do nothing here signed in by OpenID Connect", "issuer", p.o.Issuer, "person", who.Name, "subject", printable(who.Subject, 255), "cause", why)
	return refuse("You are %s, but may do nothing here: %s. Ask whoever runs this server to map a value to an access key, with --oidc-key VALUE=ACCESSKEYID.", who.Name, why)
}

const emailClaim = "email"

// name is what to call somebody. An address that is not verified could be anybody's.
func name(claims map[string]any, subject string) string {
	if address, _ := claims[emailClaim].(string); address != "" && verifiedEmail(claims) {
		return address
	}
	if user, _ := claims["preferred_username"].(string); user != "" {
		return user
	}
	return subject
}

func verifiedEmail(claims map[string]any) bool {
	switch says := claims["email_verified"].(type) {
	case bool:
		return says
	case string: // some say so
		return says == "true"
	}
	return false
}

// member is a claim by its name, or one within others, by theirs with dots between.
func member(claims map[string]any, name string) any {
	if value, ok := claims[name]; ok {
		return value
	}
	outer, inner, ok := strings.Cut(name, ".")
	within, is := claims[outer].(map[string]any)
	if !ok || !is {
		return nil
	}
	return member(within, inner)
}

// texts are the values of a claim: itself, or the members of a list.
func texts(claim any) (list []string) {
	switch claim := claim.(type) {
	case string:
		list = append(list, claim)
	case []any:
		for _, value := range claim {
			if text, ok := value.(string); ok {
				list = append(list, text)
			}
		}
	}
	return list
}

// printable is a text as it can stand in a line of a log, a page or a terminal, with at
// most so many letters.
func printable(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, text)
	if utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:most-1]) + "…"
	}
	return text
}
