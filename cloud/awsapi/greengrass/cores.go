package greengrass

import (
	"context"
	"fmt"
	"net/http"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
)

func (a *API) coreOperations() []restjson.Operation {
	const connectivity, runtime = "/greengrass/things/{ThingName}/connectivityInfo", "/greengrass/things/{ThingName}/runtimeconfig"
	return []restjson.Operation{
		{Name: "GetConnectivityInfo", Method: http.MethodGet, Path: connectivity, Handle: a.getConnectivityInfo},
		{Name: "UpdateConnectivityInfo", Method: http.MethodPut, Path: connectivity, Handle: a.updateConnectivityInfo},
		{Name: "GetThingRuntimeConfiguration", Method: http.MethodGet, Path: runtime, Handle: a.getRuntimeConfiguration},
		{Name: "UpdateThingRuntimeConfiguration", Method: http.MethodPut, Path: runtime, Handle: a.updateRuntimeConfiguration},
	}
}

func (a *API) getConnectivityInfo(ctx context.Context, r *restjson.Request) (any, error) {
	thing := r.Label("ThingName")
	c, err := a.cores.Connectivity(ctx, r.Partition, thing)
	if err != nil {
		return nil, err
	}
	message := ""
	if len(c.Info) == 0 {
		c.Info = []fescue.ConnectivityInfo{}
		message = "Client devices cannot find core " + thing + ": it has no connectivity information."
	}
	return struct {
		ConnectivityInfo []fescue.ConnectivityInfo
		Message          string `json:"message,omitempty"`
	}{c.Info, message}, nil
}

// connectivityEntry distinguishes a port that is left out from 0.
type connectivityEntry struct {
	HostAddress, Id, Metadata string
	PortNumber                *int
}

func (a *API) updateConnectivityInfo(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct{ ConnectivityInfo []connectivityEntry }
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	if in.ConnectivityInfo == nil {
		return nil, malformed("ConnectivityInfo is required; [] removes every entry")
	}
	info := make([]fescue.ConnectivityInfo, 0, len(in.ConnectivityInfo))
	for _, e := range in.ConnectivityInfo {
		entry := fescue.ConnectivityInfo{HostAddress: e.HostAddress, ID: e.Id, Metadata: e.Metadata}
		if e.PortNumber != nil {
			if *e.PortNumber == 0 {
				return nil, malformed("PortNumber must not be 0")
			}
			entry.PortNumber = *e.PortNumber
		}
		info = append(info, entry)
	}
	thing := r.Label("ThingName")
	c, err := a.cores.UpdateConnectivity(ctx, r.Partition, thing, info)
	if err != nil {
		return nil, err
	}
	return struct {
		Version string
		Message string `json:"message"`
	}{c.Version, fmt.Sprintf("Connectivity information of core %s updated, entries: %d.", thing, len(c.Info))}, nil
}

func (a *API) getRuntimeConfiguration(ctx context.Context, r *restjson.Request) (any, error) {
	c, err := a.cores.RuntimeConfiguration(ctx, r.Partition, r.Label("ThingName"))
	if err != nil {
		return nil, err
	}
	type telemetry struct {
		ConfigurationSyncStatus string
		Telemetry               fescue.Telemetry
	}
	type runtime struct{ TelemetryConfiguration telemetry }
	sync := "OutOfSync"
	if c.InSync {
		sync = "InSync"
	}
	return struct{ RuntimeConfiguration runtime }{runtime{telemetry{sync, c.Telemetry}}}, nil
}

func (a *API) updateRuntimeConfiguration(ctx context.Context, r *restjson.Request) (any, error) {
	// ConfigurationSyncStatus is read-only and may come back from a Get.
	var in struct {
		TelemetryConfiguration struct{ Telemetry fescue.Telemetry }
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	if in.TelemetryConfiguration.Telemetry == "" {
		return nil, malformed("TelemetryConfiguration.Telemetry is required")
	}
	return nil, a.cores.UpdateTelemetry(ctx, r.Partition, r.Label("ThingName"), in.TelemetryConfiguration.Telemetry)
}
