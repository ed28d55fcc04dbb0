package store_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/audit"
	"github.com/fescue-edge/fescue/cloud/buckets"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/groupca"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/registry"
	"github.com/fescue-edge/fescue/cloud/retention"
	"github.com/fescue-edge/fescue/cloud/signing"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/shadow"
)

// race is a method that eight callers call at the same time: how many of them
// succeed, what the others are answered, and what must hold afterwards.
type race struct {
	method string
	wins   int
	loses  error
	// ready makes what the calls need.
	ready func(t *testing.T, s *store.DB) (do func(i int) error, holds func(t *testing.T))
}

// each is a race in which nothing more has to hold than the number of winners.
func each(f func(ctx context.Context, s *store.DB, i int) error) func(*testing.T, *store.DB) (func(int) error, func(*testing.T)) {
	return func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		return func(i int) error { return f(t.Context(), s, i) }, func(*testing.T) {}
	}
}

// after is each, after something was done once.
func after(first func(t *testing.T, s *store.DB), f func(ctx context.Context, s *store.DB, i int) error) func(*testing.T, *store.DB) (func(int) error, func(*testing.T)) {
	return func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		first(t, s)
		return each(f)(t, s)
	}
}

// numbers is each for calls that return what must be different for everyone who
// succeeds, and without gaps.
func numbers(first func(t *testing.T, s *store.DB), f func(ctx context.Context, s *store.DB, i int) (string, error)) func(*testing.T, *store.DB) (func(int) error, func(*testing.T)) {
	return func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		first(t, s)
		var mu sync.Mutex
		var got []string
		return func(i int) error {
				v, err := f(t.Context(), s, i)
				if err == nil {
					mu.Lock()
					defer mu.Unlock()
					got = append(got, v)
				}
				return err
			}, func(t *testing.T) {
				slices.Sort(got)
				if len(slices.Compact(slices.Clone(got))) != len(got) {
					t.Errorf("two callers were given the same: %v", got)
				}
			}
	}
}

func nothing(*testing.T, *store.DB) {}

func second[T any](_ T, err error) error { return err }

func activeCertificate(n int, status fescue.CertificateStatus) func(*testing.T, *store.DB) {
	return func(t *testing.T, s *store.DB) {
		t.Helper()
		mustDo(t, s.Certificates().CreateCertificate(t.Context(), here, certificate(n, status)))
	}
}

