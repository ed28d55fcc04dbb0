package router

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/topic"
)

// Publisher takes what functions publish, as Router does.
type Publisher interface {
	Publish(ctx context.Context, m Message, allOrError bool) error
}

// Function is GGRouter: the system function that functions invoke to publish.
// The topic stands in the client context. Its outcome is empty.
func Function(p Publisher) invoke.Target {
	return invoke.Func(func(ctx context.Context, caller invoke.Worker, call invoke.Call) (invoke.Outcome, error) {
		said, err := parsePublication(call.ClientContext)
		if err != nil {
			return invoke.Outcome{}, err
		}
		if said.Custom.Source != "" && said.Custom.Source != caller.FunctionARN {
			return invoke.Outcome{}, fmt.Errorf("%w: a function publishes as itself, not as %s", invoke.ErrForbidden, said.Custom.Source)
		}
		all := said.Custom.QueueFullPolicy == "AllOrError"
		return invoke.Outcome{}, p.Publish(ctx, Message{Source: caller.FunctionARN, Topic: said.Custom.Subject, Payload: call.Payload}, all)
	})
}

// publication is the client context of an invocation of GGRouter.
type publication struct {
	Custom struct {
		Source          string `json:"source"`
		Subject         string `json:"subject"`
		QueueFullPolicy string `json:"queueFullPolicy"`
	} `json:"custom"`
}

func parsePublication(clientContext string) (publication, error) {
	var said publication
	text, err := base64.StdEncoding.DecodeString(clientContext)
	if err != nil {
		return said, fmt.Errorf("%w: the client context is not base64", invoke.ErrInvalid)
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return said, fmt.Errorf(`%w: the client context is not {"custom": {"subject": …}}: %w`, invoke.ErrInvalid, err)
	}
	switch said.Custom.QueueFullPolicy {
	case "", "BestEffort", "AllOrError":
	default:
		return said, fmt.Errorf("%w: queueFullPolicy must be BestEffort or AllOrError", invoke.ErrInvalid)
	}
	if err := topic.ValidName(said.Custom.Subject); err != nil {
		return said, fmt.Errorf("%w: %w", invoke.ErrInvalid, err)
	}
	return said, nil
}
