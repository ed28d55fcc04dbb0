// Package manifests_test holds the compose file and the Helm chart against what Docker
// and Kubernetes take: a member that they do not know fails.
package manifests_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	composeloader "github.com/compose-spec/compose-go/v2/loader"
	composetypes "github.com/compose-spec/compose-go/v2/types"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// kinds are what the chart may make.
var kinds = map[string]func() any{
	"v1 Service":                    func() any { return new(core.Service) },
	"v1 ServiceAccount":             func() any { return new(core.ServiceAccount) },
	"apps/v1 StatefulSet":           func() any { return new(apps.StatefulSet) },
	"policy/v1 PodDisruptionBudget": func() any { return new(policy.PodDisruptionBudget) },
}

// values are those of a chart, as an operator gives them.
type values = map[string]any

// render makes the manifests of the chart, by kind and name.
func render(t *testing.T, given values) (map[string]any, error) {
	t.Helper()
	c, err := loader.Load("../chart")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return manifests(c, given)
}

func manifests(c *chart.Chart, given values) (map[string]any, error) {
	all, err := chartutil.ToRenderValues(c, given, chartutil.ReleaseOptions{Name: "mill", Namespace: "fleet", IsInstall: true}, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	rendered, err := engine.Engine{Strict: true}.Render(c, all)
	if err != nil {
		return nil, err
	}
	made := make(map[string]any)
	for file, text := range rendered {
		for document := range strings.SplitSeq("\n"+text, "\n---\n") {
			var head struct {
				APIVersion, Kind string
				Metadata         struct{ Name string }
			}
			if err := yaml.Unmarshal([]byte(document), &head); err != nil {
				return nil, fmt.Errorf("%s: %w\n%s", file, err, document)
			}
			if head.Kind == "" {
				continue // a part that is not asked for
			}
			kind := kinds[head.APIVersion+" "+head.Kind]
			if kind == nil {
				return nil, fmt.Errorf("%s: there is no %s %s", file, head.APIVersion, head.Kind)
			}
			into := kind()
			if err := decode(document, into); err != nil {
				return nil, fmt.Errorf("%s: %w\n%s", file, err, document)
			}
			made[head.Kind+" "+head.Metadata.Name] = into
		}
	}
	return made, nil
}

// decode reads a manifest as Kubernetes does, which tells upper from lower case, and
// refuses what it does not know.
func decode(document string, into any) error {
	text, err := yaml.YAMLToJSONStrict([]byte(document))
	if err != nil {
		return err
	}
	unknown, err := json.UnmarshalStrict(text, into)
	return errors.Join(append(unknown, err)...)
}

func TestChart(t *testing.T) {
	everything := values{
		"publicHost": "greengrass.example.com", "replicas": 2, "flags": []any{"--offline-deadline", "72h"}, "tlsSecret": "fescue-tls",
		"artifacts": values{"place": "s3://kept/production"}, "metrics": values{"enabled": true}, "broker": values{"enabled": true}, "database": values{"enabled": true}, "objects": values{"enabled": true},
		"imagePullSecrets": []any{values{"name": "registry"}}, "nodeSelector": values{"disk": "ssd"}, "service": values{"annotations": values{"a": "b"}},
		"storage": values{"class": "fast"}, "tolerations": []any{values{"key": "edge", "operator": "Exists"}},
		"affinity": values{"nodeAffinity": values{"requiredDuringSchedulingIgnoredDuringExecution": values{"nodeSelectorTerms": []any{}}}},
	}
	for name, c := range map[string]struct {
		values values
		want   []string
	}{
		"a server": {values{"publicHost": "greengrass.example.com"}, []string{
			"PodDisruptionBudget mill-fescue", "Service mill-fescue", "Service mill-fescue-servers", "ServiceAccount mill-fescue", "StatefulSet mill-fescue",
		}},
		"everything": {everything, []string{
			"PodDisruptionBudget mill-fescue", "Service mill-fescue", "Service mill-fescue-database", "Service mill-fescue-objects", "Service mill-fescue-servers",
			"ServiceAccount mill-fescue", "StatefulSet mill-fescue", "StatefulSet mill-fescue-database", "StatefulSet mill-fescue-objects",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			made, err := render(t, c.values)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for name, manifest := range made {
				names = append(names, name)
				if set, ok := manifest.(*apps.StatefulSet); ok {
					bounded(t, set, made)
				}
			}
			slices.Sort(names)
			if !slices.Equal(names, c.want) {
				t.Errorf("made %q, want %q", names, c.want)
			}
			serves(t, made)
		})
	}
	for name, c := range map[string]struct {
		values values
		says   string
	}{
		"no public host":        {values{}, "publicHost"},
		"an unknown value":      {values{"publicHost": "a", "replica": 2}, "replica"},
		"no server":             {values{"publicHost": "a", "replicas": 0}, "replicas"},
		"an account of letters": {values{"publicHost": "a", "account": "mill"}, "account"},
		"artifacts in a folder": {values{"publicHost": "a", "artifacts": values{"place": "/mnt"}}, "artifacts"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := render(t, c.values); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want an error that names %s", err, c.says)
			}
		})
	}
}