// races are the methods that write.
var races = []race{
	{"CreateDefinition", 8, nil, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		var mu sync.Mutex
		ids := map[string]bool{}
		token := fescue.Token{Operation: "CreateCore", Value: "eight", RequestHash: "h"}
		return func(int) error {
				d, err := s.Definitions().CreateDefinition(t.Context(), homePartition, newContainer(fescue.LoggerKind, "n"), nil, token)
				mu.Lock()
				defer mu.Unlock()
				ids[d.ID] = true
				return err
			}, func(t *testing.T) {
				list := must(s.Definitions().Definitions(t.Context(), homePartition, fescue.LoggerKind, fescue.Page{Limit: 9}))(t)
				if len(ids) != 1 || len(list) != 1 {
					t.Errorf("one token made %v, there are %d", ids, len(list))
				}
			}
	}},
	{"CreateVersion", 8, nil, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		d := container(t, s, homePartition, fescue.CoreKind)
		return func(int) error {
				return second(s.Definitions().CreateVersion(t.Context(), homePartition, newVersion(d.Kind, d.ID, `{}`), fescue.Token{}))
			}, func(t *testing.T) {
				list := must(s.Definitions().Versions(t.Context(), homePartition, d.Kind, d.ID, fescue.Page{Limit: 99}))(t)
				latest := must(s.Definitions().Definition(t.Context(), homePartition, d.Kind, d.ID))(t).LatestVersion
				if len(list) != 8 || list[0].ID != latest {
					t.Errorf("%d versions, the newest is %s, the container says %s", len(list), list[0].ID, latest)
				}
			}
	}},
	{"RenameDefinition", 8, nil, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		d := container(t, s, homePartition, fescue.CoreKind)
		return func(i int) error {
			return s.Definitions().RenameDefinition(t.Context(), homePartition, d.Kind, d.ID, fmt.Sprint(i))
		}, func(*testing.T) {}
	}},
	{"DeleteDefinition", 1, fescue.ErrNotFound, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		d := container(t, s, homePartition, fescue.GroupKind)
		return func(int) error { return s.Definitions().DeleteDefinition(t.Context(), homePartition, d.Kind, d.ID) }, func(*testing.T) {}
	}},
	{"ReplaceTags", 1, fescue.ErrConflict, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		d := container(t, s, homePartition, fescue.CoreKind)
		return func(i int) error {
			return s.Definitions().ReplaceTags(t.Context(), homePartition, d.Kind, d.ID, nil, map[string]string{"k": fmt.Sprint(i)})
		}, func(*testing.T) {}
	}},
	{"RestoreVersion", 8, nil, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		d := newContainer(fescue.CoreKind, "n")
		v := newVersion(d.Kind, d.ID, `{}`)
		return func(int) error { return second(s.Definitions().RestoreVersion(t.Context(), homePartition, d, v)) }, func(t *testing.T) {
			if list := must(s.Definitions().Versions(t.Context(), homePartition, d.Kind, d.ID, fescue.Page{Limit: 9}))(t); len(list) != 1 {
				t.Errorf("%d versions", len(list))
			}
		}
	}},
	{"CreateDeployment", 1, fescue.ErrConflict, each(func(ctx context.Context, s *store.DB, _ int) error {
		return second(s.Deployments().CreateDeployment(ctx, newDeployment(homePartition, "created"), fescue.Token{}))
	})},
	{"CreateDeployments", 1, fescue.ErrConflict, each(func(ctx context.Context, s *store.DB, _ int) error {
		for {
			answers, err := s.Deployments().CreateDeployments(ctx, []deploy.Request{{Deployment: newDeployment(homePartition, "together")}})
			if errors.Is(err, fescue.ErrLocked) {
				continue // the first is slow on this machine
			}
			if err != nil {
				return err
			}
			return answers[0].Err
		}
	})},
	{"LeaseBuilding", 8, nil, numbers(func(t *testing.T, s *store.DB) {
		for i := range 8 {
			deployingIn(t, s, elsewhere[0], fmt.Sprint("leased", i))
		}
	}, func(ctx context.Context, s *store.DB, _ int) (string, error) {
		d, err := leaseOne(ctx, s, time.Now().Add(time.Hour))
		return d.ID, err
	})},
	{"KeepBuilding", 1, fescue.ErrConflict, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		r := deploying(t, s, "kept")
		return func(i int) error {
				until := time.Now().Add(time.Duration(i+1) * time.Hour)
				return s.Deployments().KeepBuilding(t.Context(), r.Deployment, time.UnixMilli(0), until, fescue.Progress{Activity: "copying"})
			}, func(t *testing.T) {
				if p := must(s.Deployments().Progress(t.Context(), homePartition, r.ID))(t); p.Activity != "copying" {
					t.Errorf("progress %+v", p)
				}
				r.offer("kept")
				if p := must(s.Deployments().Progress(t.Context(), homePartition, r.ID))(t); p != (fescue.Progress{}) {
					t.Errorf("progress %+v of what is built", p)
				}
			}
	}},
	{"Offer", 1, fescue.ErrConflict, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		r := deploying(t, s, "offered")
		return func(int) error {
				_, _, err := s.Offers().Offer(t.Context(), r.Deployment, "offered", madeAt, superseding, signed)
				return err
			}, func(t *testing.T) {
				if epoch := must(s.Offers().Epoch(t.Context(), homePartition, "offered"))(t); epoch != 1 {
					t.Errorf("epoch %d", epoch)
				}
			}
	}},
	{"Hold", 8, nil, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		r := deploying(t, s, "holding")
		return func(int) error { return s.Holdings().Hold(t.Context(), r.Deployment, []string{"a", "b"}) }, func(*testing.T) {}
	}},
	{"ApplyStep", 1, fescue.ErrConflict, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		r := deploying(t, s, "stepped").offer("stepped")
		return func(i int) error {
				event, actor := fescue.EventClaimed, fescue.CoreActor
				if i%2 == 0 {
					event, actor = fescue.EventExpired, fescue.CloudActor
				}
				return second(s.Deployments().ApplyStep(t.Context(), r.Deployment, actor, fescue.DeploymentStep{
					Event: event, At: madeAt, Message: "m", Details: []fescue.ErrorDetail{{DetailedErrorCode: "A"}},
				}))
			}, func(t *testing.T) {
				if steps := must(s.Deployments().Steps(t.Context(), homePartition, r.ID))(t); len(steps) != 3 {
					t.Errorf("%d steps", len(steps))
				}
			}
	}},
	{"ForceReset", 1, fescue.ErrConflict, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		deploying(t, s, "forced").offer("forced").step(fescue.EventClaimed)
		r := resetting(t, s, "forced", fescue.ForceResetDeployment)
		return func(int) error {
				_, _, err := s.Offers().ForceReset(t.Context(), r.Deployment, "forced", madeAt, forcedAway, signed)
				return err
			}, func(t *testing.T) {
				if epoch := must(s.Offers().Epoch(t.Context(), homePartition, "forced"))(t); epoch != 2 {
					t.Errorf("epoch %d", epoch)
				}
			}
	}},
	{"SetProgress", 8, nil, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		r := deploying(t, s, "progress").offer("progress")
		return func(i int) error {
			return s.Deployments().SetProgress(t.Context(), r.Deployment, fescue.Progress{Fetched: int64(i)})
		}, func(*testing.T) {}
	}},
	{"CatchUp", 8, nil, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		return func(i int) error {
				return second(s.Offers().CatchUp(t.Context(), homePartition, "caught up", int64(i+1)))
			},
			func(t *testing.T) {
				if epoch := must(s.Offers().Epoch(t.Context(), homePartition, "caught up"))(t); epoch != 8 {
					t.Errorf("epoch %d", epoch)
				}
			}
	}},
	{"See", 8, nil, each(func(ctx context.Context, s *store.DB, i int) error {
		var list []cores.Seen
		for n := range 8 { // in another order each
			list = append(list, cores.Seen{Partition: homePartition, Thing: fmt.Sprint("seen", (n+i)%8), LastSeen: cores.LastSeen{SeenAt: madeAt}, Core: true})
		}
		return s.Cores().See(ctx, list)
	})},
	{"SetEventDestinations", 8, nil, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		return func(i int) error { return s.Events().SetEventDestinations(t.Context(), []string{"a", "b"}) }, func(t *testing.T) {
			deploying(t, s, "told")
			if list := must(s.Events().DueNotifications(t.Context(), "aws", "a", 99))(t); len(list) != 1 {
				t.Errorf("%d notifications of one change", len(list))
			}
		}
	}},
	{"FinishNotifications", 8, nil, each(func(ctx context.Context, s *store.DB, _ int) error {
		list, err := s.Events().DueNotifications(ctx, "aws", "a", 99)
		var ids []string
		for _, n := range list {
			ids = append(ids, n.ID)
		}
		return errors.Join(err, s.Events().FinishNotifications(ctx, "a", ids, nil))
	})},
	{"DropNotifications", 8, nil, each(func(ctx context.Context, s *store.DB, _ int) error {
		return second(s.Events().DropNotifications(ctx, time.Now()))
	})},
	{"Take", 1, fescue.ErrInUse, each(func(ctx context.Context, s *store.DB, i int) error {
		held, err := s.Leases().Take(ctx, "eight", fmt.Sprint(i), time.Now().Add(time.Hour))
		if err == nil && !held {
			err = fescue.ErrInUse
		}
		return err
	})},
	{"Release", 8, nil, each(func(ctx context.Context, s *store.DB, i int) error {
		return s.Leases().Release(ctx, "eight", fmt.Sprint(i))
	})},
	{"AdoptAccessKeys", 8, nil, each(func(ctx context.Context, s *store.DB, _ int) error {
		_, err := s.AccessKeys().AdoptAccessKeys(ctx, func(identity.AccessKey) ([]byte, error) { return nil, nil }, func(k identity.AccessKey) audit.Record {
			return audit.Record{ID: k.ID, At: madeAt}
		})
		return err
	})},
	{"Put", 8, nil, each(func(ctx context.Context, s *store.DB, i int) error {
		return s.Settings().Put(ctx, "put", fmt.Sprint(i))
	})},
	{"Keep", 8, nil, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		var mu sync.Mutex
		kept := map[string]bool{}
		return func(i int) error {
				v, err := s.Settings().Keep(t.Context(), "eight", fmt.Sprint(i))
				mu.Lock()
				defer mu.Unlock()
				kept[v] = true
				return err
			}, func(t *testing.T) {
				if len(kept) != 1 {
					t.Errorf("kept %v", kept)
				}
			}
	}},
	{"AddServerKey", 1, fescue.ErrExists, each(func(ctx context.Context, s *store.DB, i int) error {
		added, err := s.ServerKeys().AddServerKey(ctx, signing.ServerKey{ID: fmt.Sprint("key", i), Purpose: "eight", Number: 1, Sealed: []byte("s")})
		if err == nil && !added {
			err = fescue.ErrExists
		}
		return err
	})},
	{"PutAccessKey", 8, nil, each(func(ctx context.Context, s *store.DB, i int) error {
		return s.AccessKeys().PutAccessKey(ctx, identity.AccessKey{ID: "AKIAEIGHT", Account: "1", Sealed: []byte{byte(i)}})
	})},
	{"RevokeAccessKey", 1, fescue.ErrNotFound, each(func(ctx context.Context, s *store.DB, _ int) error {
		return s.AccessKeys().RevokeAccessKey(ctx, "AKIAEIGHT")
	})},
	{"AssociateRole", 8, nil, each(func(ctx context.Context, s *store.DB, i int) error {
		return second(s.GroupRoles().AssociateRole(ctx, homePartition, "g", fmt.Sprint(i)))
	})},
	{"DisassociateRole", 8, nil, each(func(ctx context.Context, s *store.DB, _ int) error {
		return second(s.GroupRoles().DisassociateRole(ctx, homePartition, "g"))
	})},
	{"PutConnectivity", 8, nil, each(func(ctx context.Context, s *store.DB, i int) error {
		return s.Cores().PutConnectivity(ctx, homePartition, "core", cores.Connectivity{Version: fmt.Sprint(i)})
	})},
	{"DesireTelemetry", 8, nil, each(func(ctx context.Context, s *store.DB, _ int) error {
		return s.Cores().DesireTelemetry(ctx, homePartition, "core", fescue.TelemetryOn)
	})},
	{"ReportTelemetry", 8, nil, each(func(ctx context.Context, s *store.DB, _ int) error {
		return s.Cores().ReportTelemetry(ctx, homePartition, "core", fescue.TelemetryOn)
	})},

	{"CreateFunction", 1, fescue.ErrExists, each(func(ctx context.Context, s *store.DB, i int) error {
		return s.Functions().CreateFunction(ctx, here, latest("created", fmt.Sprint(i)), nil, nil)
	})},
	{"UpdateFunction", 1, fescue.ErrConflict, after(func(t *testing.T, s *store.DB) {
		mustDo(t, s.Functions().CreateFunction(t.Context(), here, latest("updated", "r"), nil, nil))
	}, func(ctx context.Context, s *store.DB, i int) error {
		return second(s.Functions().UpdateFunction(ctx, here, latest("updated", fmt.Sprint(i)), "r", true, published(latest("updated", ""), fmt.Sprint("p", i))))
	})},
	{"PublishFunction", 8, nil, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		mustDo(t, s.Functions().CreateFunction(t.Context(), here, latest("published", "r"), nil, nil))
		return func(i int) error {
				return second(s.Functions().PublishFunction(t.Context(), here, *published(latest("published", ""), fmt.Sprint("p", i)), "r"))
			}, func(t *testing.T) {
				if list := must(s.Functions().FunctionVersions(t.Context(), here, "published", "", -1, 99))(t); len(list) != 2 {
					t.Errorf("%d versions of a function that did not change", len(list)-1)
				}
			}
	}},
	{"RestoreFunctionVersion", 8, nil, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		v := *published(latest("restored", ""), "p")
		v.Version = "3"
		return func(int) error {
				return second(s.Functions().RestoreFunctionVersion(t.Context(), here, latest("restored", "r"), v))
			},
			func(t *testing.T) {
				if list := must(s.Functions().FunctionVersions(t.Context(), here, "restored", "", -1, 99))(t); len(list) != 2 {
					t.Errorf("%d versions", len(list))
				}
			}
	}},
	{"ReplaceFunctionTags", 1, fescue.ErrConflict, each(func(ctx context.Context, s *store.DB, i int) error {
		return s.Functions().ReplaceFunctionTags(ctx, here, "published", nil, map[string]string{"k": fmt.Sprint(i)})
	})},
	{"CreateFunctionAlias", 1, fescue.ErrExists, each(func(ctx context.Context, s *store.DB, i int) error {
		return s.Functions().CreateFunctionAlias(ctx, here, "published", fescue.FunctionAlias{Name: "A", FunctionVersion: "1", RevisionID: "r"})
	})},
	{"UpdateFunctionAlias", 1, fescue.ErrConflict, each(func(ctx context.Context, s *store.DB, i int) error {
		return s.Functions().UpdateFunctionAlias(ctx, here, "published", fescue.FunctionAlias{Name: "A", FunctionVersion: "1", RevisionID: fmt.Sprint(i)}, "r")
	})},
	{"DeleteFunctionAlias", 1, fescue.ErrNotFound, each(func(ctx context.Context, s *store.DB, _ int) error {
		return s.Functions().DeleteFunctionAlias(ctx, here, "published", "A")
	})},
	{"DeleteFunctionVersion", 1, fescue.ErrNotFound, each(func(ctx context.Context, s *store.DB, _ int) error {
		return s.Functions().DeleteFunctionVersion(ctx, here, "published", "1")
	})},
	{"DeleteFunction", 1, fescue.ErrNotFound, each(func(ctx context.Context, s *store.DB, _ int) error {
		return s.Functions().DeleteFunction(ctx, here, "created")
	})},

	{"AddFirstGroupAuthority", 8, nil, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		group := newGroup(t, s)
		return func(i int) error {
				return s.GroupAuthorities().AddFirstGroupAuthority(t.Context(), homePartition, groupAuthority(group, i))
			}, func(t *testing.T) {
				if list := must(s.GroupAuthorities().GroupAuthorities(t.Context(), homePartition, group, madeAt))(t); len(list) != 1 {
					t.Errorf("%d authorities", len(list))
				}
			}
	}},
	{"RotateGroupAuthority", 8, nil, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		group := newGroup(t, s)
		return func(i int) error {
				return second(s.GroupAuthorities().RotateGroupAuthority(t.Context(), homePartition, groupAuthority(group, i), fescue.Token{}))
			}, func(t *testing.T) {
				signing := 0
				for _, a := range must(s.GroupAuthorities().GroupAuthorities(t.Context(), homePartition, group, madeAt))(t) {
					if len(a.Sealed) > 0 {
						signing++
					}
				}
				if signing != 1 {
					t.Errorf("%d authorities sign", signing)
				}
			}
	}},
	{"RecordHolder", 8, nil, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		group := newGroup(t, s)
		a, core := groupAuthority(group, 1), storetest.Core(t, s, homePartition, group, 1)
		mustDo(t, s.GroupAuthorities().AddFirstGroupAuthority(t.Context(), homePartition, a))
		return func(i int) error {
				return s.GroupAuthorities().RecordHolder(t.Context(), homePartition, group, a.ID, groupca.Holder{Thing: core.Thing, CertificateID: core.CertificateID, Until: madeAt.Add(time.Duration(i) * time.Hour)})
			}, func(t *testing.T) {
				if list := must(s.GroupAuthorities().GroupAuthorities(t.Context(), homePartition, group, madeAt))(t); !list[0].LeavesUntil.Equal(madeAt.Add(7 * time.Hour)) {
					t.Errorf("leaves until %s", list[0].LeavesUntil)
				}
			}
	}},
	{"SetCertificateExpiry", 8, nil, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		group := newGroup(t, s)
		return func(i int) error {
			return s.GroupAuthorities().SetCertificateExpiry(t.Context(), homePartition, group, time.Duration(i+1)*time.Hour)
		}, func(*testing.T) {}
	}},

	{"CreateCertificate", 1, fescue.ErrExists, each(func(ctx context.Context, s *store.DB, _ int) error {
		return s.Certificates().CreateCertificate(ctx, here, certificate(101, fescue.CertificateActive))
	})},
	{"SetCertificateStatus", 8, nil, after(activeCertificate(102, fescue.CertificateActive), func(ctx context.Context, s *store.DB, _ int) error {
		return s.Certificates().SetCertificateStatus(ctx, here, certID(102), fescue.CertificateRevoked, epoch)
	})},
	{"DeleteCertificate", 1, fescue.ErrNotFound, after(activeCertificate(103, fescue.CertificateInactive), func(ctx context.Context, s *store.DB, _ int) error {
		return s.Certificates().DeleteCertificate(ctx, here, certID(103), true)
	})},
	{"CreateThing", 1, fescue.ErrExists, each(func(ctx context.Context, s *store.DB, i int) error {
		return second(s.Things().CreateThing(ctx, here, fescue.Thing{Name: "created", ID: fmt.Sprint(i), Version: 1}, epoch))
	})},
	{"ReplaceThing", 1, fescue.ErrConflict, each(func(ctx context.Context, s *store.DB, _ int) error {
		return second(s.Things().ReplaceThing(ctx, here, fescue.Thing{Name: "created", Version: 2}))
	})},
	{"AttachThing", 8, nil, each(func(ctx context.Context, s *store.DB, _ int) error {
		return s.Things().AttachThing(ctx, here, "created", certID(101))
	})},
	{"DetachThing", 8, nil, each(func(ctx context.Context, s *store.DB, _ int) error {
		return s.Things().DetachThing(ctx, here, "created", certID(101))
	})},
	{"DeleteThing", 1, fescue.ErrNotFound, each(func(ctx context.Context, s *store.DB, _ int) error {
		return s.Things().DeleteThing(ctx, here, "created", 0)
	})},
	{"CreatePolicy", 1, fescue.ErrExists, each(func(ctx context.Context, s *store.DB, _ int) error {
		return s.Policies().CreatePolicy(ctx, here, registry.Policy{Name: "created", Document: "{}"})
	})},
	{"AddPolicyVersion", 4, fescue.ErrConflict, numbers(nothing, func(ctx context.Context, s *store.DB, i int) (string, error) {
		v, _, err := s.Policies().AddPolicyVersion(ctx, here, "created", "{}", i%2 == 0, 5, epoch)
		return v.ID, err
	})},
	{"SetDefaultPolicyVersion", 8, nil, each(func(ctx context.Context, s *store.DB, _ int) error {
		return second(s.Policies().SetDefaultPolicyVersion(ctx, here, "created", 1, epoch))
	})},
	{"AttachPolicy", 8, nil, each(func(ctx context.Context, s *store.DB, _ int) error {
		return s.Policies().AttachPolicy(ctx, here, "created", certID(101), 1)
	})},
	{"DetachPolicy", 8, nil, each(func(ctx context.Context, s *store.DB, _ int) error {
		return s.Policies().DetachPolicy(ctx, here, "created", certID(101))
	})},
	{"DeletePolicyVersion", 1, fescue.ErrNotFound, after(func(t *testing.T, s *store.DB) {
		addPolicy(t, s, here, "versions", "{}", epoch)
		_, _, err := s.Policies().AddPolicyVersion(t.Context(), here, "versions", "{}", false, 5, epoch)
		mustDo(t, err)
	}, func(ctx context.Context, s *store.DB, _ int) error {
		return s.Policies().DeletePolicyVersion(ctx, here, "versions", 2)
	})},
	{"DeletePolicy", 1, fescue.ErrNotFound, each(func(ctx context.Context, s *store.DB, _ int) error {
		return s.Policies().DeletePolicy(ctx, here, "versions")
	})},

	{"PutShadows", 1, fescue.ErrConflict, each(func(ctx context.Context, s *store.DB, i int) error {
		return putShadow(ctx, s, here, shadow.ID{Thing: "eight"}, shadow.Document{Version: int64(i + 1)}, 0)
	})},
	{"ForgetShadows", 8, nil, each(func(ctx context.Context, s *store.DB, _ int) error { return s.Shadows().ForgetShadows(ctx, epoch) })},
	{"Expire", 8, nil, each(func(ctx context.Context, s *store.DB, _ int) error {
		_, _, err := s.Retention().Expire(ctx, retention.RetainedDeployments, time.Time{}, time.Now(), 100)
		return err
	})},

	{"CreateBucket", 1, fescue.ErrExists, each(func(ctx context.Context, s *store.DB, _ int) error {
		return s.Buckets().CreateBucket(ctx, here, buckets.Bucket{Name: "eight", CreatedAt: epoch}, 100)
	})},
	{"HoldBlob", 8, nil, each(func(ctx context.Context, s *store.DB, _ int) error {
		return second(s.Buckets().HoldBlob(ctx, certID(1), time.Now().Add(time.Hour)))
	})},
	{"PutObject", 1, fescue.ErrPrecondition, each(func(ctx context.Context, s *store.DB, i int) error {
		hold, err := s.Buckets().HoldBlob(ctx, certID(1), epoch)
		return errors.Join(err, s.Buckets().PutObject(ctx, here, "eight", buckets.Object{Key: "k", ContentID: fmt.Sprint("c", i), ETag: "e"},
			buckets.ObjectPart{Number: 1, Hash: certID(1)}, buckets.ObjectWrite{OnlyNew: true, Hold: hold, HoldUntil: time.Now().Add(time.Hour)}))
	})},
	{"CopyObject", 1, fescue.ErrPrecondition, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		from := must(s.Buckets().Object(t.Context(), here, "eight", "k"))(t).ContentID
		return func(i int) error {
			return s.Buckets().CopyObject(t.Context(), here, "eight", buckets.Object{Key: "copy", ContentID: fmt.Sprint("d", i), ETag: "e"}, from, buckets.ObjectWrite{OnlyNew: true})
		}, func(*testing.T) {}
	}},
	{"CreateUpload", 8, nil, each(func(ctx context.Context, s *store.DB, i int) error {
		return s.Buckets().CreateUpload(ctx, here, "eight", buckets.ObjectUpload{ID: fmt.Sprint("u", i), Key: "k", CreatedAt: epoch})
	})},
	{"PutPart", 8, nil, each(func(ctx context.Context, s *store.DB, i int) error {
		hold, err := s.Buckets().HoldBlob(ctx, certID(1), epoch)
		return errors.Join(err, s.Buckets().PutPart(ctx, here, "eight", "u0", buckets.ObjectPart{Number: 1 + i%2, Hash: certID(1), ETag: "e"},
			buckets.ObjectWrite{LookAt: epoch, Hold: hold, HoldUntil: time.Now().Add(time.Hour)}))
	})},
	{"CompleteUpload", 1, fescue.ErrNotFound, each(func(ctx context.Context, s *store.DB, _ int) error {
		parts, err := s.Buckets().ObjectParts(ctx, here, "u0", 0, 9)
		if err != nil || len(parts) == 0 {
			return errors.Join(err, fescue.ErrNotFound)
		}
		return s.Buckets().CompleteUpload(ctx, here, "eight", buckets.Object{Key: "whole", ContentID: "u0", ETag: "e"}, parts, buckets.ObjectWrite{LookAt: epoch})
	})},
	{"AbortUpload", 1, fescue.ErrNotFound, each(func(ctx context.Context, s *store.DB, _ int) error {
		return s.Buckets().AbortUpload(ctx, here, "eight", "u1", epoch)
	})},
	{"AbortOldUploads", 8, nil, each(func(ctx context.Context, s *store.DB, _ int) error {
		return second(s.Buckets().AbortOldUploads(ctx, time.Now(), 9, epoch))
	})},
	{"DeleteObject", 1, fescue.ErrNotFound, each(func(ctx context.Context, s *store.DB, _ int) error {
		return s.Buckets().DeleteObject(ctx, here, "eight", "k", epoch)
	})},
	{"CondemnBlob", 1, fescue.ErrConflict, func(t *testing.T, s *store.DB) (func(int) error, func(*testing.T)) {
		must(s.Buckets().HoldBlob(t.Context(), certID(2), epoch))(t)
		var look buckets.BlobLook
		for _, b := range must(s.Buckets().BlobsToLookAt(t.Context(), time.Now(), 99))(t) {
			if b.Hash == certID(2) {
				look = b
			}
		}
		return func(int) error { return s.Buckets().CondemnBlob(t.Context(), look, time.Now().Add(time.Hour)) }, func(*testing.T) {}
	}},
	{"ForgetBlob", 8, nil, each(func(ctx context.Context, s *store.DB, _ int) error {
		return s.Buckets().ForgetBlob(ctx, buckets.BlobLook{Hash: certID(2)})
	})},
	{"Redate", 8, nil, each(func(ctx context.Context, s *store.DB, _ int) error {
		return second(s.Deployments().Redate(ctx, epoch, epoch, 9))
	})},
	{"DeleteBucket", 0, fescue.ErrInUse, each(func(ctx context.Context, s *store.DB, _ int) error {
		return s.Buckets().DeleteBucket(ctx, here, "eight", epoch)
	})},
}

