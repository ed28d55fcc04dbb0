package awsapi

import (
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue/cloud/awsapi/wire"
)

// Router is a service that knows by method and path whether a request is for
// one of its operations.
type Router interface {
	Routes(r *http.Request) bool
}

// addressed is the name of the service that a request is for: what its signature
// is scoped to, and by its form where that does not decide.
func (h *Handler) addressed(r *http.Request, scope string) string {
	// A bucket may have the name of the path.
	if strings.HasPrefix(r.URL.EscapedPath(), OwnPath) && wire.Find(scope).Protocol == wire.RESTJSON {
		return own
	}
	switch scope {
	case "execute-api":
		// SDKs before May 2023 sign so for AWS IoT.
		if name := h.routed(r); name != "" {
			return name
		}
		return "iot"
	case "":
		return h.unsigned(r)
	}
	return wire.Find(scope).Name
}

// own is the service of what is Fescue's own.
const own = "fescue"

// routed is the service that has an operation for a request's method and path.
func (h *Handler) routed(r *http.Request) string {
	for _, s := range wire.Services {
		if router, ok := h.Services[s.Name].(Router); s.ByPath && ok && router.Routes(r) {
			return s.Name
		}
	}
	return ""
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
	at := slices.IndexFunc(wire.Services, func(s wire.Service) bool { return slices.Contains(s.Hosts, label) })
	switch {
	case at >= 0:
		return wire.Services[at].Name
	case r.Method == http.MethodPost:
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