// bounded: nothing of a pod is root's, writes outside of its volumes, or has rights.
func bounded(t *testing.T, set *apps.StatefulSet, made map[string]any) {
	t.Helper()
	spec := set.Spec.Template.Spec
	if made["Service "+set.Spec.ServiceName] == nil {
		t.Errorf("%s: there is no service %s", set.Name, set.Spec.ServiceName)
	}
	for label, value := range set.Spec.Selector.MatchLabels {
		if set.Spec.Template.Labels[label] != value {
			t.Errorf("%s does not select its pods by %s", set.Name, label)
		}
	}
	if s := spec.SecurityContext; s == nil || !*s.RunAsNonRoot || *s.RunAsUser == 0 || s.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault || *spec.AutomountServiceAccountToken {
		t.Errorf("%s runs with %+v", set.Name, s)
	}
	volumes := make(map[string]bool)
	for _, v := range spec.Volumes {
		volumes[v.Name] = true
	}
	for _, v := range set.Spec.VolumeClaimTemplates {
		volumes[v.Name] = true
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		if s := c.SecurityContext; s == nil || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || !slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) {
			t.Errorf("%s of %s runs with %+v", c.Name, set.Name, s)
		}
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("%s of %s: there is no volume %s", c.Name, set.Name, m.Name)
			}
		}
		for _, e := range c.Env {
			if secret := regexp.MustCompile(`SECRET|PASSWORD|ACCESS_KEY|BROKER`).MatchString(e.Name); secret && (e.ValueFrom == nil || e.ValueFrom.SecretKeyRef == nil) {
				t.Errorf("%s of %s has %s in clear", c.Name, set.Name, e.Name)
			}
		}
	}
	if set.Name == "mill-fescue" {
		probes(t, spec.Containers[0])
	}
}

// probes: the server is asked where it answers.
func probes(t *testing.T, c core.Container) {
	t.Helper()
	for path, probe := range map[string]*core.Probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe, " /healthz": c.StartupProbe} {
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != strings.TrimSpace(path) || probe.HTTPGet.Port.StrVal != "api" || probe.HTTPGet.Scheme != core.URISchemeHTTPS {
			t.Errorf("the probe of %s is %+v", path, probe)
		}
	}
	for _, flag := range []string{"--api=0.0.0.0:9080", "--public-host=greengrass.example.com", "--public-device-port=8443", "--public-mqtt-port=8883"} {
		if !slices.Contains(c.Args, flag) {
			t.Errorf("no %s in %q", flag, c.Args)
		}
	}
}

// serves: the service leads to ports that the server has, and so does the budget to pods.
func serves(t *testing.T, made map[string]any) {
	t.Helper()
	set := made["StatefulSet mill-fescue"].(*apps.StatefulSet)
	ports := make(map[string]bool)
	for _, p := range set.Spec.Template.Spec.Containers[0].Ports {
		ports[p.Name] = true
	}
	for _, name := range []string{"mill-fescue", "mill-fescue-servers"} {
		service := made["Service "+name].(*core.Service)
		for _, p := range service.Spec.Ports {
			if !ports[p.TargetPort.StrVal] {
				t.Errorf("service %s: the server has no port %s", name, p.TargetPort.StrVal)
			}
		}
		for label, value := range service.Spec.Selector {
			if set.Spec.Template.Labels[label] != value {
				t.Errorf("service %s finds no pods by %s", name, label)
			}
		}
	}
	if service := made["Service mill-fescue"].(*core.Service); len(service.Spec.Ports) != 3 {
		t.Errorf("the service has %+v", service.Spec.Ports)
	}
	budget := made["PodDisruptionBudget mill-fescue"].(*policy.PodDisruptionBudget)
	if budget.Spec.MaxUnavailable.IntValue() != 1 || budget.Spec.Selector.MatchLabels["app.kubernetes.io/component"] != "server" {
		t.Errorf("the budget is %+v", budget.Spec)
	}
}

// TestStrict: what Kubernetes would leave out without a word fails.
func TestStrict(t *testing.T) {
	const claim = "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\nspec:\n  %s\n"
	for member, good := range map[string]bool{"type: ClusterIP": true, "Type: ClusterIP": false, "kind: ClusterIP": false, "ports: {}": false, "type: a\n  type: b": false} {
		if err := decode(fmt.Sprintf(claim, member), new(core.Service)); (err == nil) != good {
			t.Errorf("%s: %v", member, err)
		}
	}
}

func TestCompose(t *testing.T) {
	load := func(environment composetypes.Mapping) (*composetypes.Project, error) {
		text, err := os.ReadFile("../compose/compose.yaml")
		if err != nil {
			t.Fatal(err)
		}
		return composeloader.LoadWithContext(t.Context(), composetypes.ConfigDetails{
			WorkingDir: "../compose", Environment: environment, ConfigFiles: []composetypes.ConfigFile{{Filename: "compose.yaml", Content: text}},
		})
	}
	project, err := load(composetypes.Mapping{"PUBLIC_HOST": "greengrass.example.com", "DATABASE_PASSWORD": "one", "OBJECTS_SECRET": "two"})
	if err != nil {
		t.Fatal(err)
	}
	names := project.ServiceNames()
	if slices.Sort(names); !slices.Equal(names, []string{"bucket", "database", "objects", "server"}) {
		t.Errorf("services %q", names)
	}
	server := project.Services["server"]
	if !server.ReadOnly || !slices.Contains(server.Command, "greengrass.example.com") || len(server.Ports) != 3 || server.User != "" {
		t.Errorf("the server is %+v", server)
	}
	for _, missing := range []string{"PUBLIC_HOST", "DATABASE_PASSWORD", "OBJECTS_SECRET"} {
		environment := composetypes.Mapping{"PUBLIC_HOST": "a", "DATABASE_PASSWORD": "b", "OBJECTS_SECRET": "c"}
		delete(environment, missing)
		if _, err := load(environment); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}
