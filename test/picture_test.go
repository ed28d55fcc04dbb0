//go:build linux

package test

import (
	"bytes"
	"image/png"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/fescue-edge/fescue"
)

// TestPicture makes the README's picture of the console: a group that runs on a core. It
// is written where FESCUE_TEST_PICTURE says:
//
//	FESCUE_TEST_PICTURE=$PWD/docs/console.png go test -run TestPicture ./test
func TestPicture(t *testing.T) {
	t.Parallel()
	const width, height, most = 1100, 830, 100 << 10 // pixels, bytes
	s := startServer(t)
	b := s.open(t)
	h := s.site(region)
	g := h.provision(t, "Mill_Core")
	g.run(t)
	var functions []function
	var routes []route
	for _, f := range []struct{ name, reads, says string }{
		{"Vibration_Monitor", "mill/+/vibration", "mill/alarms"},
		{"Saw_Control", "mill/saw/orders", "mill/saw/state"},
		{"Kiln_Control", "mill/kiln/setpoint", "mill/kiln/temperature"},
	} {
		arn := h.echo(t, f.name)
		functions = append(functions, function{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: map[string]string{"OUT": f.says, "TAG": f.name}})
		routes = append(routes, route{"cloud", f.reads, arn}, route{arn, f.says, "cloud"})
	}
	routes = append(routes, route{functions[0].arn, "mill/alarms", functions[1].arn})
	group, version := g.groupVersion(t, "", functions, routes)
	h.await(t, group, h.deploy(t, group, version), fescue.Success)

	b.signsIn(t, keyID, secret)
	b.run(t, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "light"}, {Name: "prefers-reduced-motion", Value: "reduce"}}),
		chromedp.EmulateViewport(width, height))
	b.visit(t, "/groups/"+group)
	b.sees(t, ".graph", "Vibration_Monitor:1", "mill/kiln/temperature")
	var picture []byte
	b.run(t, chromedp.CaptureScreenshot(&picture))
	if shown, err := png.DecodeConfig(bytes.NewReader(picture)); err != nil || shown.Width != width || shown.Height != height || len(picture) > most {
		t.Errorf("%d bytes, %+v, %v: want %d×%d in at most %d", len(picture), shown, err, width, height, most)
	}
	if path := os.Getenv("FESCUE_TEST_PICTURE"); path != "" {
		if err := os.WriteFile(path, picture, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
