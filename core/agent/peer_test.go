package agent_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/pki"
	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/failurecoverage"
)

const (
	coreARN  = "arn:aws:iot:us-east-1:123456789012:thing/Mill_Core"
	coreName = "Mill_Core"
	groupID  = "11111111-1111-4111-8111-111111111111"
)

// TestMain checks that the tests make deployments fail in every way.
func TestMain(m *testing.M) {
	os.Exit(failurecoverage.Check(m.Run(), []string{".", "../failure", "../trust", "../depot", "../secrets"}))
}

// peer is the cloud's end of the wire: a TLS server with the deployments of one
// core, which go through the real state machine.
type peer struct {
	t      testing.TB
	server *httptest.Server
	key    ed25519.PrivateKey

	mu          testkit.Monitor
	deployments []*offered
	content     map[string][]byte
	// serve answers a download instead of the peer when it returns true.
	serve func(w http.ResponseWriter, r *http.Request, content []byte) bool
	// refuse gives the status with which a report is refused, or 0.
	refuse   func(corelink.StatusReport) int
	offsets  map[string][]string // hash -> Range headers
	down     bool
	keyCalls int
	// ignoreAfter makes the peer offer what the core has seen.
	ignoreAfter bool
	publicKey   []byte
	// secrets are those of every group; sealing changes what they are sealed for, with
	// what, or is an answer of its own.
	secrets []bundle.Secret
	sealing func(of *bundle.SecretsOf, to *crypto.PublicKey, key *ed25519.PrivateKey) *corelink.StatusError
	sealed  int
	// chain are the statements for later keys.
	chain [][]byte
	// keyID is the key that polls mention.
	keyID string
	// ahead is by how much the peer's clock is ahead.
	ahead time.Duration
	polls []string // the wait parameters
	// rest is for how many seconds it lets the core be.
	rest int64
	// first makes the peer one that knows nothing of reports on cores; otherwise info
	// is the last of infos reports, deaf how many are refused.
	first bool
	info  fescue.CoreInfo
	infos int
	deaf  int
	// check waits for the core, report is its answer.
	check  *corelink.Check
	report *corelink.CheckReport
	// telemetry is what the core is to do, says what it said last.
	telemetry, says fescue.Telemetry
}

type offered struct {
	fescue.Deployment
	peer     *peer
	envelope []byte
	events   []fescue.DeploymentEvent
	// polls counts the polls since the end.
	polls int
	// progress and reports are what the core said, in order.
	progress []corelink.ProgressReport
	reports  []corelink.StatusReport
}

// cancel asks the core to stop.
func (p *peer) cancel(d *offered) {
	p.mu.Change(func() { d.CancelRequestedAt = time.Now() })
}

// end ends a deployment as a deadline does.
func (p *peer) end(d *offered) {
	p.mu.Change(func() { d.Status, d.Phase = fescue.Failure, "" })
}

func newPeer(t testing.TB) *peer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{
		t: t, key: private,
		content: map[string][]byte{}, offsets: map[string][]string{}, publicKey: publicPEM(t, public),
	}
	mux := http.NewServeMux()
	mux.HandleFunc(corelink.GetDeploymentPattern, p.getDeployment)
	mux.HandleFunc(corelink.ReportCorePattern, p.reportCore)
	mux.HandleFunc(corelink.GetArtifactPattern, p.getArtifact)
	mux.HandleFunc(corelink.UpdateStatusPattern, p.updateStatus)
	mux.HandleFunc(corelink.AnswerCheckPattern, p.answerCheck)
	mux.HandleFunc(corelink.UpdateProgressPattern, p.updateProgress)
	mux.HandleFunc(corelink.SealSecretsPattern, p.sealSecrets)
	mux.HandleFunc(corelink.GetSigningKeysPattern, p.getSigningKeys)
	p.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.isDown() {
			panic(http.ErrAbortHandler)
		}
		if ahead := p.clock(); ahead != 0 {
			w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		}
		mux.ServeHTTP(w, r)
	}))
	p.server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t)}}
	p.server.StartTLS()
	t.Cleanup(func() {
		p.server.CloseClientConnections()
		p.server.Close()
	})
	return p
}

// issued is the certificate of every peer: the RSA key of httptest's own would take
// more of the processor than all else that a power cut's test does.
var issued = sync.OnceValues(func() (*tls.Certificate, error) {
	authority, err := pki.NewAuthority("peer", pki.ECDSA, time.Now())
	if err != nil {
		return nil, err
	}
	return authority.IssueServer(pki.ECDSA, []string{"localhost"}, time.Now(), 24*time.Hour)
})

func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	c, err := issued()
	if err != nil {
		t.Fatal(err)
	}
	return *c
}

func publicPEM(t testing.TB, key ed25519.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func (p *peer) client() *corelink.Client {
	roots := x509.NewCertPool()
	roots.AddCert(p.server.Certificate())
	return corelink.NewClient(p.server.Listener.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "localhost"})
}

