package edge

import (
	"context"
	"errors"
	"net/http"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/groupca"
	"github.com/fescue-edge/fescue/cloud/sites"
	"github.com/fescue-edge/fescue/corelink"
)

// Sites is for a core's MQTT server for client devices.
type Sites interface {
	// Site is nil for a core without client devices, and for one that has left its group.
	Site(ctx context.Context, p fescue.Partition, thing, certificateID string) (*corelink.Site, error)
	Certificate(ctx context.Context, p fescue.Partition, thing, certificateID string, request corelink.CertificateRequest) (corelink.ServerCertificate, error)
}

// Cores keeps where client devices reach a core, and whether it sends telemetry.
type Cores interface {
	SyncTelemetry(ctx context.Context, p fescue.Partition, thing string, says fescue.Telemetry) (fescue.Telemetry, error)
	Connectivity(ctx context.Context, p fescue.Partition, thing string) (cores.Connectivity, error)
	UpdateConnectivity(ctx context.Context, p fescue.Partition, thing string, info []fescue.ConnectivityInfo) (cores.Connectivity, error)
}

// addSite completes the answer to a poll. A deployment does not wait for it.
func (h *Handler) addSite(c *caller, thing string, offer *corelink.Offer) {
	site, err := h.Sites.Site(c.Context(), c.Partition, thing, c.Certificate.ID)
	if err != nil {
		if c.Context().Err() == nil {
			h.Logger.Error("a core was not sent its client devices; its next poll is answered with them", "core", thing, "error", err)
		}
		return
	}
	offer.Site = site
}

// syncTelemetry keeps what a core reports in its poll, and returns whether it is to send
// telemetry; empty for a core that does not know of it, and where it is not known now. A
// deployment does not wait for it.
func (h *Handler) syncTelemetry(c *caller, thing string, poll corelink.Poll) fescue.Telemetry {
	if poll.Telemetry == "" {
		return ""
	}
	wanted, err := h.Cores.SyncTelemetry(c.Context(), c.Partition, thing, poll.Telemetry)
	if err != nil && c.Context().Err() == nil {
		h.Logger.Error("whether a core is to send telemetry could not be read; the answer to its next poll has it", "core", thing, "error", err)
	}
	return wanted
}

// createCertificate signs the certificate of a core's MQTT server.
func (h *Handler) createCertificate(w http.ResponseWriter, c *caller) error {
	thing := c.PathValue("ThingName")
	if err := c.thing(thing); err != nil {
		return err
	}
	if err := c.may(c.Principal, "greengrass:CreateCertificate", "*"); err != nil {
		return err
	}
	var request corelink.CertificateRequest
	if err := readReport(c.Request, &request); err != nil {
		return err
	}
	made, err := h.Sites.Certificate(c.Context(), c.Partition, thing, c.Certificate.ID, request)
	switch {
	case errors.Is(err, sites.ErrRequest), errors.Is(err, groupca.ErrKey):
		return refuse(http.StatusBadRequest, "Invalid", "%v", err)
	case errors.Is(err, sites.ErrNoConnectivity):
		// The original's text, seen in the field.
		return refuse(http.StatusNotFound, "NotFound", "We do not have connectivity information for this GGC.")
	case errors.Is(err, groupca.ErrStrayed):
		return refuse(http.StatusNotFound, "NotFound", "%v", groupca.ErrStrayed)
	case errors.Is(err, sites.ErrNoGroup):
		return refuse(http.StatusNotFound, "NotFound", "%v", err)
	case err != nil:
		return err
	}
	writeJSON(w, http.StatusOK, made)
	return nil
}

// mayUse checks that the caller is the core of the path, and may do something with
// its connectivity information. The original asked for the right to a name beside the
// core's (AWS IoT Greengrass V1 developer guide, "Minimal AWS IoT policy for the AWS
// IoT Greengrass core device").
func (h *Handler) mayUse(c *caller, action string) (thing string, err error) {
	thing = c.PathValue("ThingName")
	if err := c.thing(thing); err != nil {
		return "", err
	}
	if c.may(c.Principal, action, c.Partition.ThingARN(thing+"-gci")) == nil {
		return thing, nil
	}
	return thing, c.may(c.Principal, action, c.Partition.ThingARN(thing))
}

// getConnectivity returns where client devices reach a core.
func (h *Handler) getConnectivity(w http.ResponseWriter, c *caller) error {
	thing, err := h.mayUse(c, "greengrass:GetConnectivityInfo")
	if err != nil {
		return err
	}
	found, err := h.Cores.Connectivity(c.Context(), c.Partition, thing)
	if err != nil {
		return err
	}
	// A list, also where there is none.
	writeJSON(w, http.StatusOK, corelink.Connectivity{ConnectivityInfo: append([]fescue.ConnectivityInfo{}, found.Info...)})
	return nil
}

// updateConnectivity takes where a core says that client devices reach it.
func (h *Handler) updateConnectivity(w http.ResponseWriter, c *caller) error {
	thing, err := h.mayUse(c, "greengrass:UpdateConnectivityInfo")
	if err != nil {
		return err
	}
	var body corelink.Connectivity
	if err := readReport(c.Request, &body); err != nil {
		return err
	}
	updated, err := h.Cores.UpdateConnectivity(c.Context(), c.Partition, thing, body.ConnectivityInfo)
	var invalid *cores.InvalidError
	if errors.As(err, &invalid) {
		return refuse(http.StatusBadRequest, "Invalid", "%v", invalid)
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct{ Version string }{updated.Version})
	return nil
}
