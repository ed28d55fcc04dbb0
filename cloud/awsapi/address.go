package awsapi

import (
	"mime"
	"net/http"
	"strings"
)

// Router is a service that can tell by method and path whether a request is for
// one of its operations.
type Router interface {
	Routes(r *http.Request) bool
}

// addressed is the name of the service that a request is for: what its signature
// is scoped to, and by its form where that does not tell.
func (h *Handler) addressed(r *http.Request, scope string) string {
	switch scope {
	case "iotdevicegateway":
		// SDKs of the device gateway's first years.
		return "iotdata"
	case "execute-api":
		// SDKs before May 2023 sign so for AWS IoT.
		if name := h.routed(r); name != "" {
			return name
		}
		return "iot"
	case "":
		return h.unsigned(r)
	}
	return scope
}

// routers are the services that are known by their paths, in the order in which
// they are asked.
var routers = []string{"greengrass", "iot", "iotdata", "lambda", "iot-jobs-data"}

// routed is the service that has an operation for a request's method and path.
func (h *Handler) routed(r *http.Request) string {
	for _, name := range routers {
		if router, ok := h.Services[name].(Router); ok && router.Routes(r) {
			return name
		}
	}
	return ""
}

// hosts are the services by the first label of a host's name, which clients have
// when a name of AWS's leads here.
var hosts = map[string]string{
	"greengrass": "greengrass", "iot": "iot", "data": "iotdata", "data-ats": "iotdata", "lambda": "lambda",
	"secretsmanager": "secretsmanager", "iam": "iam", "sts": "sts", "s3": "s3",
}

// unsigned is the service that a request without a signature would be for: it is
// refused, in the form that its sender reads.
func (h *Handler) unsigned(r *http.Request) string {
	if name := spoken(r); name != "" {
		return name
	}
	if name := h.routed(r); name != "" {
		return name
	}
	label, _, _ := strings.Cut(r.Host, ".")
	switch name, ok := hosts[label]; {
	case ok:
		return name
	case r.Method == http.MethodPost, strings.HasPrefix(r.URL.Path, OwnPath):
		return ""
	}
	return "s3" // path style: everything else is a bucket
}

// spoken is a service that speaks the protocol of a request, as far as that shows
// in its form: JSON 1.1 or the query protocol. Clients read the errors of all
// services of a protocol alike.
func spoken(r *http.Request) string {
	if r.Header.Get("X-Amz-Target") != "" {
		return "secretsmanager"
	}
	form, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	query := r.URL.Query()
	switch {
	case !query.Has("Action") && (form != "application/x-www-form-urlencoded" || r.URL.Path != "/"):
		return ""
	case strings.HasPrefix(r.Host, "iam."), query.Get("Version") == "2010-05-08":
		return "iam"
	}
	return "sts"
}

// notServed is for requests of services that are not served.
var notServed = wording{
	"":               {Status: http.StatusNotFound, Code: "UnknownOperationException"},
	"secretsmanager": {Status: http.StatusBadRequest, Code: "UnknownOperationException"},
	"sts":            {Status: http.StatusBadRequest, Code: "InvalidAction"},
	"iam":            {Status: http.StatusBadRequest, Code: "InvalidAction"},
}
