// Package corelink is the wire contract between a core and the control plane:
// HTTPS with mutual TLS on the device port, paths named after the actions of the
// core's IoT policy. It holds the types that both sides encode, the paths, and
// the client that the core uses. It decides nothing: what a deployment may do is
// the state machine's business, who may ask is the policy's.
package corelink

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
)

// MaxPoll bounds how long GetDeployment waits for a deployment. It stays under
// the minute after which middleboxes drop silent connections.
const MaxPoll = 55 * time.Second

// Paths of the operations, as ServeMux patterns.
const (
	ReportCorePattern          = "PUT /greengrass/cores/{ThingName}"
	GetDeploymentPattern       = "GET /greengrass/cores/{ThingName}/deployment"
	GetArtifactPattern         = "GET /greengrass/groups/{GroupId}/deployments/{DeploymentId}/artifacts/{Hash}"
	UpdateStatusPattern        = "PUT /greengrass/groups/{GroupId}/deployments/{DeploymentId}/cores/{CoreArn}"
	UpdateProgressPattern      = "PUT /greengrass/groups/{GroupId}/deployments/{DeploymentId}/cores/{CoreArn}/progress"
	AnswerCheckPattern         = "PUT /greengrass/groups/{GroupId}/deployments/{DeploymentId}/cores/{CoreArn}/check"
	SealSecretsPattern         = "POST /greengrass/groups/{GroupId}/deployments/{DeploymentId}/cores/{CoreArn}/secrets"
	CreateCertificatePattern   = "PUT /greengrass/cores/{ThingName}/certificate"
	GetConnectivityPattern     = "GET /greengrass/things/{ThingName}/connectivityInfo"
	UpdateConnectivityPattern  = "PUT /greengrass/things/{ThingName}/connectivityInfo"
	GetCredentialsPattern      = "GET /greengrass/groups/{GroupId}/cores/{CoreArn}/credentials"
	GetSigningKeysPattern      = "GET /greengrass/signingkeys"
	DeploymentDeltaTopicSuffix = "-gda/shadow/update/delta"
)

// WakeTopic is where the cloud notifies a core over MQTT that a deployment waits:
// the delta of the shadow that the original's deployment agent watched.
func WakeTopic(coreThing string) string {
	return "$aws/things/" + coreThing + DeploymentDeltaTopicSuffix
}

func corePath(thing string) string { return "/greengrass/cores/" + url.PathEscape(thing) }

// Poll is what a core asks with for the deployment that waits for it.
type Poll struct {
	// After is the highest epoch that the core has been through.
	After int64
	// Wait is how long to wait for a deployment, at most MaxPoll.
	Wait time.Duration
	// Formats are the manifest formats that the core reads. The first cores do not
	// say so; they read bundle.OldestFormat.
	Formats []int
	// Info is the hash of what the core has reported of itself; empty to be asked
	// for nothing.
	Info string
	// Telemetry is whether the core sends telemetry. The first cores do not say so.
	Telemetry fescue.Telemetry
}

// maxPollFormats bounds how many formats a poll may name.
const maxPollFormats = 32

// query is the poll as the query of its URL.
func (p Poll) query() string {
	q := url.Values{}
	q.Set("after", strconv.FormatInt(p.After, 10))
	q.Set("wait", strconv.Itoa(int(min(p.Wait, MaxPoll).Seconds())))
	if len(p.Formats) > 0 {
		texts := make([]string, len(p.Formats))
		for i, f := range p.Formats {
			texts[i] = strconv.Itoa(f)
		}
		q.Set("formats", strings.Join(texts, ","))
	}
	if p.Info != "" {
		q.Set("info", p.Info)
	}
	if p.Telemetry != "" {
		q.Set("telemetry", string(p.Telemetry))
	}
	return q.Encode()
}