func (p *peer) isDown() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.down
}

func (p *peer) clock() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ahead
}

// await waits until cond, which is called with the peer locked, holds.
func (p *peer) await(what string, cond func() bool) {
	p.t.Helper()
	p.mu.Await(p.t, what, cond, func() string { return "deployments " + p.describe() })
}

// describe lists the deployments. mu is held.
func (p *peer) describe() string {
	type row struct {
		Epoch  int64
		Status fescue.DeploymentStatus
		Phase  fescue.DeploymentPhase
		Events []fescue.DeploymentEvent
		Error  string
	}
	var rows []row
	for _, d := range p.deployments {
		rows = append(rows, row{d.Epoch, d.Status, d.Phase, d.events, d.ErrorMessage})
	}
	text, _ := json.Marshal(rows)
	return string(text)
}

// ended waits for the end of a deployment.
func (p *peer) ended(d *offered) fescue.Deployment {
	p.t.Helper()
	var end fescue.Deployment
	p.await("the end of the deployment", func() bool {
		end = d.Deployment
		return d.Status.Final()
	})
	return end
}

// expect waits for the end of a deployment and checks its status.
func (p *peer) expect(d *offered, status fescue.DeploymentStatus) fescue.Deployment {
	p.t.Helper()
	end := p.ended(d)
	if end.Status != status {
		p.t.Fatalf("the deployment ended as %s: %s %v", end.Status, end.ErrorMessage, end.ErrorDetails)
	}
	return end
}

