package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/discovery"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/corelink"
)

// Discovery returns client devices their groups.
type Discovery interface {
	Discover(ctx context.Context, who identity.Principal, thing string) (corelink.Discovery, error)
}

// discover answers a client device. Clients know 400, 401, 404 and 429 apart; the
// original's answer to a known certificate without the right was 403 (public
// reports), which they print.
func (h *Handler) discover(w http.ResponseWriter, c *caller) error {
	thing := c.PathValue("ThingName")
	if !fescue.ValidThingName(thing) {
		return refuse(http.StatusBadRequest, "Invalid", "%.200q is not the name of a thing", thing)
	}
	if err := c.may(c.Principal, "greengrass:Discover", c.Partition.ThingARN(thing)); err != nil {
		return err
	}
	found, err := h.Discovery.Discover(c.Context(), c.Principal, thing)
	switch {
	case errors.Is(err, discovery.ErrForeign):
		return refuse(http.StatusForbidden, "Forbidden",
			"the certificate %s is neither attached to the thing %s nor the CertificateArn of that device in a deployed group; attach it with iot attach-thing-principal",
			c.Certificate.ID, thing)
	case errors.Is(err, discovery.ErrTooManyGroups):
		return refuse(http.StatusBadRequest, "Invalid",
			"Device is a member of too many groups, devices may not be in more than %d groups", fescue.MaxDeviceGroups)
	case errors.Is(err, fescue.ErrNotFound):
		return refuse(http.StatusNotFound, "NotFound",
			"no group that was deployed with success has the device %s: put it into the group's device definition and deploy the group", thing)
	case err != nil:
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(found)
}

// framed answers as the original's discovery does, because its clients read the
// head with patterns of their own: they want a content-length in lower case that
// is not the last line, and no chunks. net/http writes neither.
func framed(handle http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &bufferedAnswer{header: w.Header(), status: http.StatusOK}
		handle.ServeHTTP(answer, r)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return // the connection broke
		}
		defer conn.Close()
		body := bytes.TrimRight(answer.body.Bytes(), "\n")
		var wire bytes.Buffer
		fmt.Fprintf(&wire, "HTTP/1.1 %d %s\r\n", answer.status, http.StatusText(answer.status))
		fmt.Fprintf(&wire, "content-type: %s\r\ncontent-length: %d\r\n", answer.header.Get("Content-Type"), len(body))
		fmt.Fprintf(&wire, "date: %s\r\n%s: %s\r\nconnection: close\r\n\r\n",
			time.Now().UTC().Format(http.TimeFormat), requestIDHeader, answer.header.Get(requestIDHeader))
		if r.Method != http.MethodHead {
			wire.Write(body)
		}
		conn.SetWriteDeadline(time.Now().Add(answerTimeout))
		conn.Write(wire.Bytes())
	})
}

// bufferedAnswer is a small answer that waits to be sent.
type bufferedAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *bufferedAnswer) Header() http.Header         { return a.header }
func (a *bufferedAnswer) WriteHeader(status int)      { a.status = status }
func (a *bufferedAnswer) Write(p []byte) (int, error) { return a.body.Write(p) }
