package shadow

import "time"

// Service carries requests out. The cloud's and a core's are some. The error of each
// method is an *Error where the request is to blame; the text is the answer.
type Service struct {
	Get    func(r Request) ([]byte, error)
	Update func(u Update) ([]byte, error)
	Delete func(r Request) ([]byte, error)
}

// Serve reads a request's payload and has the service carry it out. token is the
// request's, as far as it could be read, for the answer to a refusal.
func (s Service) Serve(op Operation, payload []byte, limits Limits) (token string, answer []byte, err error) {
	if op == OpUpdate {
		u, err := ParseUpdate(payload, limits)
		if err == nil {
			answer, err = s.Update(u)
		}
		return u.ClientToken, answer, err
	}
	r, err := ParseRequest(payload)
	switch {
	case err != nil:
	case op == OpDelete:
		answer, err = s.Delete(r)
	default:
		answer, err = s.Get(r)
	}
	return r.ClientToken, answer, err
}

// Message is what a shadow service publishes.
type Message struct {
	Topic   string
	Payload []byte
}

// Updated are the messages that follow from an update, in the order in which they go
// out, and the last of them, which is the answer.
func (id ID) Updated(before, after Document, u Update, at time.Time) (all []Message, accepted []byte) {
	if delta := after.DeltaMessage(at, u.ClientToken); delta != nil {
		all = append(all, Message{id.Topic("update/delta"), delta})
	}
	accepted = after.Accepted(u, at)
	return append(all,
		Message{id.Topic("update/documents"), DocumentsMessage(before, after, at, u.ClientToken)},
		Message{id.Topic("update/accepted"), accepted}), accepted
}
