package deploy_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/cloud/deploy"
)

func TestQuotaValues(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		quotas deploy.Quotas
		says   string
	}{
		{nil, ""},
		{deploy.Quotas{deploy.QuotaDevices: 0, deploy.QuotaFunctions: 1 << 30}, ""},
		{deploy.Quotas{"gadgets": 1}, `"gadgets"; there are devices, functions, `},
		{deploy.Quotas{deploy.QuotaDevices: -1}, "devices: -1 is negative"},
	} {
		err := tc.quotas.Validate(deploy.QuotaFacts)
		if (tc.says == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%v: %v", tc.quotas, err)
		}
	}
	// The document has a row for each.
	doc, err := os.ReadFile("../../docs/server.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range deploy.QuotaFacts {
		if row := fmt.Sprintf("| %s | %d | %s |\n", f.Quota, f.Default, f.Counts); !strings.Contains(string(doc), row) {
			t.Errorf("docs/server.md lacks %s", row)
		}
	}
}
