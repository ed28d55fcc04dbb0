// Package edge answers what cores and client devices ask over mutual TLS. Who asks is known by the
// certificate alone; whether they may is decided by the IoT policies attached to
// it, for each request again, as they are known within a second. What a deployment is and does is package deploy's.
package edge

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/logs"
	"github.com/fescue-edge/fescue/cloud/policyvars"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/inbound"
	"github.com/fescue-edge/fescue/pki"
	"github.com/fescue-edge/fescue/policy"
)

// Principals finds the principal of a certificate. Unknown certificates are
// fescue.ErrNotFound.
type Principals interface {
	Principal(ctx context.Context, certificateID string) (identity.Principal, error)
}

// Deployments is the engine's side towards cores.
type Deployments interface {
	Await(ctx context.Context, p fescue.Partition, thing string, poll corelink.Poll,
		allowed func(ctx context.Context, d *fescue.Deployment) error) (corelink.Offer, error)
	// Look has the long polls of a core ask again.
	Look(p fescue.Partition, thing string)
	Report(ctx context.Context, p fescue.Partition, thing, groupID, id string, r corelink.StatusReport) (fescue.Deployment, error)
	MayFetch(ctx context.Context, p fescue.Partition, thing, groupID, id, hash string) error
	Progress(ctx context.Context, p fescue.Partition, thing, groupID, id string, r corelink.ProgressReport) (cancel bool, err error)
	Checked(ctx context.Context, p fescue.Partition, thing, id string, report corelink.CheckReport) error
	ReportCore(ctx context.Context, p fescue.Partition, thing string, info fescue.CoreInfo) error
	SealSecrets(ctx context.Context, p fescue.Partition, thing, groupID, id string, epoch int64, to crypto.PublicKey) ([]byte, error)
}

// Presence is notified when a core was seen, and when its long poll begins and ends:
// with Done when it is answered, with Gone when it broke.
type Presence interface {
	Saw(p fescue.Partition, thing string)
	Connected(p fescue.Partition, thing, host string)
	Done(p fescue.Partition, thing string)
	Gone(p fescue.Partition, thing string)
}

// Artifacts keeps content by hash.
type Artifacts interface {
	artifacts.Opener
	Stat(ctx context.Context, hash string) (artifacts.Info, error)
}

// Exchange gives cores temporary keys for the roles of their groups.
type Exchange interface {
	// Credentials of a group without a role, or one that does not deploy the core, is
	// fescue.ErrNotFound; a role that is not to be assumed is identity.ErrRoleRefused.
	Credentials(ctx context.Context, p identity.Principal, thing, groupID string) (identity.Session, error)
}

// SigningKeys returns the public keys of manifests.
type SigningKeys interface {
	Public(ctx context.Context) (corelink.SigningKeys, error)
}

// Options is what a Handler is made of.
type Options struct {
	Principals  Principals
	Deployments Deployments
	Exchange    Exchange
	Artifacts   Artifacts
	Presence    Presence
	Shadows     Shadows
	Discovery   Discovery
	Sites       Sites
	Cores       Cores
	SigningKeys SigningKeys
	Logs        Logs
	// Pace is how slowly a client may send a body and read an answer.
	Pace   inbound.Pace
	Now    func() time.Time
	Logger *slog.Logger
}

// Handler is the edge API.
type Handler struct {
	Options
	mux      *http.ServeMux
	underway inbound.Portions // by certificate
	polls    polls
}

// Bounds of a request.
const (
	// maxUnderway bounds the requests of one certificate that are under way, long
	// polls and downloads among them. A core has two.
	maxUnderway = 64
	// maxBody bounds a request's body in bytes, whatever its operation.
	maxBody = 1 << 20
	// answerTimeout bounds the look at a certificate in a handshake, and the writing
	// of an answer that net/http does not write.
	answerTimeout = 30 * time.Second
)

