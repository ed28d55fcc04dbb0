//go:build linux

package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
)

// Where functions run.
const (
	inContainer = types.FunctionIsolationModeGreengrassContainer
	noContainer = types.FunctionIsolationModeNoContainer
)

// matrix has a group of functions in all languages publish, call each other, use what
// their group gives them, fail, end, take too long and take too much memory.
type matrix struct {
	*gateway
	viewer *client
	// main are where Main runs in each language, raw where Raw runs, in one after the other.
	main, raw []types.FunctionIsolationMode
	// slow is how many times longer things take where the core is.
	slow int32
	// deployed waits until a deployment of a group's version has succeeded.
	deployed func(t *testing.T, group, version string)
	// log is what the log of a group's function has.
	log func(t *testing.T, group string, f resident) (string, error)
}

// resident is a function of a language in the matrix.
type resident struct {
	language
	isolation types.FunctionIsolationMode
	tag, arn  string
}

// TestLanguages has functions run with and without containers.
func TestLanguages(t *testing.T) {
	t.Parallel()
	needPython(t)
	h := startServer(t).site(region)
	m := &matrix{
		gateway: h.contained(t, "Babel_Core"), viewer: h.connect(t, "Viewer"), slow: 1,
		main: []types.FunctionIsolationMode{noContainer, inContainer}, raw: []types.FunctionIsolationMode{inContainer, noContainer},
	}
	m.isolation = noContainer
	m.deployed = m.awaitContained
	m.log = func(_ *testing.T, _ string, f resident) (string, error) {
		text, err := os.ReadFile(filepath.Join(m.root, "ggc", "var", "log", "user", region, account, f.tag+".log"))
		return string(text), err
	}
	m.play(t)
}

