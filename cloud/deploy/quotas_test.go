package deploy_test

import (
	"fmt"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/deploy"
)

// TestQuotas takes each quota down to what a group has, and one below it.
func TestQuotas(t *testing.T) {
	t.Parallel()
	const thing = "mill"
	// Each grows a group to what is counted, of which it has the number.
	groups := map[deploy.Quota]struct {
		has  int
		grow func(s *site, g group)
	}{
		deploy.QuotaDevices: {2, func(s *site, g group) {
			var v fescue.DeviceDefinitionVersion
			for _, name := range []string{"pump", "valve"} {
				v.Devices = append(v.Devices, fescue.Device{Id: name, ThingArn: home.ThingARN(name), CertificateArn: home.CertificateARN(s.certificate(home, name))})
			}
			g.set(fescue.DeviceKind, v)
		}},
		deploy.QuotaFunctions: {2, func(_ *site, g group) { g.functions(reader+":1", stats+":1") }},
		deploy.QuotaResources: {2, func(_ *site, g group) { g.set(fescue.ResourceKind, volumes(2)) }},
		deploy.QuotaFunctionResources: {2, func(_ *site, g group) {
			g.set(fescue.ResourceKind, volumes(2)).set(fescue.FunctionKind, oneFunction("", container("", "v0", "v1")))
		}},
		deploy.QuotaSubscriptions: {2, func(_ *site, g group) {
			g.subscriptions(fescue.Subscription{Id: "a", Source: "cloud", Subject: "a", Target: "GGShadowService"},
				fescue.Subscription{Id: "b", Source: "GGShadowService", Subject: "a", Target: "cloud"})
		}},
		deploy.QuotaCloudSubscriptions: {2, func(_ *site, g group) {
			g.subscriptions(fescue.Subscription{Id: "a", Source: "cloud", Subject: "a", Target: "GGShadowService"},
				fescue.Subscription{Id: "b", Source: "cloud", Subject: "b", Target: "GGShadowService"},
				fescue.Subscription{Id: "c", Source: "GGShadowService", Subject: "a", Target: "cloud"})
		}},
		deploy.QuotaCoreName: {len(thing), func(*site, group) {}},
	}
	for _, fact := range deploy.QuotaFacts {
		t.Run(string(fact.Quota), func(t *testing.T) {
			t.Parallel()
			g, ok := groups[fact.Quota]
			if !ok {
				t.Fatal("no group has too much of it")
			}
			for _, most := range []int{g.has - 1, g.has, 0} { // 0 is any number
				s := open(t)
				s.Engine = s.another(func(o *deploy.Options) { o.Quotas = deploy.Quotas{fact.Quota: most} })
				s.run(s.Engine)
				m := s.mill(thing)
				g.grow(s, m)
				d := s.deploy(s.create(m))
				if most == g.has-1 {
					s.wantFailure(d, problem{fescue.QuotaExceeded, fmt.Sprintf("%d %s; at most %d can be deployed (quota %s)", g.has, fact.Counts, most, fact.Quota)})
				} else if d.Status != fescue.InProgress {
					t.Errorf("with %d allowed the deployment is %s: %s", most, d.Status, d.ErrorMessage)
				}
			}
		})
	}
}

func volumes(n int) (v fescue.ResourceDefinitionVersion) {
	for i := range n {
		v.Resources = append(v.Resources, fescue.Resource{Id: fmt.Sprintf("v%d", i), Name: fmt.Sprintf("v%d", i), ResourceDataContainer: fescue.ResourceDataContainer{
			LocalVolumeResourceData: &fescue.LocalVolumeResourceData{SourcePath: "/srv", DestinationPath: fmt.Sprintf("/v%d", i)},
		}})
	}
	return v
}