// ParsePoll reads the query of a poll.
func ParsePoll(q url.Values) (p Poll, err error) {
	if p.After, err = strconv.ParseInt(q.Get("after"), 10, 64); err != nil || p.After < 0 {
		return Poll{}, errors.New("after must be an epoch, a number of at least 0")
	}
	seconds, err := strconv.Atoi(q.Get("wait"))
	if err != nil || seconds < 0 {
		return Poll{}, errors.New("wait must be a number of seconds of at least 0")
	}
	p.Wait = time.Duration(min(seconds, int(MaxPoll/time.Second))) * time.Second
	if text := q.Get("formats"); text != "" {
		for _, number := range strings.SplitN(text, ",", maxPollFormats+1) {
			format, err := strconv.Atoi(number)
			if err != nil || len(p.Formats) == maxPollFormats {
				return Poll{}, fmt.Errorf("formats must be at most %d numbers with commas between them", maxPollFormats)
			}
			p.Formats = append(p.Formats, format)
		}
	}
	if p.Info = q.Get("info"); p.Info != "" && !fescue.ValidHash(p.Info) {
		return Poll{}, errors.New("info must be a SHA-256")
	}
	if p.Telemetry = fescue.Telemetry(q.Get("telemetry")); p.Telemetry != "" && !p.Telemetry.Valid() {
		return Poll{}, fmt.Errorf("telemetry must be %s or %s", fescue.TelemetryOn, fescue.TelemetryOff)
	}
	return p, nil
}

func artifactPath(groupID, deploymentID, hash string) string {
	return "/greengrass/groups/" + groupID + "/deployments/" + deploymentID + "/artifacts/" + hash
}

func statusPath(groupID, deploymentID, coreARN string) string {
	return "/greengrass/groups/" + groupID + "/deployments/" + deploymentID + "/cores/" + url.PathEscape(coreARN)
}

// Offer answers GetDeployment. Without a deployment it has only Epoch.
type Offer struct {
	// Epoch is the core's highest epoch that the cloud knows.
	Epoch int64 `json:"epoch"`
	// GroupID and DeploymentID name the deployment that waits for the core or
	// that it has claimed and not ended.
	GroupID      string                 `json:"groupId,omitempty"`
	DeploymentID string                 `json:"deploymentId,omitempty"`
	Phase        fescue.DeploymentPhase `json:"phase,omitempty"`
	// Cancel asks the core to report Failed instead, if it still can.
	Cancel bool `json:"cancel,omitempty"`
	// Envelope is the signed manifest, as package bundle makes it.
	Envelope []byte `json:"envelope,omitempty"`
	// SigningKeyID is the key that signs manifests now: a core that does not
	// know it asks for the signing keys.
	SigningKeyID string `json:"signingKeyId,omitempty"`
	// WantInfo asks the core to report what it is: the control plane knows
	// something else of it, or nothing.
	WantInfo bool `json:"wantInfo,omitempty"`
	// Check is a question, when no deployment waits.
	Check *Check `json:"check,omitempty"`
	// Site is for a core whose group has client devices.
	Site *Site `json:"site,omitempty"`
	// Telemetry is whether the core is to send telemetry; empty where the control plane
	// does not know.
	Telemetry fescue.Telemetry `json:"telemetry,omitempty"`
	// Rest is for how many seconds at least a core need not ask again while it can be woken
	// over MQTT: the control plane wakes it for everything that an answer may have, again
	// and again until it asks. 0 is from one that does not say, and may lose a wake.
	Rest int64 `json:"rest,omitempty"`
}

// Check asks a core whether it could run a group, which it is not to do. It is not
// signed: nothing starts from it.
type Check struct {
	// ID stands in the place of a deployment's in the path of the answer.
	ID      string `json:"id"`
	GroupID string `json:"groupId"`
	// Group is the document group.json.
	Group     json.RawMessage   `json:"group"`
	Functions []CheckedFunction `json:"functions,omitempty"`
	Models    []CheckedModel    `json:"models,omitempty"`
	// Activity asks what the core does instead; Group is empty then.
	Activity bool `json:"activity,omitempty"`
}

// CheckedModel is the model of a resource.
type CheckedModel struct {
	Resource string `json:"resource"`
	SHA256   string `json:"sha256"`
	// Size is in bytes.
	Size int64 `json:"size"`
	// Unpack is how it is packed, by the name that manifests have for it.
	Unpack string `json:"unpack"`
}

// CheckedFunction is the package of a function.
type CheckedFunction struct {
	ARN    string `json:"arn"`
	SHA256 string `json:"sha256"`
	// Size is in bytes.
	Size int64 `json:"size"`
}

