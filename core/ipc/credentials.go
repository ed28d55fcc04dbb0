package ipc

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/fescue-edge/fescue/core/credentials"
	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/corelink"
)

// Credentials are the keys of the group's role; credentials.Exchange has them.
type Credentials interface {
	// Get of keys that cannot be had is a *credentials.Error.
	Get(ctx context.Context) (corelink.Credentials, error)
}

// containerCredentials is what the AWS SDKs take from the URL in
// AWS_CONTAINER_CREDENTIALS_FULL_URI.
type containerCredentials struct {
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	Token           string
	Expiration      string
}

// credentials is the original's token exchange service, for the AWS SDKs of functions.
func (s *Server) credentials(w http.ResponseWriter, r *http.Request, _ invoke.Worker) {
	got, err := s.keys.Get(r.Context())
	var refused *credentials.Error
	if errors.As(err, &refused) {
		s.text(w, refused.Status, refused.Text)
		return
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	body, err := json.Marshal(containerCredentials{got.AccessKeyID, got.SecretAccessKey, got.SessionToken, got.Expiration.UTC().Format(time.RFC3339)})
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	s.answer(w, r, http.StatusOK, body)
}
