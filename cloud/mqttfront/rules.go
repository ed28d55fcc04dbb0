package mqttfront

import (
	"fmt"
	"strings"

	"github.com/fescue-edge/fescue/cloud/identity"
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

// view is a principal as one client id has it.
type view struct {
	principal *identity.Principal
	vars      map[string][]string
}

// view is the client's present view, or nil when the certificate may not be used.
func (d *device) view() *view {
	p := d.credential.current.Load()
	if !p.Usable(d.front.o.Now()) {
		return nil
	}
	v := d.seen.Load()
	if v == nil || v.principal != p {
		v = &view{p, clientVariables(d.connection, d.clientID, p)}
		d.seen.Store(v)
	}
	return v
}

// allowed evaluates the policies for one action. It ends the connection of a
// certificate that may not be used: a client that went without its messages in
// silence would not know that it has to ask.
func (d *device) allowed(action, resource string) bool {
	v := d.view()
	if v == nil {
		d.end(ErrRevoked)
		return false
	}
	return v.principal.Policies.Evaluate(policy.Request{
		Action: action, Resource: resource, Variables: v.vars,
	}) == policy.Allowed
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
