package fescue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"time"

	"github.com/google/uuid"

	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/sso"
)

// Terminals give sessions to those who sign in from a terminal.
type Terminals interface {
	identity.Signers
	SignIn(ctx context.Context, keyID, person, once string, life time.Duration) (identity.Session, error)
	EndSession(ctx context.Context, id string) error
}

// Provider is the provider of identities that people sign in at.
type Provider interface {
	Host() string
	// Device is what a terminal has to know, and Verify says whose ID token it got. Their
	// errors are for people: an *sso.Refusal or *sso.Unavailable.
	Device(ctx context.Context) (sso.Device, error)
	Verify(ctx context.Context, token string) (who sso.Person, once string, err error)
}

// SignInPath is where terminals sign in, without a signature.
const SignInPath = awsapi.OwnPath + "sign-in"

// SignInOffer is the answer of DescribeSignIn: how a terminal gets an ID token of the
// provider, by a device code (RFC 8628).
type SignInOffer struct {
	Issuer                      string
	ClientId                    string
	DeviceAuthorizationEndpoint string
	TokenEndpoint               string
	Scopes                      []string
}

// SignInRequest is the body of SignIn.
type SignInRequest struct {
	// IdToken is good once, within ten minutes.
	IdToken string
}

// TerminalSessionRequest is the body of CreateTerminalSession.
type TerminalSessionRequest struct {
	// Once is any text: a second session for the same one is refused. Empty stands for none.
	Once string
}

// TerminalSession is the answer of SignIn and CreateTerminalSession: a temporary key.
type TerminalSession struct {
	AccessKeyId     string
	SecretAccessKey string
	SessionToken    string
	ExpiresAt       string
	// Person is who signed in, and KeyName the access key whose rights the session has.
	Person  string `json:",omitempty"`
	KeyName string
}

func (a *API) createTerminalSession(ctx context.Context, r *restjson.Request, in TerminalSessionRequest) (out TerminalSession, err error) {
	if err := lasting(r); err != nil {
		return out, err
	}
	if in.Once == "" {
		in.Once = uuid.NewString()
	}
	s, err := a.o.Terminals.SignIn(ctx, r.KeyID, r.Caller.Person, in.Once, identity.TerminalSessionLife)
	if errors.Is(err, identity.ErrTaken) {
		return out, refuse(http.StatusConflict, conflict, "This sign-in was used already: sign in again.")
	}
	return TerminalSession{s.ID, s.Secret, s.Token, timestamp(s.ExpiresAt), r.Caller.Person, r.Caller.Name}, err
}

// endTerminalSession is for whoever has the session, as that is what signs.
func (a *API) endTerminalSession(ctx context.Context, r *restjson.Request, _ nothing) (out nothing, err error) {
	switch err = a.o.Terminals.EndSession(ctx, r.KeyID); {
	case errors.Is(err, identity.ErrExpiredKey):
		err = nil // it has ended
	case errors.Is(err, identity.ErrLastingKey):
		err = refuse(http.StatusBadRequest, badRequest, "EndTerminalSession ends the temporary key that signs the call, and this is an access key: fescue keys revoke, or DeleteAccessKey, ends it.")
	case errors.Is(err, identity.ErrUnknownKey):
		err = refuse(http.StatusBadRequest, badRequest, "EndTerminalSession ends temporary keys of access keys, and this is one of a core: it ends with the core's certificate.")
	}
	return out, err
}

// unsigned are the operations that need no signature, and no key: they are how one comes
// by one.
var unsigned = []Operation{
	{
		Operation: restjson.Operation{Name: "DescribeSignIn", Method: http.MethodGet, Path: SignInPath},
		Summary:   "Returns how a terminal has somebody sign in at the server's provider of OpenID Connect, by a device code; without a signature.",
		Answers:   reflect.TypeFor[SignInOffer](),
	},
	{
		Operation: restjson.Operation{Name: "SignIn", Method: http.MethodPost, Path: SignInPath},
		Summary:   "Takes an ID token of the provider's, once, and returns a temporary key with the rights of the access key that a claim of it is mapped to; without a signature.",
		Takes:     reflect.TypeFor[SignInRequest](), Answers: reflect.TypeFor[TerminalSession](),
	},
}

// maxSignIn bounds the body of SignIn, in bytes.
const maxSignIn = 64 << 10

