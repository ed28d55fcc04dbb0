package cloud_test

import (
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iot"
	iottypes "github.com/aws/aws-sdk-go-v2/service/iot/types"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/testkit"
)

// TestRightsOfConnectedCores: what a core's certificate may do over HTTPS is not read while the
// core is connected by MQTT, and yet is what it is now, whoever changed it.
func TestRightsOfConnectedCores(t *testing.T) {
	t.Parallel()
	s := start(t, options(t.TempDir()))
	db, err := store.Open(t.Context(), filepath.Join(s.dir, "fescue.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	const region = "us-east-1"
	p := fescue.Partition{AWS: "aws", Account: account, Region: region}
	id := func(c core) string { return c.certificateARN[strings.LastIndex(c.certificateARN, "/")+1:] }
	for what, tc := range map[string]struct {
		// told says that the change is made through the server.
		told   bool
		change func(c core) error
		// refused is the status for who asks over the connection that it has.
		refused int
		// shut says that no new connection is taken.
		shut bool
	}{
		"deactivated": {true, func(c core) error {
			cert := id(c)
			_, err := s.iot(region).UpdateCertificate(t.Context(), &iot.UpdateCertificateInput{CertificateId: &cert, NewStatus: iottypes.CertificateStatusInactive})
			return err
		}, http.StatusUnauthorized, true},
		"deactivated beside the server": {false, func(c core) error {
			return db.Registry().Certificates.SetCertificateStatus(t.Context(), p, id(c), fescue.CertificateInactive, time.Now())
		}, http.StatusUnauthorized, true},
		"taken from its thing": {true, func(c core) error {
			_, err := s.iot(region).DetachThingPrincipal(t.Context(), &iot.DetachThingPrincipalInput{ThingName: &c.thing, Principal: &c.certificateARN})
			return err
		}, http.StatusForbidden, false},
		"with another version of its policy": {true, func(c core) error {
			s.replacePolicy(region, c.thing, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["iot:Connect","iot:Publish"],"Resource":"*"}}`)
			return nil
		}, http.StatusForbidden, false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := s.provision(region, "core-"+strings.ReplaceAll(what, " ", "-"))
			s.mqttClient(c)
			client, other := s.link(c), s.link(c)
			deployment := fescue.NewID()
			ask := func(client *corelink.Client) (status int, err error) {
				_, err = client.Credentials(t.Context(), deployment, p.ThingARN(c.thing))
				var refusal *corelink.StatusError
				if errors.As(err, &refusal) {
					return refusal.HTTPStatus, err
				}
				return 0, err
			}
			for _, client := range []*corelink.Client{client, other} {
				if status, err := ask(client); status != http.StatusNotFound {
					t.Fatalf("before: %v", err)
				}
			}
			other.Close() // it comes again over a connection of its own
			if err := tc.change(c); err != nil {
				t.Fatal(err)
			}
			if !tc.told {
				testkit.Until(t, "the change is noticed", func() bool { status, _ := ask(client); return status != http.StatusNotFound })
			}
			if status, err := ask(client); status != tc.refused {
				t.Errorf("over the connection of before: %v", err)
			}
			want := tc.refused
			if tc.shut {
				want = 0 // the handshake fails
			}
			if status, err := ask(other); status != want || err == nil {
				t.Errorf("over a new connection: %v", err)
			}
		})
	}
}
