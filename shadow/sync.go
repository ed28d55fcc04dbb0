package shadow

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// State is what a document says, without when.
type State struct {
	Desired  map[string]any `json:"desired,omitempty"`
	Reported map[string]any `json:"reported,omitempty"`
}

// State is what the document says, nothing for one that does not exist.
func (d Document) State() State {
	if !d.Exists() {
		return State{}
	}
	return State{d.Desired, d.Reported}
}

// Equal reports whether two states are the same as JSON means it.
func (s State) Equal(other State) bool {
	return equal(orEmpty(s.Desired), orEmpty(other.Desired)) && equal(orEmpty(s.Reported), orEmpty(other.Reported))
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// Synced is what a core remembers of a shadow that it keeps in step with the cloud's:
// what both had when that was last seen to. The zero Synced is of a shadow that never
// was in step.
//
// Local is what the core's document was made; Cloud is what the cloud's was then, and
// the same as Local once the cloud has taken it. As long as they differ the cloud may
// or may not have it already.
type Synced struct {
	Local State `json:"local"`
	Cloud State `json:"cloud"`
	// LocalVersion and CloudVersion are the documents' versions, each side's own; 0
	// where there was no document.
	LocalVersion int64 `json:"localVersion,omitempty"`
	CloudVersion int64 `json:"cloudVersion,omitempty"`
}

// Zero reports whether nothing is remembered.
func (s Synced) Zero() bool { return s.LocalVersion == 0 && s.CloudVersion == 0 }

// Step is what has to be done on one side. It holds for the version that was looked at.
type Step struct {
	// Remove deletes the document, if it has the Update's Version.
	Remove bool
	// Put applies Update, which says no more than what differs.
	Put    bool
	Update Update
}

// None reports whether nothing has to be done.
func (s Step) None() bool { return !s.Remove && !s.Put }

// Meeting is how two documents are brought in step.
type Meeting struct {
	// Local is done first, and remembered in one with Synced; it lacks the version
	// that the local step makes. Then Cloud is done, and Done is what is remembered
	// afterwards, but for the versions. Whatever happens between, another Meeting goes
	// on from there.
	Local, Cloud Step
	Synced, Done Synced
}

// Meet decides what has to be done on both sides.
//
// What changed on one side alone since the two were in step is taken over, member by
// member, arrays as a whole. Where both changed the same member, reported is the
// core's and desired the cloud's. A document that was deleted on one side is deleted on
// the other, unless that one changed since: then it is made again.
//
// A cloud whose version is lower than it was has lost what it had: it was restored from
// an older copy, or the document was made anew long after its deletion. Then nothing
// counts as deleted, as where two documents meet for the first time. So has one that
// has no document and does not know that it was deleted, with that version or a higher
// one: then the core's, which may be the last copy, is made again there.
//
// The rules are those of the successor's shadow component; those of the original are
// not documented.
func (s Synced) Meet(local, cloud Document) Meeting {
	if cloud.Exists() && s.LocalVersion > 0 && !s.settled() && cloud.State().Equal(s.Local) {
		// It took what it was sent, and the answer was lost.
		s.Cloud, s.CloudVersion = s.Local, cloud.Version
	}
	if cloud.Exists() && cloud.Version < s.CloudVersion {
		s = Synced{}
	}
	localChanged := local.Exists() && (local.Version != s.LocalVersion || !local.State().Equal(s.Local))
	cloudChanged := cloud.Exists() && (cloud.Version != s.CloudVersion || !cloud.State().Equal(s.Cloud))
	switch {
	case !local.Exists() && !cloud.Exists():
		return Meeting{}
	case !cloud.Exists() && s.CloudVersion > 0 && cloud.Version >= s.CloudVersion && !localChanged:
		return Meeting{Local: Step{Remove: true, Update: versioned(local)}}
	case !local.Exists() && s.LocalVersion > 0 && !cloudChanged:
		return Meeting{Cloud: Step{Remove: true, Update: versioned(cloud)}, Synced: s}
	}
	have, other := local.State(), cloud.State()
	was := s
	if !cloud.Exists() || !local.Exists() {
		was = Synced{} // one is a copy of the other
	}
	merged := State{
		Desired:  orNil(mergeChanges(have.Desired, other.Desired, was.Local.Desired, was.Cloud.Desired, true)),
		Reported: orNil(mergeChanges(have.Reported, other.Reported, was.Local.Reported, was.Cloud.Reported, false)),
	}
	m := Meeting{
		Local: step(local, merged), Cloud: step(cloud, merged),
		Synced: Synced{Local: merged, Cloud: other, LocalVersion: local.Version, CloudVersion: 0},
		Done:   Synced{Local: merged, Cloud: merged, LocalVersion: local.Version},
	}
	if cloud.Exists() {
		m.Synced.CloudVersion, m.Done.CloudVersion = cloud.Version, cloud.Version
	}
	return m
}

// Mark tells a document from others of the same shadow without saying what is in it. The
// zero Mark is of one that does not exist.
type Mark struct {
	Version int64 `json:"version"`
	// Digest is of what the document says, in hex. The same digest means the same state;
	// what JSON writes in two ways, such as 1 and 1.0, has two.
	Digest string `json:"digest"`
}

// Mark is the document's.
func (d Document) Mark() Mark {
	if !d.Exists() {
		return Mark{}
	}
	return Mark{d.Version, d.State().digest()}
}

func (s State) digest() string {
	sum := sha256.Sum256(encode(s))
	return hex.EncodeToString(sum[:16])
}

// InStep reports whether a Meeting of the local document with a cloud's that has the mark
// would find nothing to do. false may also mean that nobody knows without looking.
func (s Synced) InStep(local Document, cloud Mark) bool {
	if !local.Exists() {
		return s.Zero() && cloud == Mark{}
	}
	return s.settled() && local.Version == s.LocalVersion && local.State().Equal(s.Local) && cloud == Mark{s.CloudVersion, s.Cloud.digest()}
}

// settled reports whether the cloud is known to have what the core has.
func (s Synced) settled() bool { return s.CloudVersion > 0 && s.Local.Equal(s.Cloud) }

func versioned(d Document) Update { return Update{Request: Request{Version: d.Version}} }

// step is what makes a document say what it is to say.
func step(d Document, want State) Step {
	if d.Exists() && d.State().Equal(want) {
		return Step{}
	}
	u := Update{Desired: difference(d.State().Desired, want.Desired), Reported: difference(d.State().Reported, want.Reported)}
	// One that does not exist is refused any other.
	u.Version = 1
	if d.Exists() {
		u.Version = d.Version
	}
	return Step{Put: true, Update: u}
}

// difference is what a section has to be updated with.
func difference(have, want map[string]any) Section {
	if len(want) == 0 {
		return Section{Present: len(have) > 0}
	}
	patch := patchOf(have, want)
	return Section{Present: len(patch) > 0, Values: patch}
}

// patchOf is what merges into an object so that it becomes another; nil for the same.
func patchOf(have, want map[string]any) map[string]any {
	var patch map[string]any
	set := func(key string, value any) {
		if patch == nil {
			patch = make(map[string]any)
		}
		patch[key] = value
	}
	for key := range have {
		if _, ok := want[key]; !ok {
			set(key, nil)
		}
	}
	for key, value := range want {
		old, ok := have[key]
		oldObject, isObject := old.(map[string]any)
		object, areObjects := value.(map[string]any)
		switch {
		case isObject && areObjects:
			if inner := patchOf(oldObject, object); inner != nil {
				set(key, inner)
			}
		case !ok || !equal(old, value):
			set(key, value)
		}
	}
	return patch
}

// mergeChanges puts together what two objects became of what they were.
func mergeChanges(local, cloud, wasLocal, wasCloud map[string]any, cloudWins bool) map[string]any {
	merged := make(map[string]any, max(len(local), len(cloud)))
	decide := func(key string) {
		have, here := local[key]
		other, there := cloud[key]
		object, isObject := have.(map[string]any)
		otherObject, areObjects := other.(map[string]any)
		if isObject && areObjects {
			before, _ := wasLocal[key].(map[string]any)
			otherBefore, _ := wasCloud[key].(map[string]any)
			merged[key] = mergeChanges(object, otherObject, before, otherBefore, cloudWins)
			return
		}
		// What the cloud was sent is no change of its own, whether it is known to have it
		// or not.
		cloudChanged := changed(cloud, wasCloud, key) && changed(cloud, wasLocal, key)
		takeCloud := cloudChanged && (cloudWins || !changed(local, wasLocal, key))
		if here && there && equal(have, other) {
			takeCloud = false // as this side spells it
		}
		if takeCloud {
			have, here = other, there
		}
		if here {
			merged[key] = have
		}
	}
	for key := range local {
		decide(key)
	}
	for key := range cloud {
		if _, ok := local[key]; !ok {
			decide(key)
		}
	}
	return merged
}

// changed reports whether a member is another one than it was, or came or went.
func changed(now, was map[string]any, key string) bool {
	value, ok := now[key]
	before, had := was[key]
	return ok != had || ok && !equal(value, before)
}

func orNil(m map[string]any) map[string]any {
	if len(m) == 0 {
		return nil
	}
	return m
}

// Encode is the payload of the update as a request.
func (u Update) Encode() []byte {
	state := map[string]any{}
	for name, s := range map[string]Section{"desired": u.Desired, "reported": u.Reported} {
		switch {
		case !s.Present:
		case s.Values == nil:
			state[name] = nil
		default:
			state[name] = s.Values
		}
	}
	if u.Clear {
		state = nil
	}
	return encode(struct {
		State       map[string]any `json:"state"`
		Version     int64          `json:"version,omitempty"`
		ClientToken string         `json:"clientToken,omitempty"`
	}{state, u.Version, u.ClientToken})
}

// ParseGot reads what a get answers, or what an update or a delete does: of those
// nothing but the version counts.
func ParseGot(text []byte) (Document, error) {
	var got struct {
		State    State    `json:"state"`
		Metadata Metadata `json:"metadata"`
		Version  int64    `json:"version"`
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&got); err != nil {
		return Document{}, fmt.Errorf("shadow document: %w", err)
	}
	if got.Version < 1 {
		return Document{}, fmt.Errorf("shadow document: it has the version %d", got.Version)
	}
	return Document{Desired: got.State.Desired, Reported: got.State.Reported, Metadata: got.Metadata, Version: got.Version}, nil
}

// Encode is what DecodeSynced reads.
func (s Synced) Encode() []byte { return encode(s) }

// DecodeSynced reads what Encode wrote.
func DecodeSynced(text []byte) (s Synced, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err = dec.Decode(&s); err != nil {
		return s, fmt.Errorf("what is known of a shadow in step: %w", err)
	}
	return s, nil
}