// CheckReport is the body of AnswerCheck.
type CheckReport struct {
	// Problems would fail the deployment on the core.
	Problems []fescue.ErrorDetail `json:"problems,omitempty"`
	// Warnings fail nothing: parts of the group that have no effect, and what on
	// the machine may soon be in the way.
	Warnings []fescue.ErrorDetail `json:"warnings,omitempty"`
	// ToFetch is how many bytes the core would download.
	ToFetch int64 `json:"toFetch"`
	// Activity answers a question for it. The first cores that answer checks do not
	// know it.
	Activity *Activity `json:"activity,omitempty"`
}

// StatusReport is the body of UpdateCoreDeploymentStatus.
type StatusReport struct {
	// Event is one of the core's events: Claimed, Staged, Switched, Succeeded,
	// Failed, WentBack.
	Event fescue.DeploymentEvent `json:"event"`
	Epoch int64                  `json:"epoch"`
	// Message and Details say why, when Event is Failed.
	Message string               `json:"message,omitempty"`
	Details []fescue.ErrorDetail `json:"details,omitempty"`
	// Note is free text for the timeline.
	Note string `json:"note,omitempty"`
	// Warnings are what the core found that fails nothing.
	Warnings []fescue.ErrorDetail `json:"warnings,omitempty"`
	// Fetched is how many bytes were downloaded for the deployment.
	Fetched int64 `json:"fetched,omitempty"`
}

// ProgressReport is the body of UpdateProgress: what the core does now for a
// deployment that it has claimed.
type ProgressReport struct {
	Epoch int64 `json:"epoch"`
	// Activity is what the core does, in a few words.
	Activity string `json:"activity"`
	// Fetched of ToFetch bytes are downloaded.
	Fetched int64 `json:"fetched"`
	ToFetch int64 `json:"toFetch"`
}

// ProgressAnswer is what the cloud answers to that.
type ProgressAnswer struct {
	// Cancel asks the core to stop and to report Failed, if it still can.
	Cancel bool `json:"cancel"`
}

// StatusAnswer is what the cloud makes of a report. A report of something that
// the cloud already has is accepted again.
type StatusAnswer struct {
	Status fescue.DeploymentStatus `json:"status"`
	Phase  fescue.DeploymentPhase  `json:"phase,omitempty"`
	Epoch  int64                   `json:"epoch"`
	// Cancel asks the core to stop and to report Failed, if it still can.
	Cancel bool `json:"cancel,omitempty"`
}

// SecretsRequest is the body of SealSecrets: a core that has claimed a deployment
// asks for the secrets of its group. They are answered as bundle.SealSecrets makes
// them.
type SecretsRequest struct {
	Epoch int64 `json:"epoch"`
	// PublicKey is what to seal them for, in DER (PKIX): an RSA or an EC key.
	PublicKey []byte `json:"publicKey"`
}

// CredentialsAnswer answers GetCredentials, in the form of AWS IoT's credentials
// provider.
type CredentialsAnswer struct {
	Credentials Credentials `json:"credentials"`
}

// Credentials are a temporary key for the role of a group.
type Credentials struct {
	AccessKeyID     string    `json:"accessKeyId"`
	SecretAccessKey string    `json:"secretAccessKey"`
	SessionToken    string    `json:"sessionToken"`
	Expiration      time.Time `json:"expiration"`
}

// SigningKeys answers GetSigningKeys.
type SigningKeys struct {
	// Keys are the public keys that are good, newest first: what a core trusts
	// at its first contact.
	Keys []SigningKey `json:"keys"`
	// Chain are the statements by which each key follows from the one before, as
	// package bundle makes them, oldest first: what a core trusts later.
	Chain [][]byte `json:"chain,omitempty"`
}

// SigningKey is one Ed25519 public key as a PEM block of type PUBLIC KEY.
type SigningKey struct {
	KeyID string `json:"keyId"`
	PEM   string `json:"pem"`
}

// OutOfOrder is the code of a refused report on a deployment that is open, and not in
// a phase from which the event leads on.
const OutOfOrder = "Conflict"

// ErrorBody is the body of every refusal.
type ErrorBody struct {
	// Code is stable: Forbidden, NotFound, OutOfOrder, WrongEpoch, Ended, Invalid.
	Code    string `json:"code"`
	Message string `json:"message"`
}