// readers read, by aggregate, while all of the races go on.
var readers = map[string][]string{
	"AccessKeys":       {"AccessKey", "AccessKeys", "AccessKeysAdopted"},
	"Buckets":          {"BlobsToLookAt", "Bucket", "Buckets", "Object", "ObjectParts", "Objects", "Upload", "Uploads"},
	"Certificates":     {"Certificate", "Certificates", "Ending", "Principal", "Principals"},
	"Cores":            {"Connectivity", "Cores", "CountCores", "CountFleet", "GroupCore", "LastSeen", "Telemetry"},
	"Definitions":      {"Definition", "Definitions", "Groups", "TokenSubject", "Version", "Versions"},
	"Deployments":      {"Deployment", "DeploymentStatus", "Deployments", "DeploymentsIn", "Overdue", "Progress", "Running", "Steps", "Unfinished"},
	"Events":           {"DueNotifications", "NotificationBacklog"},
	"Functions":        {"FunctionAlias", "FunctionAliases", "FunctionCodeNamed", "FunctionTags", "FunctionVersion", "FunctionVersions", "Functions"},
	"GroupAuthorities": {"CertificateExpiry", "GroupAuthorities"},
	"GroupRoles":       {"AssociatedRole"},
	"Holdings":         {"CoresOfDevices", "HolderTags", "Memberships", "RevokedDevices"},
	"Offers":           {"Document", "Epoch", "OfferedArtifacts", "Passed", "Waiting"},
	"Policies":         {"CertificatePolicies", "Policies", "Policy", "PolicyCertificates", "PolicyVersion", "PolicyVersions"},
	"ServerKeys":       {"ServerKeys"},
	"Settings":         {"Kept", "Partitions"},
	"Shadows":          {"ShadowNames", "Shadows", "ShadowsOf"},
	"Things":           {"CertificateThings", "Thing", "ThingCertificates", "Things"},
}

