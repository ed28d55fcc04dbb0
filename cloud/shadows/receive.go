package shadows

import (
	"context"
	"errors"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/shadow"
)

// Receive answers a message that is a request to the shadow service, and leaves
// any other alone. The answers go out before it returns. Whether the sender may
// publish to the topic is decided already.
func (s *Service) Receive(ctx context.Context, p fescue.Partition, topic string, payload []byte) {
	id, operation, ok := parseTopic(topic)
	if !ok {
		return
	}
	token, answer, err := s.answer(ctx, p, id, operation, payload)
	if err == nil {
		if answer != nil {
			s.publish(ctx, p, id, operation+"/accepted", answer)
		}
		return
	}
	var refusal *shadow.Error
	if !errors.As(err, &refusal) {
		s.Logger.Error("shadow request failed", "partition", p, "topic", topic, "error", err)
		refusal = shadow.ErrInternal
	}
	s.publish(ctx, p, id, operation+"/rejected", refusal.Answer(s.Now(), token))
}

// answer carries a request out. A change has published its answer itself.
func (s *Service) answer(ctx context.Context, p fescue.Partition, id shadow.ID, operation string, payload []byte) (token string, answer []byte, err error) {
	if operation == "update" {
		u, err := shadow.ParseUpdate(payload, shadow.CloudLimits)
		if err == nil {
			_, err = s.Update(ctx, p, id, u)
		}
		return u.ClientToken, nil, err
	}
	r, err := shadow.ParseRequest(payload)
	switch {
	case err != nil:
	case operation == "delete":
		_, err = s.Delete(ctx, p, id, r)
	default:
		answer, err = s.Get(ctx, p, id, r.ClientToken)
	}
	return r.ClientToken, answer, err
}

const thingTopics = "$aws/things/"

// parseTopic reads $aws/things/<thing>/shadow[/name/<shadow>]/<operation>.
func parseTopic(topic string) (id shadow.ID, operation string, ok bool) {
	rest, ok := strings.CutPrefix(topic, thingTopics)
	levels := strings.Split(rest, "/")
	if !ok || len(levels) < 3 || levels[1] != "shadow" {
		return id, "", false
	}
	id.Thing, operation = levels[0], levels[2]
	switch {
	case len(levels) == 5 && levels[2] == "name" && levels[3] != "":
		id.Name, operation = levels[3], levels[4]
	case len(levels) != 3:
		return id, "", false
	}
	switch operation {
	case "get", "update", "delete":
		return id, operation, true
	}
	return id, "", false
}

// publish sends one of the service's own messages. The document is what counts:
// a message that is lost can be asked for again with get.
func (s *Service) publish(ctx context.Context, p fescue.Partition, id shadow.ID, rest string, payload []byte) {
	topic := thingTopics + id.Thing + "/shadow/"
	if id.Name != "" {
		topic += "name/" + id.Name + "/"
	}
	// Whoever asked may be gone, the others have to hear of it all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTimeout)
	defer cancel()
	if err := s.Publisher.Publish(ctx, p, topic+rest, payload, 1, false); err != nil {
		s.Logger.Warn("message of the shadow service lost", "partition", p, "topic", topic+rest, "error", err)
	}
}
