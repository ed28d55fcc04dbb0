package storetest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/groupca"
	"github.com/fescue-edge/fescue/cloud/store"
)

// Core has the newest version of a group name a core with an ACTIVE certificate, whose
// id says n, and returns both as one for whom the group's authority signs.
func Core(t testing.TB, db *store.DB, p fescue.Partition, groupID string, n int) groupca.Holder {
	t.Helper()
	ctx, at := t.Context(), time.Now().UTC()
	h := groupca.Holder{Thing: fmt.Sprintf("gate-%d", n), CertificateID: fmt.Sprintf("%064x", n)}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := db.Things().CreateThing(ctx, p, fescue.Thing{Name: h.Thing, ID: fescue.NewID()}, at)
	check(err)
	check(db.Certificates().CreateCertificate(ctx, p, fescue.Certificate{ID: h.CertificateID, PEM: h.CertificateID, Status: fescue.CertificateActive, Mode: "DEFAULT", CreatedAt: at, UpdatedAt: at, NotBefore: at, NotAfter: at}))
	check(db.Things().AttachThing(ctx, p, h.Thing, h.CertificateID))
	version := func(kind fescue.Kind, id string, body any) fescue.DefinitionVersion {
		text, err := json.Marshal(body)
		check(err)
		return fescue.DefinitionVersion{Kind: kind, DefinitionID: id, ID: fescue.NewID(), CreatedAt: at, Body: text}
	}
	cores := version(fescue.CoreKind, fescue.NewID(), fescue.CoreDefinitionVersion{Cores: []fescue.Core{{Id: "core", ThingArn: p.ThingARN(h.Thing)}}})
	_, err = db.Definitions().CreateDefinition(ctx, p, fescue.Definition{Kind: fescue.CoreKind, ID: cores.DefinitionID, CreatedAt: at, UpdatedAt: at}, &cores, fescue.Token{})
	check(err)
	_, err = db.Definitions().CreateVersion(ctx, p, version(fescue.GroupKind, groupID, fescue.GroupVersion{
		CoreDefinitionVersionArn: p.VersionARN(fescue.CoreKind, cores.DefinitionID, cores.ID),
	}), fescue.Token{})
	check(err)
	return h
}