// testEightfold: whatever eight callers call at the same time, what may happen once
// happens once, and everybody else is answered that somebody was faster.
func testEightfold(t *testing.T, open opener) {
	t.Parallel()
	s := open(t)
	for _, r := range races {
		do, holds := r.ready(t, s)
		if wins := eightTimes(do, r.loses, t); wins != r.wins {
			t.Errorf("%s: %d of eight succeed, want %d", r.method, wins, r.wins)
		}
		if holds(t); t.Failed() {
			t.Fatalf("after %s", r.method)
		}
	}
	for aggregate, methods := range readers {
		of := reflect.ValueOf(s).MethodByName(aggregate).Call(nil)[0]
		for _, name := range methods {
			eightTimes(func(int) error { return read(t.Context(), of.MethodByName(name)) }, fescue.ErrNotFound, t)
			if t.Failed() {
				t.Fatalf("after %s of %s", name, aggregate)
			}
		}
	}
}

// read calls a method that reads, with values that may or may not find something.
func read(ctx context.Context, f reflect.Value) error {
	in := make([]reflect.Value, f.Type().NumIn())
	for i := range in {
		switch t := f.Type().In(i); t {
		case reflect.TypeFor[context.Context]():
			in[i] = reflect.ValueOf(ctx)
		case reflect.TypeFor[fescue.Partition]():
			in[i] = reflect.ValueOf(homePartition)
		case reflect.TypeFor[fescue.Kind]():
			in[i] = reflect.ValueOf(fescue.GroupKind)
		case reflect.TypeFor[fescue.Page]():
			in[i] = reflect.ValueOf(fescue.Page{Limit: 9})
		case reflect.TypeFor[[]shadow.ID]():
			in[i] = reflect.ValueOf([]shadow.ID{{Thing: "eight"}, {Thing: "nine"}})
		default:
			if in[i] = reflect.New(t).Elem(); t.Kind() == reflect.Int {
				in[i].SetInt(9)
			}
		}
	}
	out := f.Call(in)
	err, _ := out[len(out)-1].Interface().(error)
	return err
}
