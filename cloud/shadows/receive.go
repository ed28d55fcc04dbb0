package shadows

import (
	"context"
	"errors"
	"log/slog"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/shadow"
)

// Receive answers a message that is a request to the shadow service, and leaves
// any other alone. The answers go out before it returns. Whether the sender may
// publish to the topic is decided already.
func (s *Service) Receive(ctx context.Context, p fescue.Partition, topic string, payload []byte) {
	id, operation, ok := shadow.ParseTopic(topic)
	if !ok {
		return
	}
	token, answer, err := s.answer(ctx, p, id, operation, payload)
	if err == nil {
		if answer != nil {
			s.publish(ctx, p, shadow.Message{Topic: topic + "/accepted", Payload: answer})
		}
		return
	}
	var refusal *shadow.Error
	if !errors.As(err, &refusal) {
		s.Logger.Error("shadow request failed", "partition", p, "topic", topic, "error", err)
		refusal = shadow.ErrInternal
	}
	s.publish(ctx, p, shadow.Message{Topic: topic + "/rejected", Payload: refusal.Answer(s.Now(), token)})
}

// answer carries a request out. A change has published its answer itself.
func (s *Service) answer(ctx context.Context, p fescue.Partition, id shadow.ID, op shadow.Operation, payload []byte) (token string, answer []byte, err error) {
	return shadow.Service{
		Get: func(r shadow.Request) ([]byte, error) { return s.Get(ctx, p, id, r.ClientToken) },
		Update: func(u shadow.Update) ([]byte, error) {
			_, err := s.Update(ctx, p, id, u)
			return nil, err
		},
		Delete: func(r shadow.Request) ([]byte, error) {
			_, err := s.Delete(ctx, p, id, r)
			return nil, err
		},
	}.Serve(op, payload, shadow.CloudLimits)
}

// publish sends one of the service's own messages. The document is what counts:
// a message that is lost can be asked for again with get.
func (s *Service) publish(ctx context.Context, p fescue.Partition, m shadow.Message) {
	// Whoever asked may be gone, the others must receive it all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTimeout)
	defer cancel()
	if err := s.Publisher.Publish(ctx, p, m.Topic, m.Payload, 1, false); err != nil {
		level := slog.LevelWarn
		if errors.Is(err, fescue.ErrCrowded) { // as often as the account likes: the publisher says so now and then
			level = slog.LevelDebug
		}
		s.Logger.Log(ctx, level, "message of the shadow service lost", "partition", p, "topic", m.Topic, "error", err)
	}
}