// New makes the handler.
func New(o Options) *Handler {
	h := &Handler{Options: o, mux: http.NewServeMux()}
	h.mux.HandleFunc(corelink.ReportCorePattern, h.serve(h.reportCore))
	h.mux.HandleFunc(corelink.PutLogsPattern, h.serve(h.putLogs))
	h.mux.HandleFunc(corelink.GetDeploymentPattern, h.serve(h.getDeployment))
	h.mux.HandleFunc(corelink.GetArtifactPattern, h.serve(h.getArtifact))
	h.mux.HandleFunc(corelink.UpdateStatusPattern, h.serve(h.updateStatus))
	h.mux.HandleFunc(corelink.UpdateProgressPattern, h.serve(h.updateProgress))
	h.mux.HandleFunc(corelink.AnswerCheckPattern, h.serve(h.answerCheck))
	h.mux.HandleFunc(corelink.SealSecretsPattern, h.serve(h.sealSecrets))
	h.mux.HandleFunc(corelink.CreateCertificatePattern, h.serve(h.createCertificate))
	h.mux.HandleFunc(corelink.GetConnectivityPattern, h.serve(h.getConnectivity))
	h.mux.HandleFunc(corelink.UpdateConnectivityPattern, h.serve(h.updateConnectivity))
	h.mux.HandleFunc(corelink.GetCredentialsPattern, h.serve(h.getCredentials))
	h.mux.HandleFunc(corelink.GetSigningKeysPattern, h.serve(h.getSigningKeys))
	h.mux.Handle(corelink.DiscoverPattern, framed(h.serve(h.discover)))
	h.mux.HandleFunc(corelink.ShadowMarksPattern, h.serve(h.shadowMarks))
	h.mux.HandleFunc(corelink.ShadowBatchPattern, h.serve(h.shadowBatch))
	h.serveShadows()
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, refuse(http.StatusNotFound, "NotFound", "no operation answers %s %s on this port", r.Method, r.URL.EscapedPath()))
	})
	return h
}

// requestIDHeader is on every answer, as on the API's.
const requestIDHeader = "x-amzn-RequestId"

// ServeHTTP implements http.Handler. Paths that ServeMux would clean and
// redirect are refused: no client of this API sends them.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.TLS = tlsState(r)
	w.Header().Set(requestIDHeader, fescue.NewID())
	if p := r.URL.EscapedPath(); strings.Contains(p, "//") || strings.Contains(p, "/.") {
		writeError(w, refuse(http.StatusBadRequest, "Invalid", "the path is not in its plain form"))
		return
	}
	h.mux.ServeHTTP(w, r)
}

// Verify is the certificate check of the TLS handshake: registered, active,
// within its validity.
func (h *Handler) Verify(cert *x509.Certificate) error {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	_, err := h.principal(ctx, cert)
	return err
}

// refusal is an error with its HTTP status.
type refusal struct {
	status int
	body   corelink.ErrorBody
}

// Error is the code and the message.
func (e *refusal) Error() string { return e.body.Code + ": " + e.body.Message }

func refuse(status int, code, format string, args ...any) *refusal {
	return &refusal{status, corelink.ErrorBody{Code: code, Message: fmt.Sprintf(format, args...)}}
}

// principal is the certificate's owner, if the certificate may be used now.
func (h *Handler) principal(ctx context.Context, cert *x509.Certificate) (identity.Principal, error) {
	id := pki.CertificateID(cert.Raw)
	now := h.Now()
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return identity.Principal{}, refuse(http.StatusUnauthorized, "CertificateExpired",
			"the certificate %s is valid from %s to %s; the time here is %s", id,
			cert.NotBefore.UTC().Format(time.RFC3339), cert.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	p, err := h.Principals.Principal(ctx, id)
	if errors.Is(err, fescue.ErrNotFound) {
		return p, refuse(http.StatusUnauthorized, "UnknownCertificate", "the certificate %s is not registered", id)
	}
	if err != nil {
		return p, err
	}
	if p.Certificate.Status != fescue.CertificateActive {
		return p, refuse(http.StatusUnauthorized, "CertificateNotActive",
			"the certificate %s is %s; activate it with iot update-certificate --new-status ACTIVE", id, p.Certificate.Status)
	}
	return p, nil
}

// caller is who asks, and the request.
type caller struct {
	identity.Principal
	*http.Request
}

// serve authenticates and writes errors.
func (h *Handler) serve(handle func(http.ResponseWriter, *caller) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, err := h.principal(r.Context(), r.TLS.PeerCertificates[0])
		if err == nil {
			err = h.handle(handle, w, &caller{p, r})
		}
		if err == nil {
			return
		}
		wire := h.wireError(err)
		if wire.status >= http.StatusInternalServerError && r.Context().Err() == nil {
			h.Logger.Error("device's request failed", "request", w.Header().Get(requestIDHeader), "method", r.Method, "path", r.URL.Path, "error", err)
		}
		writeError(w, wire)
	}
}