// notesOf are the notes of a deployment's reports.
func (p *peer) notesOf(id string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.deployments {
		if d.ID == id {
			var notes []string
			for _, r := range d.reports {
				notes = append(notes, r.Note)
			}
			return strings.Join(notes, "; ")
		}
	}
	return ""
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// put keeps content to be downloaded.
func (p *peer) put(data []byte) (hash string, size int64) {
	hash = hashOf(data)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.content[hash] = data
	return hash, int64(len(data))
}

func (p *peer) reportCore(w http.ResponseWriter, r *http.Request) {
	p.mu.Change(func() {
		if p.deaf > 0 {
			p.deaf--
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		if err := json.NewDecoder(r.Body).Decode(&p.info); err != nil {
			p.t.Error(err)
		}
		p.infos++
		w.Write([]byte("{}"))
	})
}

// offer signs a manifest and offers it.
func (p *peer) offer(m bundle.Manifest) *offered {
	p.t.Helper()
	envelope, err := bundle.Sign(m, p.key, bundle.Formats()...)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.offerEnvelope(m, envelope)
}

func (p *peer) offerEnvelope(m bundle.Manifest, envelope []byte) *offered {
	d := &offered{peer: p, Deployment: fescue.Deployment{
		ID: m.DeploymentID, GroupID: m.GroupID, Type: m.DeploymentType,
		Status: fescue.InProgress, Phase: fescue.Offered, Epoch: m.Epoch, CoreThing: coreName,
	}, envelope: envelope}
	p.mu.Change(func() { p.deployments = append(p.deployments, d) })
	return d
}

func (p *peer) getDeployment(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.ParseInt(r.FormValue("after"), 10, 64)
	seconds, _ := strconv.Atoi(r.FormValue("wait"))
	p.mu.Change(func() {
		p.polls = append(p.polls, r.FormValue("wait"))
		p.says = fescue.Telemetry(r.FormValue("telemetry"))
		for _, d := range p.deployments {
			if d.Status.Final() {
				d.polls++
			}
		}
	})
	timer := time.NewTimer(time.Duration(seconds) * time.Second)
	defer timer.Stop()
	for {
		p.mu.Lock()
		var offer corelink.Offer
		for _, d := range p.deployments {
			if !d.Status.Final() && (d.Epoch > after || p.ignoreAfter) {
				offer = corelink.Offer{Epoch: d.Epoch, GroupID: d.GroupID, DeploymentID: d.ID, Phase: d.Phase, Envelope: d.envelope, Cancel: !d.CancelRequestedAt.IsZero()}
			}
		}
		offer.SigningKeyID, offer.Telemetry, offer.Rest = p.keyID, p.telemetry, p.rest
		differs := p.telemetry != "" && r.FormValue("telemetry") != string(p.telemetry)
		offer.WantInfo = r.FormValue("info") != "" && r.FormValue("info") != p.info.Hash() && !p.first
		if offer.DeploymentID == "" && p.check != nil {
			offer.Check = p.check
		}
		changed, down := p.mu.Changed(), p.down
		p.mu.Unlock()
		if down {
			panic(http.ErrAbortHandler)
		}
		if offer.DeploymentID != "" || offer.Check != nil || offer.WantInfo || differs {
			answer(w, http.StatusOK, offer)
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-timer.C:
			answer(w, http.StatusOK, offer)
			return
		}
	}
}

func (p *peer) getArtifact(w http.ResponseWriter, r *http.Request) {
	hash := r.PathValue("Hash")
	p.mu.Lock()
	content, ok := p.content[hash]
	p.offsets[hash] = append(p.offsets[hash], r.Header.Get("Range"))
	serve := p.serve
	p.mu.Unlock()
	if !ok {
		answer(w, http.StatusNotFound, corelink.ErrorBody{Code: "NotFound", Message: "no such artifact in this deployment"})
		return
	}
	if serve != nil && serve(w, r, content) {
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

func (p *peer) updateStatus(w http.ResponseWriter, r *http.Request) {
	var report corelink.StatusReport
	if err := json.NewDecoder(r.Body).Decode(&report); err != nil || r.PathValue("CoreArn") != coreARN {
		answer(w, http.StatusBadRequest, corelink.ErrorBody{Code: "Invalid", Message: "malformed"})
		return
	}
	status := http.StatusNotFound
	var body any = corelink.ErrorBody{Code: "NotFound", Message: "no such deployment"}
	p.mu.Change(func() {
		i := slices.IndexFunc(p.deployments, func(d *offered) bool { return d.ID == r.PathValue("DeploymentId") })
		if i < 0 {
			return
		}
		d := p.deployments[i]
		if p.refuse != nil {
			if code := p.refuse(report); code != 0 {
				status, body = code, corelink.ErrorBody{Code: "Refused", Message: "refused by the test"}
				return
			}
		}
		next, err := d.After(fescue.CoreActor, fescue.DeploymentStep{
			Event: report.Event, At: time.Now(), Message: report.Message, Details: report.Details, Epoch: report.Epoch,
		})
		if err != nil && !errors.Is(err, fescue.ErrNoChange) {
			refusal := corelink.ErrorBody{Code: "Ended", Message: err.Error()}
			if errors.Is(err, fescue.ErrTransition) {
				refusal.Code = corelink.OutOfOrder
			}
			status, body = http.StatusConflict, refusal
			return
		}
		d.Deployment = next
		if report.Event == fescue.EventFailed {
			failurecoverage.Note(report.Details)
		}
		d.events = append(d.events, report.Event)
		d.reports = append(d.reports, report)
		status, body = http.StatusOK, corelink.StatusAnswer{
			Status: d.Status, Phase: d.Phase, Epoch: d.Epoch, Cancel: !d.Status.Final() && !d.CancelRequestedAt.IsZero(),
		}
	})
	answer(w, status, body)
}

// ask has the core check a group.
func (p *peer) ask(check corelink.Check) corelink.CheckReport {
	p.t.Helper()
	p.mu.Change(func() { p.check, p.report = &check, nil })
	var report corelink.CheckReport
	p.await("the answer to a check", func() bool {
		if p.report != nil {
			report = *p.report
		}
		return p.report != nil
	})
	return report
}

func (p *peer) answerCheck(w http.ResponseWriter, r *http.Request) {
	report := new(corelink.CheckReport)
	if err := json.NewDecoder(r.Body).Decode(report); err != nil {
		answer(w, http.StatusBadRequest, corelink.ErrorBody{Code: "Invalid", Message: "malformed"})
		return
	}
	status := http.StatusNotFound
	p.mu.Change(func() {
		if p.check != nil && p.check.ID == r.PathValue("DeploymentId") {
			p.check, p.report, status = nil, report, http.StatusOK
		}
	})
	answer(w, status, struct{}{})
}

func (p *peer) updateProgress(w http.ResponseWriter, r *http.Request) {
	var report corelink.ProgressReport
	if err := json.NewDecoder(r.Body).Decode(&report); err != nil {
		answer(w, http.StatusBadRequest, corelink.ErrorBody{Code: "Invalid", Message: "malformed"})
		return
	}
	status, body := http.StatusConflict, any(corelink.ErrorBody{Code: "Ended", Message: "it has ended"})
	p.mu.Change(func() {
		for _, d := range p.deployments {
			if d.ID == r.PathValue("DeploymentId") && !d.Status.Final() && d.Epoch == report.Epoch {
				d.progress = append(d.progress, report)
				status, body = http.StatusOK, corelink.ProgressAnswer{Cancel: !d.CancelRequestedAt.IsZero()}
			}
		}
	})
	answer(w, status, body)
}

func (p *peer) getSigningKeys(w http.ResponseWriter, _ *http.Request) {
	p.mu.Change(func() { p.keyCalls++ })
	p.mu.Lock()
	keys := corelink.SigningKeys{Keys: []corelink.SigningKey{{KeyID: "k", PEM: string(p.publicKey)}}, Chain: p.chain}
	p.mu.Unlock()
	answer(w, http.StatusOK, keys)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}
