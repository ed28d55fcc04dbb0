package lifecycle

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/sandbox"
)

// Descriptors of the log pipes in a function's process. INFO and ERROR are
// stdout and stderr, so programs that know nothing of levels are logged too;
// the numbers are those of the original's successor.
var logFDs = []struct {
	fd    int
	level string
	// origin names the stream of a line that does not begin with its own origin.
	origin string
}{
	{1, "INFO", "stdout"}, {2, "ERROR", "stderr"}, {3, "DEBUG", "log"},
	{4, "WARN", "log"}, {5, "FATAL", "log"}, {6, "TRACE", "log"},
}

// places are where a function's process finds things, as it sees them.
type places struct {
	// code is the folder of its package, runtimes that of what functions load.
	code, runtimes sandbox.InsidePath
	// work is the working directory, home what HOME says.
	work, home sandbox.InsidePath
	// resources is what the path of a resource is below (developer guide, "Access
	// machine learning resources").
	resources sandbox.InsidePath
}

// plainPlaces are those without a container: the package's folder is where all else
// is, too.
func plainPlaces(f *plan.Function, runtimes sandbox.HostPath) places {
	code := f.Code.Plain()
	return places{code: code, runtimes: runtimes.Plain(), work: code, home: code, resources: cmp.Or(f.ResourceFolder.Plain(), code)}
}

// placesOf are those of a function.
func placesOf(f *plan.Function, runtimes sandbox.HostPath) places {
	if f.Container == nil {
		return plainPlaces(f, runtimes)
	}
	return containerPlaces
}

// containerPlaces are where functions of the original found things in a container.
var containerPlaces = places{code: "/lambda", runtimes: "/runtime", work: "/lambda", home: "/lambda", resources: "/"}

// container is what surrounds the process of a function, nil for nothing.
func (l *launcher) container(f *plan.Function) *sandbox.Container {
	if f.Container == nil {
		return nil
	}
	return &sandbox.Container{
		Memory: int64(f.Container.MemoryKB) << 10, Sysfs: f.Container.Sysfs, Hidden: l.hidden, Devices: f.Container.Devices,
		Mounts: append([]sandbox.Mount{
			{Source: f.Code.Real(), Destination: containerPlaces.code},
			{Source: l.runtimeDir.Real(), Destination: containerPlaces.runtimes},
		}, f.Container.Mounts...),
	}
}

// environment is all that a function's process sees. It inherits nothing from
// the core's own environment, which may hold secrets.
//
// There are three kinds of variables: reserved ones, which say who the function
// is and how it reaches the core; lists, to which the core adds its part; and
// all others, where the group's value wins. (Names and values as observed in
// functions of the original.)
func (s *Supervisor) environment(f *plan.Function, c command, token string) []string {
	env := map[string]string{
		"HOME": string(c.places.home),
		"LANG": "C.UTF-8",

		"AWS_REGION":         f.Region,
		"AWS_DEFAULT_REGION": f.Region,
		"LOG_LEVEL":          f.LogLevel,

		"STREAM_MANAGER_SERVER_PORT": "8088",
	}
	if f.GroupID != "" {
		env["GROUP_ID"] = f.GroupID
	}
	maps.Copy(env, s.options.Environment)
	for name, value := range f.Environment {
		if !strings.HasPrefix(name, "_GG_LOG_FD_") {
			env[name] = value
		}
	}

	prepend(env, "PATH", ":", nil, []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", string(c.places.code) + "/"})
	fill := strings.NewReplacer("{code}", string(c.places.code), "{runtimes}", string(c.places.runtimes))
	for _, list := range c.runtime.Lists {
		var parts []string
		for _, part := range list.Parts {
			parts = append(parts, fill.Replace(part))
		}
		prepend(env, list.Name, ":", parts, nil)
	}
	for _, name := range []string{"no_proxy", "NO_PROXY"} {
		if env["http_proxy"] != "" || env["HTTP_PROXY"] != "" || env[name] != "" {
			prepend(env, name, ",", []string{"localhost", "127.0.0.1"}, nil)
		}
	}

	encoding := f.Encoding
	if c.runtime.BinaryOnly {
		encoding = fescue.EncodingBinary
	}
	port := strconv.Itoa(s.options.Port)
	maps.Copy(env, map[string]string{
		"AWS_CONTAINER_AUTHORIZATION_TOKEN":  token,
		"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://localhost:" + port + "/2016-11-01/credentialprovider/",
		"MY_FUNCTION_ARN":                    f.ARN,
		"ROUTER_FUNCTION_ARN":                fescue.RouterFunction.ARN(),
		"SHADOW_FUNCTION_ARN":                fescue.ShadowFunction.ARN(),
		"SECRETS_MANAGER_FUNCTION_ARN":       fescue.SecretFunction.ARN() + ":1",
		"ENCODING_TYPE":                      encoding,
		"GGC_MAX_INTERFACE_VERSION":          "1.5",
		"GG_DAEMON_PORT":                     port,
		"AWS_GG_RESOURCE_PREFIX":             string(c.places.resources),
	})
	for _, name := range reservedForTheCore {
		if value, ok := s.options.Environment[name]; ok {
			env[name] = value
		}
	}
	for _, log := range logFDs {
		env["_GG_LOG_FD_"+log.level] = strconv.Itoa(log.fd)
	}

	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// reservedForTheCore are variables about the core that functions cannot replace
// when Options.Environment sets them. GROUP_ID and AWS_IOT_THING_ARN are not
// among them: provisioning tools set those as variables of the function.
var reservedForTheCore = []string{"AWS_IOT_THING_NAME", "GGC_VERSION", "IPC_SOCK_FILE", "STREAM_MANAGER_SERVER_PORT"}

// prepend puts parts at both ends of a list in a variable, leaving out those
// that the list has already.
func prepend(env map[string]string, name, separator string, before, after []string) {
	var present []string
	if env[name] != "" {
		present = strings.Split(env[name], separator)
	}
	missing := func(parts []string) []string {
		return slices.DeleteFunc(slices.Clone(parts), func(part string) bool { return slices.Contains(present, part) })
	}
	env[name] = strings.Join(slices.Concat(missing(before), present, missing(after)), separator)
}