// handle has a request answered, unless too many of its certificate are under way.
func (h *Handler) handle(answer func(http.ResponseWriter, *caller) error, w http.ResponseWriter, c *caller) error {
	id := c.Certificate.ID
	if !h.underway.Take(id, 1, maxUnderway, math.MaxInt64) {
		return refuse(http.StatusTooManyRequests, "TooManyRequests", "%d requests of the certificate %s are under way: try again when one has ended", maxUnderway, id)
	}
	defer h.underway.Give(id, 1)
	return answer(w, c)
}

// wireErrors maps what the engine refuses to the wire.
var wireErrors = []struct {
	target error
	status int
	code   string
}{
	{fescue.ErrNotFound, http.StatusNotFound, "NotFound"},
	{fescue.ErrWrongEpoch, http.StatusConflict, "WrongEpoch"},
	{fescue.ErrEnded, http.StatusConflict, "Ended"},
	{fescue.ErrTransition, http.StatusConflict, corelink.OutOfOrder},
	{deploy.ErrReport, http.StatusBadRequest, "Invalid"},
	{logs.ErrBatch, http.StatusBadRequest, "Invalid"},
	{logs.ErrForeign, http.StatusForbidden, "Forbidden"},
	{deploy.ErrEpochJump, http.StatusConflict, "EpochJump"},
	{identity.ErrRoleRefused, http.StatusForbidden, "Forbidden"},
	{bundle.ErrSecrets, http.StatusRequestEntityTooLarge, "TooLarge"},
	{pki.ErrWrapping, http.StatusBadRequest, "Invalid"},
	{bundle.ErrFormat, http.StatusUpgradeRequired, "UpgradeRequired"},
	{fescue.ErrDiskFull, http.StatusInsufficientStorage, "DiskFull"},
	{fescue.ErrBusy, http.StatusServiceUnavailable, "Unavailable"},
	{fescue.ErrAway, http.StatusServiceUnavailable, "Unavailable"},
	{fescue.ErrUncertain, http.StatusServiceUnavailable, "Unavailable"},
	// The caller has gone, or the server stops: then it is to try again.
	{context.Canceled, http.StatusServiceUnavailable, "Unavailable"},
}

func (h *Handler) wireError(err error) *refusal {
	var wire *refusal
	if errors.As(err, &wire) {
		return wire
	}
	for _, row := range wireErrors {
		if errors.Is(err, row.target) {
			return refuse(row.status, row.code, "%v", err)
		}
	}
	return refuse(http.StatusInternalServerError, "Internal", "the server could not carry out the request; its log has the cause")
}

