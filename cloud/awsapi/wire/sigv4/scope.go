package sigv4

import (
	"net/http"
	"strings"
)

// ScopeService is the service that a request claims to be signed for, empty when
// it does not say. Nothing about it is proven: it serves to refuse a request in
// the form that its sender understands.
func ScopeService(r *http.Request) string {
	query := r.URL.Query()
	if query.Has(paramV2Key) {
		return "s3"
	}
	credential := query.Get(paramCredential)
	if _, rest, ok := strings.Cut(r.Header.Get("Authorization"), "Credential="); ok {
		credential, _, _ = strings.Cut(rest, ",")
	}
	parts := strings.Split(credential, "/")
	if len(parts) < 5 {
		return ""
	}
	return parts[len(parts)-2]
}