// SignIn answers what is unsigned at SignInPath. What it gives out comes of a call of the
// API, made in process for the person who signs in, in a Region.
func (a *API) SignIn(h *awsapi.Handler, region string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		switch {
		case a.o.Provider == nil:
			err = refuse(http.StatusNotFound, resourceNotFound, "Nobody signs in here by OpenID Connect: the server was started without --oidc-issuer. Use an access key.")
		case !awsapi.Private(r):
			err = refuse(http.StatusForbidden, "AccessDeniedException", "People sign in over HTTPS, or on the server's machine: over plain HTTP everyone on the way could read their tokens and keys. Have the URL begin with https://, and start the server without --insecure-http.")
		case r.Method == http.MethodGet:
			err = a.describeSignIn(w, r)
		default:
			err = a.signIn(w, r, awsapi.Inside{Handler: h, Region: region, Origin: r})
		}
		if err == nil {
			return
		}
		w.Header().Set(awsapi.RequestIDHeader, uuid.NewString())
		a.WriteError(w, a.notSignedIn(h, r, err))
	})
}

// notSignedIn is how a refusal goes over the wire. Too many from an address are answered
// only that.
func (a *API) notSignedIn(h *awsapi.Handler, r *http.Request, err error) *awsapi.Error {
	call := &awsapi.Call{Operation: "SignIn"}
	refused, away := (*sso.Refusal)(nil), (*sso.Unavailable)(nil)
	switch {
	case a.o.Provider != nil && r.Method != http.MethodGet && !h.MayRefuse(r):
		return refuse(http.StatusTooManyRequests, "ThrottlingException", "Too many attempts from your address. Try again in a minute.")
	case errors.As(err, &refused):
		return refuse(http.StatusForbidden, "AccessDeniedException", "%s", refused.Text)
	case errors.As(err, &away):
		return refuse(http.StatusServiceUnavailable, "ServiceUnavailableException", "%s", away.Text())
	}
	return a.Refusal(r.Context(), call, err)
}

func (a *API) describeSignIn(w http.ResponseWriter, r *http.Request) error {
	device, err := a.o.Provider.Device(r.Context())
	if err != nil {
		return err
	}
	w.Header().Set(awsapi.RequestIDHeader, uuid.NewString())
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(SignInOffer{device.Issuer, device.ClientID, device.DeviceURL, device.TokenURL, device.Scopes})
	return nil
}

func (a *API) signIn(w http.ResponseWriter, r *http.Request, inside awsapi.Inside) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxSignIn+1))
	if err != nil || len(body) > maxSignIn {
		return refuse(http.StatusBadRequest, badRequest, "The request did not arrive whole, or is larger than %d bytes.", maxSignIn)
	}
	var in SignInRequest
	if err := restjson.Decode(body, &in); err != nil {
		return malformed(err.Error())
	}
	who, once, err := a.o.Provider.Verify(r.Context(), in.IdToken)
	if err != nil {
		return err
	}
	inside.Signer, err = a.o.Terminals.Signer(r.Context(), who.KeyID)
	if errors.Is(err, identity.ErrUnknownKey) {
		return refuse(http.StatusForbidden, "AccessDeniedException", "%s", UnknownKey(who))
	}
	if err != nil {
		return err
	}
	inside.Signer.Person = who.Name
	inner, err := json.Marshal(TerminalSessionRequest{once})
	if err != nil {
		return err
	}
	made, err := http.NewRequestWithContext(r.Context(), http.MethodPost, awsapi.OwnPath+"terminal/sessions", bytes.NewReader(inner))
	if err != nil {
		return err
	}
	a.o.Logger.Info("somebody signs in from a terminal by OpenID Connect", "person", who.Name, "subject", who.Subject, "key", who.KeyID, "from", r.RemoteAddr)
	w.Header().Set("Cache-Control", "no-store")
	inside.Serve(w, made, "fescue")
	return nil
}

// UnknownKey is what somebody is told who is mapped to an access key that is not there.
func UnknownKey(who sso.Person) string {
	return "You are " + who.Name + ", and would act as the access key " + who.KeyID + ", which is not there or was revoked. Ask whoever runs this server to map you to another one, with --oidc-key VALUE=ACCESSKEYID."
}
