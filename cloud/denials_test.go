package cloud_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
)

// A key that asks again and again for what it may not do fills no disk, and what it
// may do goes on.
func TestDenialsAgainAndAgain(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.Refusals = 1
	s := start(t, o)
	reader := s.keyWith(identity.Grant{Access: "reader"})
	group := "/greengrass/groups/" + fescue.NewID()
	told := make(map[int]int)
	for range 200 {
		status, text, _ := s.sendAs("us-east-1", reader, "DELETE", group)
		if told[status]++; status != 403 && !(status == 429 && strings.Contains(text, "Rate exceeded")) {
			t.Fatalf("%d %s", status, text)
		}
	}
	if told[403] < 10 || told[429] == 0 {
		t.Errorf("answers by status %v", told)
	}
	if status, text, _ := s.sendAs("us-east-1", reader, "GET", "/greengrass/groups"); status != 200 {
		t.Errorf("what the key may do: %d %s", status, text)
	}
	if status, text, _ := s.sendAs("us-east-1", s.keyWith(identity.Grant{Access: "reader"}), "DELETE", group); status != 403 {
		t.Errorf("another key: %d %s", status, text)
	}
	s.stop()

	s = start(t, o)
	_, text, _ := s.sendAs("us-east-1", s.key, "GET", "/fescue/v1/audit?MaxResults=1000&Operation=DeleteGroup&AccessKeyId="+reader.ID)
	var page ownapi.AuditRecords
	if err := json.Unmarshal([]byte(text), &page); err != nil {
		t.Fatal(err)
	}
	calls := 0
	for _, r := range page.Records {
		calls += max(r.Repeats, 1)
	}
	if len(page.Records) < 2 || len(page.Records) > 10 || calls != told[403] { // by how many minutes it took
		t.Errorf("%d records of %d calls: %s", len(page.Records), told[403], text)
	}
}
