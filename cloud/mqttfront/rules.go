package mqttfront

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/policy"
	"github.com/fescue-edge/fescue/topic"
)

const thingTopics = "$aws/things/"

// eventTopics are topics that the cloud alone publishes to.
const eventTopics = "$aws/events/"

// reservedFor is nil for the topics and filters that the rules for $ topics leave
// to policies: those without $, and those below $aws/things/<thing>/.
func reservedFor(s string) error {
	if !strings.HasPrefix(s, "$") {
		return nil
	}
	rest, ok := strings.CutPrefix(s, thingTopics)
	if thing, _, more := strings.Cut(rest, "/"); ok && more && thing != "" {
		return nil
	}
	return fmt.Errorf("%w: topics that start with $ are reserved, but for those below %s<thing>/", ErrForbidden, thingTopics)
}

// checkPublish applies the rules for the topic of a message from a device.
func checkPublish(name string, retain bool) error {
	if err := topic.ValidName(name); err != nil {
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	if err := reservedFor(name); err != nil {
		return err
	}
	if !strings.HasPrefix(name, thingTopics) {
		return nil
	}
	if retain {
		return fmt.Errorf("%w: topics that start with $ keep no retained message", ErrForbidden)
	}
	if service := topic.AnsweredBy(name); service != "" {
		return fmt.Errorf("%w: %s is for the %s service to publish to", ErrForbidden, name, service)
	}
	return nil
}

// checkFilter applies the rules for filters.
func checkFilter(filter string) error {
	if err := topic.ValidFilter(filter); err != nil {
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	if strings.HasPrefix(filter, eventTopics) {
		return nil
	}
	return reservedFor(filter)
}

// wakes reports whether a topic or filter is the one by which a core is woken.
func wakes(s string) bool {
	rest, ok := strings.CutPrefix(s, thingTopics)
	thing, ends := strings.CutSuffix(rest, corelink.DeploymentDeltaTopicSuffix)
	return ok && ends && !strings.ContainsAny(thing, "/+#")
}

// view is what is known as one client id has it.
type view struct {
	*known
	vars map[string][]string
}

// view is the client's present view, or nil when it may not be connected.
func (d *device) view() *view {
	k := d.credential.current.Load()
	if !k.usable(d.front.o.Now()) {
		return nil
	}
	v := d.seen.Load()
	if v == nil || v.known != k {
		v = &view{k, k.variables(d.connection, d.clientID)}
		d.seen.Store(v)
	}
	return v
}

// may evaluates the policies. What cannot be decided is denied, and logged.
func (d *device) may(v *view, r policy.Request) bool {
	ok, err := v.allow(r)
	if err != nil {
		d.front.refused(d, r.Action, err)
	}
	return ok && err == nil
}

// decide evaluates the policies for one action. The error, ErrRevoked or ErrUndecided,
// means that there is no decision: a client that went without its messages in silence
// would not know that it has to ask.
func (d *device) decide(action, resource string) (bool, error) {
	v := d.view()
	if v == nil {
		return false, ErrRevoked
	}
	ok, err := v.allow(policy.Request{Action: action, Resource: resource, Variables: v.vars})
	if err != nil {
		return false, fmt.Errorf("%w: %s on %s: %w", ErrUndecided, action, resource, err)
	}
	return ok, nil
}

// allowed evaluates the policies for what the client asks. What cannot be decided is
// denied; the connection of a certificate or key that may not be used is ended.
func (d *device) allowed(action, resource string) bool {
	ok, err := d.decide(action, resource)
	switch {
	case errors.Is(err, ErrRevoked):
		d.end(err)
	case err != nil:
		d.front.refused(d, action, err)
	}
	return ok
}

// mayPublish decides on a message from the client, or its will.
func (d *device) mayPublish(name string, retain bool) error {
	if err := checkPublish(name, retain); err != nil {
		return err
	}
	resource := d.partition.TopicARN(name)
	if !d.allowed("iot:Publish", resource) {
		return fmt.Errorf("%w: iot:Publish on %s", ErrForbidden, resource)
	}
	if retain && !d.allowed("iot:RetainPublish", resource) {
		return fmt.Errorf("%w: iot:RetainPublish on %s", ErrForbidden, resource)
	}
	return nil
}
