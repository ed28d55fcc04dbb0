//go:build linux

package test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
)

// TestConsoleFleet: pages hold a large fleet and a large group, on a screen and on a phone.
func TestConsoleFleet(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := s.open(t)
	h := s.site(region)
	l := h.serveDevices(t, "Line_Core")
	l.run(t)
	lamp, button := h.provision(t, "Lamp"), h.provision(t, "Button_with_a_long_name_that_says_where_it_is")
	arn, counter := h.echo(t, "Echo"), h.echo(t, "Counter_of_what_comes_from_all_the_lines")
	functions := []function{
		{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: map[string]string{"OUT": "out", "TAG": "x"}},
		{arn: counter, encoding: types.EncodingTypeBinary},
	}
	routes := []route{
		{button.thingARN, "line/+/button", lamp.thingARN}, {button.thingARN, "line/+/button", arn}, {button.thingARN, "up/#", "cloud"},
		{lamp.thingARN, "line/+/lamp/state", arn}, {lamp.thingARN, "$aws/things/Lamp/shadow/update", "GGShadowService"},
		{"GGShadowService", "$aws/things/Lamp/shadow/update/accepted", lamp.thingARN}, {"GGShadowService", "$aws/things/Lamp/shadow/update/delta", lamp.thingARN},
		{"cloud", "down/#", lamp.thingARN}, {"cloud", "in/#", arn}, {arn, "out", lamp.thingARN}, {arn, "count/of/a/line/whose/topic/goes/" + strings.Repeat("on", 20), counter}, {counter, "counted", "cloud"},
	}
	group, deployed := l.groupWith(t, functions, routes, lamp, button)
	l.await(t, group, l.deploy(t, group, deployed), fescue.Success)
	_, version := l.groupWith(t, []function{functions[0], {arn: counter, pinned: true, timeout: 9}}, routes[:len(routes)-2], lamp)
	s.Kill()
	storeFleet(t, "sqlite", filepath.Join(s.data, "fescue.db"), version, 2000)
	running := s.downloads(t)
	s.run(t)
	l.join(t, lamp)

	b.signsIn(t, keyID, secret)
	for _, page := range []struct{ name, path, selector, says string }{
		{"fleet-overview", "/", "#figures", "2,001"},
		{"fleet-cores", "/cores", "#cores", "mill-000001"},
		{"fleet-wrong", "/cores?state=wrong", "#cores", "FUNCTION_DIED"},
		{"fleet-group", "/groups/" + group, "main", "Counter_of_what_comes"},
		{"fleet-compare", "/groups/" + group + "/compare?from=" + deployed + "&to=" + version, ".diff", "changed"},
		{"fleet-deploy", "/groups/" + group + "/deploy?version=" + version, "main", "What was checked"},
		{"fleet-activity", "/groups/" + group + "/activity", "#activity", "Lamp"},
		{"fleet-running", running, "#state", "21.5 MB of 48 MB"},
		{"fleet-certificates", "/certificates?days=365", "main", "in "},
		{"fleet-audit", "/audit", "#audit", "Next page"},
	} {
		b.visit(t, page.path)
		b.sees(t, page.selector, page.says)
		b.fits(t, page.name)
	}
}

// downloads has a deployment of storeFleet's download something, and is its page's path.
func (s *server) downloads(t *testing.T) string {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(s.data, "fescue.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var group, id string
	if err := db.QueryRow(`SELECT group_id, id FROM deployment WHERE status = $1 ORDER BY id LIMIT 1`, fescue.InProgress).Scan(&group, &id); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`UPDATE deployment SET updated_at = $1, progress_json = '{"Activity":"downloads the code of Echo:1","Fetched":21500000,"ToFetch":48000000}' WHERE id = $2`, time.Now().UnixMilli(), id); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("/groups/%s/deployments/%s", group, id)
}