func writeError(w http.ResponseWriter, e *refusal) {
	writeJSON(w, e.status, e.body)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// may asks the policies of p, the caller as of now; a denial is a 403 that names
// action and resource.
func (c *caller) may(p identity.Principal, action, resource string) error {
	request := policy.Request{
		Action: action, Resource: resource,
		Variables: policyvars.Connection(c.RemoteAddr, *c.TLS, c.TLS.PeerCertificates[0], p.Certificate.ID),
	}
	if p.Policies.Evaluate(request) == policy.Allowed {
		return nil
	}
	return refuse(http.StatusForbidden, "Forbidden",
		"403 Forbidden: no IoT policy of certificate %s allows %s on %s", p.Certificate.ID, action, resource)
}

// thing checks that the caller's certificate is attached to the thing.
func (c *caller) thing(name string) error {
	for _, t := range c.Things {
		if t == name {
			return nil
		}
	}
	return refuse(http.StatusForbidden, "Forbidden", "the certificate %s is not attached to the thing %q", c.Certificate.ID, name)
}

// getDeployment is the long poll of a core.
func (h *Handler) getDeployment(w http.ResponseWriter, c *caller) error {
	thing := c.PathValue("ThingName")
	if err := c.thing(thing); err != nil {
		return err
	}
	poll, err := corelink.ParsePoll(c.URL.Query())
	if err != nil {
		return refuse(http.StatusBadRequest, "Invalid", "%v", err)
	}
	h.Presence.Saw(c.Partition, thing)
	host, _, _ := net.SplitHostPort(c.RemoteAddr)
	h.Presence.Connected(c.Partition, thing, host)
	ended := h.Presence.Done
	defer func() { ended(c.Partition, thing) }()
	telemetry := h.syncTelemetry(c, thing, poll)
	if telemetry != "" && telemetry != poll.Telemetry {
		poll.Wait = 0 // there is something new for it
	}
	cert := c.TLS.PeerCertificates[0]
	defer h.polls.enter(c.Certificate.ID, waiter{c.Partition, thing})()
	offer, err := h.Deployments.Await(c.Context(), c.Partition, thing, poll,
		func(ctx context.Context, d *fescue.Deployment) error {
			p, err := h.principal(ctx, cert)
			if err != nil || d == nil {
				return err
			}
			return c.may(p, "greengrass:GetDeployment", c.Partition.DeploymentARN(d.GroupID, d.ID))
		})
	if err != nil {
		if c.Context().Err() != nil {
			ended = h.Presence.Gone
		}
		return err
	}
	h.addSite(c, thing, &offer)
	if poll.Wait > 0 {
		telemetry = h.syncTelemetry(c, thing, poll)
	}
	offer.Telemetry = telemetry
	writeJSON(w, http.StatusOK, offer)
	return nil
}

// reportCore takes what a core says of itself. Like the poll, it asks for no right
// but the certificate's thing.
func (h *Handler) reportCore(w http.ResponseWriter, c *caller) error {
	thing := c.PathValue("ThingName")
	if err := c.thing(thing); err != nil {
		return err
	}
	var info fescue.CoreInfo
	if err := readReport(c.Request, &info); err != nil {
		return err
	}
	if err := h.Deployments.ReportCore(c.Context(), c.Partition, thing, info); err != nil {
		return err
	}
	h.Presence.Saw(c.Partition, thing)
	writeJSON(w, http.StatusOK, struct{}{})
	return nil
}

// Logs keeps lines of cores' logs.
type Logs interface {
	Put(ctx context.Context, p fescue.Partition, thing string, batch corelink.LogBatch) error
}

// putLogs takes lines of a core's logs. Like reportCore it asks for no right but the
// certificate's thing: the policies of cores that were made for the original know of
// none.
func (h *Handler) putLogs(w http.ResponseWriter, c *caller) error {
	thing := c.PathValue("ThingName")
	if err := c.thing(thing); err != nil {
		return err
	}
	var batch corelink.LogBatch
	if err := readReport(c.Request, &batch); err != nil {
		return err
	}
	if err := h.Logs.Put(c.Context(), c.Partition, thing, batch); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct{}{})
	return nil
}

// deployment reads the path of a deployment.
func (c *caller) deployment() (groupID, id string, err error) {
	groupID, id = c.PathValue("GroupId"), c.PathValue("DeploymentId")
	if !fescue.ValidID(groupID) || !fescue.ValidID(id) {
		return "", "", refuse(http.StatusBadRequest, "Invalid", "group id or deployment id is not a UUID")
	}
	return groupID, id, nil
}

// getArtifact serves content that stands in the manifest of an unfinished
// deployment of the caller, whole or from an offset.
func (h *Handler) getArtifact(w http.ResponseWriter, c *caller) error {
	groupID, id, err := c.deployment()
	if err != nil {
		return err
	}
	if err := c.may(c.Principal, "greengrass:GetDeploymentArtifacts", c.Partition.DeploymentARN(groupID, id)); err != nil {
		return err
	}
	hash := c.PathValue("Hash")
	if !fescue.ValidHash(hash) {
		return refuse(http.StatusBadRequest, "Invalid", "the artifact's name is not a SHA-256")
	}
	if err := h.mayFetch(c, groupID, id, hash); err != nil {
		return err
	}
	info, err := h.Artifacts.Stat(c.Context(), hash)
	if err != nil {
		return fmt.Errorf("artifact %s: %w", hash, err)
	}
	content := artifacts.NewSeeker(c.Context(), h.Artifacts, hash, info.Size)
	defer content.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", `"`+hash+`"`)
	http.ServeContent(w, c.Request, "", time.Time{}, content)
	return nil
}

// mayFetch: an artifact may belong to any of the caller's things.
func (h *Handler) mayFetch(c *caller, groupID, id, hash string) error {
	err := error(fescue.ErrNotFound)
	for _, thing := range c.Things {
		if err = h.Deployments.MayFetch(c.Context(), c.Partition, thing, groupID, id, hash); err == nil {
			return nil
		}
		if !errors.Is(err, fescue.ErrNotFound) {
			return err
		}
	}
	return err
}

