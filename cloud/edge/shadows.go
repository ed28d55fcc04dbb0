package edge

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/shadow"
)

// Shadows is the shadow service's side towards devices.
type Shadows interface {
	Get(ctx context.Context, p fescue.Partition, id shadow.ID, clientToken string) ([]byte, error)
	Update(ctx context.Context, p fescue.Partition, id shadow.ID, u shadow.Update) ([]byte, error)
	Delete(ctx context.Context, p fescue.Partition, id shadow.ID, r shadow.Request) ([]byte, error)
}

// shadowPath is that of the AWS IoT device data plane (AWS IoT Core developer
// guide, "Device Shadow REST API").
const shadowPath = "/things/{ThingName}/shadow"

// maxShadowRequest in bytes: more than any document's limit, for white space.
const maxShadowRequest = 128 << 10

func (h *Handler) serveShadows() {
	for _, op := range []struct {
		method, action string
		answer         func(ctx context.Context, p fescue.Partition, id shadow.ID, body []byte) ([]byte, error)
	}{
		{http.MethodGet, "iot:GetThingShadow", func(ctx context.Context, p fescue.Partition, id shadow.ID, _ []byte) ([]byte, error) {
			return h.Shadows.Get(ctx, p, id, "")
		}},
		{http.MethodPost, "iot:UpdateThingShadow", func(ctx context.Context, p fescue.Partition, id shadow.ID, body []byte) ([]byte, error) {
			u, err := shadow.ParseUpdate(body, shadow.CloudLimits)
			if err != nil {
				return nil, err
			}
			return h.Shadows.Update(ctx, p, id, u)
		}},
		{http.MethodDelete, "iot:DeleteThingShadow", func(ctx context.Context, p fescue.Partition, id shadow.ID, _ []byte) ([]byte, error) {
			return h.Shadows.Delete(ctx, p, id, shadow.Request{})
		}},
	} {
		h.mux.HandleFunc(op.method+" "+shadowPath, h.serve(func(w http.ResponseWriter, c *caller) error {
			id := shadow.ID{Thing: c.PathValue("ThingName"), Name: c.URL.Query().Get("name")}
			answer, err := h.onShadow(w, c, id, op.action, op.answer)
			var refusal *shadow.Error
			switch {
			case errors.As(err, &refusal):
				writeJSON(w, refusal.Code, struct {
					Code    int    `json:"code"`
					Message string `json:"message"`
				}{refusal.Code, refusal.Message})
			case err != nil:
				return err
			default:
				w.Header().Set("Content-Type", "application/json")
				w.Write(answer)
			}
			return nil
		}))
	}
}

func (h *Handler) onShadow(w http.ResponseWriter, c *caller, id shadow.ID, action string,
	answer func(context.Context, fescue.Partition, shadow.ID, []byte) ([]byte, error),
) ([]byte, error) {
	if err := id.Validate(); err != nil {
		return nil, err
	}
	if err := c.may(c.Principal, action, c.Partition.ShadowARN(id.Thing, id.Name)); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, c.Body, maxShadowRequest))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, shadow.ErrTooLarge
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "Invalid", "the body did not arrive whole: %v", err)
	}
	return answer(c.Context(), c.Partition, id, body)
}
