package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/buckets"
	"github.com/fescue-edge/fescue/cloud/bulk"
	"github.com/fescue-edge/fescue/cloud/changes"
	"github.com/fescue-edge/fescue/cloud/definitions"
	"github.com/fescue-edge/fescue/cloud/events"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/pgtest"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
)

var (
	_ definitions.Store = store.Definitions{}
	_ buckets.Store     = store.Buckets{}
	_ events.Store      = store.Events{}
	_ bulk.Store        = store.Bulk{}
	_ changes.Store     = store.Changes{}
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// opener opens an empty database. The contracts below hold for every engine.
type opener func(t *testing.T) *store.DB

// engines are what a store can lie in.
var engines = []struct {
	name string
	open opener
}{
	{"SQLite", openSQLite},
	{"SQLite, everything done twice", func(t *testing.T) *store.DB { return store.Twice(openSQLite(t)) }},
	{"PostgreSQL", openPostgres},
}

func openSQLite(t *testing.T) *store.DB {
	t.Helper()
	return storetest.OpenOn(t, storetest.SQLite(t))
}

func openPostgres(t *testing.T) *store.DB {
	t.Helper()
	return storetest.OpenOn(t, storetest.Postgres(t))
}

// contracts are what holds of the store, by the file that it is about. A file is
// not complete without its row: see TestEveryFileHasContracts.
var contracts = map[string]map[string]func(*testing.T, opener){
	"checks.go":  {"checks": testChecks},
	"buckets.go": {"buckets": testBuckets}, "bucket_uploads.go": {"uploads": testUploads}, "bucket_content.go": {"blobs": testBlobs},
	"audit.go":       {"audit": testAudit},
	"changes.go":     {"changes": testChanges, "changes by others": testChangesAtOnce},
	"coreinfo.go":    {"what cores are": testCoreInfo},
	"cores.go":       {"connectivity": testConnectivity, "telemetry": testTelemetry},
	"definitions.go": {"definitions": testDefinitions, "groups by name and tag": testGroups, "deletion": testDeletion},
	"db.go":          {"eight callers": testEightfold},
	"deployments.go": {
		"deployments": testDeployments, "building": testBuilding, "offers": testOffers, "resets": testResets,
	},
	"discovery.go":            {"discovery": testDiscovery},
	"epochs.go":               {"epochs": testEpochs},
	"functions.go":            {"functions": testFunctions},
	"holdings.go":             {"holdings": testHoldings, "touching": testTouching},
	"function_aliases.go":     {"function aliases": testFunctionAliases},
	"function_permissions.go": {"function permissions": testFunctionPermissions},
	"groupca.go": {
		"rotation": testRotation, "rotations at once": testRotationsAtOnce, "rotation tokens": testRotationTokens,
		"authorities without a group": testAuthoritiesWithoutGroup, "certificate expiry": testCertificateExpiry,
	},
	"keys.go":           {"keys": testKeys},
	"logs.go":           {"logs": testLogs},
	"settings.go":       {"settings": testSettings, "partitions": testPartitions},
	"serverkeys.go":     {"server keys": testServerKeys},
	"presence.go":       {"presence": testPresence},
	"fleet.go":          {"fleet": testFleet},
	"history.go":        {"fleet history": testFleetHistory, "request history": testRequestHistory},
	"offers.go":         {"own offers": testOwnOffers},
	"job_executions.go": {"job executions": testJobExecutions, "job executions at once": testJobRace},
	"jobs.go":           {"jobs": testJobs},
	"iam.go":            {"IAM": testIAM},
	"secrets.go":        {"secrets": testSecrets},
	"sessions.go":       {"sessions": testSessions},
	"registry_certificates.go": {
		"certificates": testCertificates, "certificate pages": testCertificatePages, "certificate ends": testCertificateEnds,
		"principal": testPrincipal, "registry limits": testRegistryLimits,
	},
	"registry_policies.go": {"policies": testPolicies, "policy attachments": testPolicyAttachments},
	"registry_things.go":   {"things": testThings, "thing attachments": testThingAttachments},
	"restore.go":           {"restoring": testRestore},
	"retention.go":         {"retention": testRetention},
	"roles.go":             {"roles": testRoles},
	"bulk.go":              {"bulk deployments": testBulkDeployments, "bulk records": testBulkRecords},
	"events.go":            {"events": testEvents}, "leases.go": {"leases": testLeases},
	"registry_thingtypes.go":  {"thing types": testThingTypes},
	"registry_rolealiases.go": {"role aliases": testRoleAliases},
	"shadows.go":              {"shadows": testShadows, "shadows at once": testShadowRace},
	"tags.go":                 {"tags": testTags, "cores by a tag": testTaggedCores},
	"texts.go":                {"texts": testTexts},
	"timelines.go":            {"timelines": testTimelines},
	"tokens.go":               {"client tokens": testTokens},
}

// notContracts are the files that hold what the others stand on, and those whose
// contracts are the tests of the one service that uses them. A snapshot is of a
// SQLite file, not of a store; what fescue doctor examines has its tests, and so have hints.
var notContracts = []string{
	"services.go", "snapshot.go", "examine.go", "peers.go",
	"sqlite.go", "groupcommit.go", "postgres.go", "work.go", "moved.go", "connection.go", "connection_linux.go", "connection_other.go", "session.go", "statements.go", "tracer.go",
}

func TestContracts(t *testing.T) {
	t.Parallel()
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			t.Parallel()
			engine.open(t) // skipped once, not in every contract
			for _, list := range contracts {
				for name, contract := range list {
					t.Run(name, func(t *testing.T) { contract(t, engine.open) })
				}
			}
		})
	}
}

func TestEveryFileHasContracts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || slices.Contains(notContracts, file) {
			continue
		}
		if len(contracts[file]) == 0 {
			t.Errorf("%s has no contract: add what holds of it to the table, so that it is tested on every engine", file)
		}
	}
}

// The partitions of the contracts: the second and third differ from the first in
// one part each.
var (
	homePartition = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}
	elsewhere     = []fescue.Partition{
		{AWS: "aws", Account: "123456789012", Region: "eu-west-1"},
		{AWS: "aws", Account: "210987654321", Region: "us-east-1"},
	}
	madeAt = time.Date(2026, 11, 23, 12, 0, 0, 457e6, time.UTC)
)

// must is the value of a call that cannot fail here.
func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func refused(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}