// reporter reads whose deployment a request is about, "…/cores/{CoreArn}", and
// checks that the caller may report on it.
func (h *Handler) reporter(c *caller) (groupID, id, thing string, err error) {
	if groupID, id, err = c.deployment(); err != nil {
		return "", "", "", err
	}
	coreARN := c.PathValue("CoreArn")
	arn, err := fescue.ParseARN(coreARN)
	thing, ok := arn.ThingName()
	if err != nil || !ok || !utf8.ValidString(coreARN) || !fescue.ValidThingName(thing) {
		return "", "", "", refuse(http.StatusBadRequest, "Invalid", "the path names no ARN of a thing")
	}
	if arn.Partition() != c.Partition {
		return "", "", "", refuse(http.StatusNotFound, "NotFound", "the core is not in this partition")
	}
	if err := c.thing(thing); err != nil {
		return "", "", "", err
	}
	err = c.may(c.Principal, "greengrass:UpdateCoreDeploymentStatus", c.Partition.CoreDeploymentARN(groupID, id, coreARN))
	if err == nil {
		h.Presence.Saw(c.Partition, thing)
	}
	return groupID, id, thing, err
}

// updateStatus takes a core's report.
func (h *Handler) updateStatus(w http.ResponseWriter, c *caller) error {
	groupID, id, thing, err := h.reporter(c)
	if err != nil {
		return err
	}
	var report corelink.StatusReport
	if err := readReport(c.Request, &report); err != nil {
		return err
	}
	d, err := h.Deployments.Report(c.Context(), c.Partition, thing, groupID, id, report)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, corelink.StatusAnswer{
		Status: d.Status, Phase: d.Phase, Epoch: d.Epoch, Cancel: !d.Status.Final() && !d.CancelRequestedAt.IsZero(),
	})
	return nil
}

// updateProgress takes what a core does now.
func (h *Handler) updateProgress(w http.ResponseWriter, c *caller) error {
	groupID, id, thing, err := h.reporter(c)
	if err != nil {
		return err
	}
	var report corelink.ProgressReport
	if err := readReport(c.Request, &report); err != nil {
		return err
	}
	cancel, err := h.Deployments.Progress(c.Context(), c.Partition, thing, groupID, id, report)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, corelink.ProgressAnswer{Cancel: cancel})
	return nil
}

// answerCheck takes what a core found.
func (h *Handler) answerCheck(w http.ResponseWriter, c *caller) error {
	_, id, thing, err := h.reporter(c)
	if err != nil {
		return err
	}
	var report corelink.CheckReport
	if err := readReport(c.Request, &report); err != nil {
		return err
	}
	if err := h.Deployments.Checked(c.Context(), c.Partition, thing, id, report); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct{}{})
	return nil
}

// sealSecrets gives a core the secrets of the group that it deploys.
func (h *Handler) sealSecrets(w http.ResponseWriter, c *caller) error {
	groupID, id, thing, err := h.reporter(c)
	if err != nil {
		return err
	}
	if err := c.may(c.Principal, "greengrass:GetDeploymentArtifacts", c.Partition.DeploymentARN(groupID, id)); err != nil {
		return err
	}
	var request corelink.SecretsRequest
	if err := readReport(c.Request, &request); err != nil {
		return err
	}
	to, err := x509.ParsePKIXPublicKey(request.PublicKey)
	if err != nil {
		return refuse(http.StatusBadRequest, "Invalid", "the public key does not parse: %v", err)
	}
	envelope, err := h.Deployments.SealSecrets(c.Context(), c.Partition, thing, groupID, id, request.Epoch, to)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, json.RawMessage(envelope))
	return nil
}

func readReport(r *http.Request, report any) error {
	if err := decode(r, report); err != nil {
		return refuse(http.StatusBadRequest, "Invalid", "the report does not parse: %v", err)
	}
	return nil
}

// decode reads a body that is one JSON value.
func decode(r *http.Request, value any) error {
	dec := json.NewDecoder(r.Body)
	err := dec.Decode(value)
	if err == nil {
		if _, end := dec.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("something stands after it")
		}
	}
	return err
}

// getSigningKeys gives any registered device the keys of manifests: they are
// public.
func (h *Handler) getSigningKeys(w http.ResponseWriter, c *caller) error {
	keys, err := h.SigningKeys.Public(c.Context())
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, keys)
	return nil
}
