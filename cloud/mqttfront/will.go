package mqttfront

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/broker"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/policy"
)

// willNote is what decides on a will when the server is gone that its client was connected
// to.
type willNote struct {
	// ID is the certificate's or the access key's.
	ID        string              `json:"id"`
	Key       bool                `json:"key,omitempty"`
	Variables map[string][]string `json:"variables,omitempty"`
}

// testament is the client's will as the broker keeps it; nil for none.
func (d *device) testament() *broker.Will {
	if d.will == nil {
		return nil
	}
	note, err := json.Marshal(willNote{ID: d.credential.of.id, Key: d.credential.of.key != "", Variables: d.connection})
	if err != nil { // there is none for strings
		return nil
	}
	return &broker.Will{Partition: d.partition, ClientID: d.clientID, Message: d.will, Note: note}
}

// speakWill publishes a will as there is room for it, by store or keep, and forwards it. It is forwarded
// when the broker has it: until then it is tried again, by whichever server.
func (f *Front) speakWill(ctx context.Context, p fescue.Partition, id string, w mqtt.Publish, publish func(context.Context, broker.Publication) error) error {
	if f.o.Room(p, &w) != nil {
		w.QoS, w.Retain = 0, false
	}
	if err := publish(ctx, broker.Publication{Partition: p, Message: &w, ID: id}); err != nil {
		return err
	}
	f.counters.wills.Add(1)
	// However long the broker took.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), partingTime)
	defer cancel()
	if err := f.forward(ctx, p, w.Topic, w.Payload); err != nil && f.words.Allow() {
		f.o.Logger.Warn("MQTT: a client's will is not forwarded", "partition", p, "topic", w.Topic, "error", err)
	}
	return nil
}

// lateWill publishes the will of a client whose server is no more, if its certificate or
// access key still may. An error says that this cannot be decided, or done, now.
func (f *Front) lateWill(ctx context.Context, w broker.Will) error {
	var note willNote
	if err := json.Unmarshal(w.Note, &note); err != nil {
		return nil // nobody's
	}
	find := f.byCertificate
	if note.Key {
		find = f.byKey(w.Partition)
	}
	r, err := find(ctx, note.ID)
	if errors.Is(err, fescue.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the rights of its client: %w", err)
	}
	m := w.Message
	if !r.usable(f.o.Now()) || r.partition() != w.Partition || checkPublish(m.Topic, m.Retain) != nil {
		return nil
	}
	actions := []string{"iot:Publish"}
	if m.Retain {
		actions = append(actions, "iot:RetainPublish")
	}
	for _, action := range actions {
		ok, err := r.allow(policy.Request{Action: action, Resource: w.Partition.TopicARN(m.Topic), Variables: r.variables(note.Variables, w.ClientID)})
		if err != nil {
			return fmt.Errorf("decide on %s: %w", action, err)
		}
		if !ok {
			return nil
		}
	}
	return f.speakWill(ctx, w.Partition, w.ID, *m, f.store)
}
