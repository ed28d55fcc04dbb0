package awsapi

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/websocket"
	"github.com/fescue-edge/fescue/policy"
)

// Messages speaks MQTT with callers who came over a WebSocket.
type Messages interface {
	// ServeKey serves one until it goes, may no longer stay, or ctx ends, and closes
	// conn. The variables are what the conditions of the caller's policies may ask
	// about.
	ServeKey(ctx context.Context, conn net.Conn, keyID string, p fescue.Partition, variables map[string][]string)
}

// MessagesPath is where WebSockets are opened (AWS IoT Core developer guide, "Device
// communication protocols").
const MessagesPath = "/mqtt"

// messagesService is the service whose rules and errors go for WebSockets.
const messagesService = "iotdata"

// serveMessages answers a request for a WebSocket, and has MQTT spoken in it.
func (h *Handler) serveMessages(w *answer, r *http.Request, call *Call, start time.Time) {
	name, variables, err := h.admitMessages(r, call)
	if err == nil && h.WebSockets > 0 {
		one := int64(max(h.WebSockets/2, 1))
		if h.webSockets.Take(call.Caller.Holder, 1, one, int64(h.WebSockets)) {
			defer h.webSockets.Give(call.Caller.Holder, 1)
		} else {
			err = throttled(name, fmt.Sprintf("There are %d WebSockets of this access key and its temporary keys, or %d of all, already. Try again when one has ended.", one, h.WebSockets))
		}
	}
	if err != nil {
		h.refuse(w, r, messagesService, call, err)
		h.Observer.ObserveRequest(name, call.Operation, w.status, time.Since(start))
		return
	}
	conn, err := websocket.Open(w, r)
	h.Observer.ObserveRequest(name, call.Operation, w.status, time.Since(start))
	if err != nil {
		h.Logger.Debug("WebSocket not opened", "request", call.RequestID, "error", err)
		return
	}
	h.Messages.ServeKey(r.Context(), conn, call.KeyID, call.Partition, variables)
}

// admitMessages decides by the head whether a caller may open a WebSocket, and gives what
// the conditions of its policies may ask about. name is the service for metrics.
func (h *Handler) admitMessages(r *http.Request, call *Call) (name string, variables map[string][]string, err error) {
	pending, err := h.Verifier.Begin(r)
	if err == nil {
		err = pending.Verify(sha256.Sum256(nil))
	}
	if err != nil {
		return unknown, nil, h.unproven(r, messagesService, err)
	}
	if wire.Find(pending.Service).Name != messagesService {
		return unknown, nil, refuseIn(wire.NotServed, messagesService, fmt.Sprintf(
			"A WebSocket is opened for the service iotdevicegateway, and the request is signed for %q.", pending.Service))
	}
	h.identify(call, pending)
	call.Operation = "Connect"
	if err := websocket.Check(r); err != nil {
		return messagesService, nil, &Error{Status: http.StatusBadRequest, Code: "InvalidRequestException", Message: "The WebSocket cannot be opened: " + err.Error() + "."}
	}
	if err := h.slowDown(messagesService, call, Target{Operation: call.Operation}); err != nil {
		return messagesService, nil, err
	}
	if act := action(messagesService, Target{Operation: call.Operation}); !call.Caller.MayEver(act) {
		if !h.mayRefuse(call.Caller.Holder) {
			return messagesService, nil, throttled(messagesService, "")
		}
		return messagesService, nil, h.denied(messagesService, act, "*", call, policy.ImplicitDeny)
	}
	variables, err = h.variables(r.Context(), r, call, Target{})
	return messagesService, variables, err
}