// play deploys the group and tries each row in all languages.
func (m *matrix) play(t *testing.T) {
	m.viewer.subscribe(t, m.thing+"/out")
	m.put(t, "models", "babel.tar.gz", string(packed(t, "tower")))
	m.resources = []types.Resource{
		secretResource("secret", m.keep(t, "greengrass-babel", "shibboleth", "AWSCURRENT")),
		resource("model", types.ResourceDataContainer{S3MachineLearningModelResourceData: &types.S3MachineLearningModelResourceData{
			S3Uri: aws.String("s3://models/babel.tar.gz"), DestinationPath: aws.String("/ml/babel"),
			OwnerSetting: &types.ResourceDownloadOwnerSetting{GroupOwner: aws.String(fmt.Sprint(millers)), GroupPermission: types.PermissionRo},
		}}),
	}
	var all, raw []resident
	var functions []function
	var routes []route
	timeout := 120 * m.slow
	for i, l := range languages {
		code := zipOf(t, l.files(t))
		encoding := types.EncodingTypeJson
		if l.binary {
			encoding = types.EncodingTypeBinary
		}
		for _, isolation := range m.main {
			f := function{pinned: true, encoding: encoding, isolation: isolation, timeout: timeout}
			f.contain(l.memory)
			r := resident{language: l, isolation: isolation, tag: l.name + string(isolation)}
			r.arn = m.publish(t, r.tag, l.runtime, l.main, code)
			f.arn, f.variables = r.arn, out(m.thing, r.tag)
			f.variables["GREETING"] = "hello " + r.tag
			f.resources = []types.ResourceAccessPolicy{{ResourceId: aws.String("secret"), Permission: types.PermissionRo}, {ResourceId: aws.String("model")}}
			if isolation == inContainer {
				f.resources[1].Permission = types.PermissionRo
			}
			all, functions = append(all, r), append(functions, f)
			routes = append(routes, route{r.arn, m.thing + "/out", "cloud"}, route{"cloud", m.thing + "/" + r.tag, r.arn})
		}
		r := resident{language: l, isolation: m.raw[i%len(m.raw)], tag: l.name + "Raw"}
		r.arn = m.publish(t, r.tag, l.runtime, l.raw, code)
		f := function{arn: r.arn, encoding: types.EncodingTypeBinary, timeout: rawTimeout * m.slow, isolation: r.isolation}
		f.contain(l.memory)
		raw, functions = append(raw, r), append(functions, f)
	}
	// What calls Raw does so in bytes.
	asker := function{arn: m.python(t, "Asker", asksRaw), pinned: true, timeout: timeout, isolation: m.main[0], variables: out(m.thing, "Asker")}
	asker.contain(65536)
	functions = append(functions, asker)
	routes = append(routes, route{asker.arn, m.thing + "/out", "cloud"}, route{"cloud", m.thing + "/ask", asker.arn})
	group, version := m.groupVersion(t, "", functions, routes)
	m.associate(t, group, m.role(t, "Babel", "greengrass.amazonaws.com", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}`))
	m.deployed(t, group, version)
	var up []string
	for _, r := range all {
		up = append(up, r.tag+" up")
	}
	m.next(t, up...)

	// calls has each function call the next: first the even ones the odd ones, which
	// are free then, and the other way round. What wants no answer is not called.
	calls := func(t *testing.T, words string, want func(caller, callee resident) string) {
		for _, odd := range []int{0, 1} {
			var wanted []string
			for i := odd; i < len(all); i += 2 {
				caller, callee := all[i], all[(i+1)%len(all)]
				if answer := want(caller, callee); answer != "" {
					await(t, "publish", m.viewer.Publish(m.thing+"/"+caller.tag, 1, false, `"call `+callee.arn+` `+words+`"`))
					wanted = append(wanted, answer)
				}
			}
			if len(wanted) > 0 {
				m.next(t, wanted...)
			}
		}
	}
	t.Run("client context and result", func(t *testing.T) {
		calls(t, "double 21", func(caller, _ resident) string { return caller.tag + ` got |"42 for ` + caller.tag + `"` })
	})
	t.Run("environment", func(t *testing.T) {
		calls(t, "env", func(caller, callee resident) string {
			encoding := map[bool]string{true: "binary", false: "json"}[callee.binary]
			return caller.tag + ` got |"hello ` + callee.tag + ` Babel_Core ` + encoding + `"`
		})
	})
	t.Run("a secret", func(t *testing.T) {
		calls(t, "secret", func(caller, _ resident) string { return caller.tag + ` got |"shibboleth"` })
	})
	t.Run("credentials", func(t *testing.T) {
		calls(t, "credentials", func(caller, _ resident) string { return caller.tag + ` got |"ASIA` })
	})
	t.Run("a shadow", func(t *testing.T) {
		calls(t, "shadow", func(caller, callee resident) string { return caller.tag + ` got |"` + callee.tag + ` 404"` })
	})
	t.Run("a model", func(t *testing.T) {
		calls(t, "resource", func(caller, _ resident) string { return caller.tag + ` got |"tower"` })
	})
	t.Run("memory that is used again", func(t *testing.T) {
		calls(t, "litter", func(caller, _ resident) string { return caller.tag + ` got |"tidy"` })
	})
	t.Run("a handled error", func(t *testing.T) {
		calls(t, "fail", func(caller, callee resident) string {
			space := map[bool]string{true: " ", false: ""}[callee.name == "Python"]
			return caller.tag + ` got Handled|{"errorMessage":` + space + `"broken in ` + callee.tag + `"`
		})
	})
	t.Run("the end of the process", func(t *testing.T) {
		calls(t, "exit", func(caller, _ resident) string { return caller.tag + ` got Unhandled|{"errorMessage":` })
	})
	t.Run("each runs again", func(t *testing.T) {
		calls(t, "double 4", func(caller, _ resident) string { return caller.tag + ` got |"8 for ` + caller.tag + `"` })
	})
	// asks has Asker call each function that takes bytes, with all that there is, at once.
	asks := func(t *testing.T, payloads []string, want func(resident) []string) {
		var asked, wanted []string
		for _, r := range raw {
			for _, p := range payloads {
				asked = append(asked, fmt.Sprintf(`["%s","%s","%x"]`, r.tag, r.arn, p))
			}
			wanted = append(wanted, want(r)...)
		}
		await(t, "publish", m.viewer.Publish(m.thing+"/ask", 1, false, "["+strings.Join(asked, ",")+"]"))
		m.next(t, wanted...)
	}
	t.Run("bytes", func(t *testing.T) {
		asks(t, []string{"\xff\x00\xe4"}, func(r resident) []string { return []string{r.tag + " got |e400ff"} })
	})
	t.Run("a handler that takes too long, beside one that does not", func(t *testing.T) {
		asks(t, []string{"spin", "\x01\x02"}, func(r resident) []string {
			return []string{fmt.Sprintf(`%s got Unhandled|{"errorMessage":"%s timed out after %d s`, r.tag, r.arn, rawTimeout*m.slow), r.tag + " got |0201"}
		})
	})
	t.Run("a container that takes too much memory, beside what goes on", func(t *testing.T) {
		calls(t, "eat", func(caller, callee resident) string {
			if callee.isolation != inContainer {
				return ""
			}
			return fmt.Sprintf(`%s got Unhandled|{"errorMessage":"the function's process ended before it answered: `+callee.starved, caller.tag, callee.memory)
		})
		asks(t, []string{"\x03\x04"}, func(r resident) []string { return []string{r.tag + " got |0403"} })
	})
	t.Run("logs of both streams", func(t *testing.T) {
		for _, r := range all {
			patterns := []string{`(?m)\[INFO\]-.*said by ` + r.tag + `$`, `(?m)\[ERROR\]-.*complained by ` + r.tag + `$`}
			if r.name == "Java" || r.name == "C" {
				patterns = append(patterns, `(?m)\[WARN\]-.*warned by `+r.tag+`$`)
			}
			eventually(t, "log lines of "+r.tag, func() error {
				text, err := m.log(t, group, r)
				if err != nil {
					return err
				}
				return matchAll(text, patterns...)
			})
		}
	})
}

// rawTimeout is that of Raw, in seconds.
const rawTimeout = 3

// next waits for messages from where the core is.
func (m *matrix) next(t *testing.T, texts ...string) {
	t.Helper()
	m.viewer.nextWithin(t, patience*time.Duration(m.slow), texts...)
}

// contain gives a function in a container its memory.
func (f *function) contain(memory int32) {
	if f.isolation == inContainer {
		f.memory = aws.Int32(memory)
	}
}

// asksRaw calls functions with bytes, all at once.
const asksRaw = greeter + `
import binascii, threading

def ask(tag, arn, payload):
    id = ipc.post_work(arn, binascii.unhexlify(payload), b"")
    result = ipc.get_work_result(arn, id)
    text = result.payload.decode() if result.func_err else binascii.hexlify(result.payload).decode()
    publish("%s got %s|%s" % (tag, result.func_err, text))

def handler(event, context):
    threads = [threading.Thread(target=ask, args=asked) for asked in event]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
`
