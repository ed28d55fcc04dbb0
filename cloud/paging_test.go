package cloud_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	model "github.com/fescue-edge/fescue/cloud/awsapi/greengrass"
	"github.com/fescue-edge/fescue/testkit"
)

// listing is one of the lists that page, in one partition.
type listing struct {
	*site
	operation string
	// values are those of the labels, and of what add names.
	values map[string]string
	// member holds the list, and id an entry's id.
	member, id string
	// newest: the newest comes first; else the ids ascend.
	newest bool
	// anywhere: any key that looks like one of the list's is a place in it.
	anywhere bool
	// add makes an entry and returns its id. It is nil if the list is full from the
	// beginning.
	add func() string
	// remove removes an entry; nil if no call removes one.
	remove func(id string)
}

// listings are the 19 lists that page, with their own group, definitions and bulk
// deployment.
func listings(s *site) (all []listing) {
	for _, k := range kinds {
		parent := s.make("Create"+k.noun, nil)
		v := map[string]string{k.label(): parent["Id"].(string)}
		for name, value := range s.shared {
			v[name] = value
		}
		member := "Definitions"
		if k.noun == "Group" {
			member = "Groups"
		}
		all = append(all, listing{
			site: s, operation: "List" + k.noun + "s", member: member, id: "Id", anywhere: true,
			add: func() string { return s.make("Create"+k.noun, nil)["Id"].(string) },
			remove: func(id string) {
				s.make("Delete"+k.noun, map[string]string{k.label(): id})
			},
		}, listing{
			site: s, operation: "List" + k.noun + "Versions", values: v, member: "Versions", id: "Version", newest: true,
			add: func() string { return s.make("Create"+k.noun+"Version", v)["Version"].(string) },
		})
		if k.noun == "Group" {
			v["GroupVersionId"] = parent["LatestVersion"].(string)
			all = append(all, listing{
				site: s, operation: "ListDeployments", values: v, member: "Deployments", id: "DeploymentId", newest: true,
				add: func() (id string) {
					op := s.operation("CreateDeployment")
					testkit.Until(s.t, "a deployment that may be made", func() bool { // while one is being built none is
						got := s.call(op, v, fill(op.body, v), nil)
						var made struct{ DeploymentId string }
						json.Unmarshal([]byte(got.body), &made)
						id = made.DeploymentId
						return got.status == http.StatusOK
					})
					return id
				},
			})
		}
	}
	var lines strings.Builder
	for range 7 {
		group := s.make("CreateGroup", nil)
		fmt.Fprintf(&lines, "{\"GroupId\":%q,\"GroupVersionId\":%q,\"DeploymentType\":\"NewDeployment\"}\n", group["Id"], group["LatestVersion"])
	}
	if got := s.send("s3", "PUT", "/fleet/records", nil, lines.String()); got.status != http.StatusOK {
		s.t.Fatalf("%+v", got)
	}
	run := func() string {
		id := s.make("StartBulkDeployment", nil)["BulkDeploymentId"].(string)
		testkit.Until(s.t, "the end of the bulk deployment", func() bool {
			status := s.make("GetBulkDeploymentStatus", map[string]string{"BulkDeploymentId": id})
			if status["BulkDeploymentStatus"] == "Failed" {
				s.t.Fatalf("%v", status)
			}
			return status["BulkDeploymentStatus"] == "Completed"
		})
		return id
	}
	reported := run()
	return append(all, listing{
		site: s, operation: "ListBulkDeploymentDetailedReports", values: map[string]string{"BulkDeploymentId": reported},
		member: "Deployments", id: "DeploymentId", newest: true, anywhere: true,
	}, listing{
		site: s, operation: "ListBulkDeployments", member: "BulkDeployments", id: "BulkDeploymentId", newest: true, add: run,
	})
}

// page is the answer to the listing with a query.
func (l listing) page(query url.Values) (got answer, ids []string, next string) {
	l.t.Helper()
	op := l.site.operation(l.operation)
	op.query = query.Encode()
	got = l.call(op, l.values, "", nil)
	if got.status != http.StatusOK {
		return got, nil, ""
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(got.body), &v); err != nil {
		l.t.Fatal(err)
	}
	for _, entry := range v[l.member].([]any) {
		ids = append(ids, entry.(map[string]any)[l.id].(string))
	}
	if token, there := v["NextToken"]; there {
		if next = token.(string); next == "" {
			l.t.Errorf("an empty NextToken: %s", got.body)
		}
	}
	return got, ids, next
}

func query(size int, token string) url.Values {
	q := url.Values{"MaxResults": {fmt.Sprint(size)}}
	if token != "" {
		q.Set("NextToken", token)
	}
	return q
}

// walk reads the list in pages of a size and calls between after each.
func (l listing) walk(size int, between func(page []string)) (ids []string) {
	l.t.Helper()
	for token := ""; ; {
		got, page, next := l.page(query(size, token))
		if got.status != http.StatusOK || len(page) > size || (next != "" && len(page) < size) {
			l.t.Fatalf("a page of %d: %+v", size, got)
		}
		ids = append(ids, page...)
		if token = next; token == "" {
			return ids
		}
		if between != nil {
			between(page)
		}
	}
}

// TestPaging: each list that pages is whole and in its order, whatever the size
// of the pages and whatever is made and deleted meanwhile.
func TestPaging(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, database string) {
		o := options(t.TempDir())
		o.Database = database
		server := start(t, o)
		here, there := listings(newSite(t, server, "us-east-1", server.key)), listings(newSite(t, server, "eu-west-1", server.key))
		paged := 0
		for _, op := range model.Model {
			if strings.HasPrefix(op.Name, "List") && strings.Contains(rows()[op.Name].answer, "NextToken") {
				paged++
			}
		}
		if paged != 19 || len(here) != paged {
			t.Fatalf("%d of %d operations are tested", len(here), paged)
		}
		for i, l := range here {
			t.Run(l.operation, func(t *testing.T) {
				l.t, there[i].t = t, t
				l.pages(t)
				l.refuses(t, there[i])
			})
		}
	})
}

// pages checks order and wholeness.
func (l listing) pages(t *testing.T) {
	var made []string
	if l.add != nil {
		for range 6 {
			made = append(made, l.add())
		}
	}
	_, all, next := l.page(nil)
	if next != "" || len(all) < 6 {
		t.Fatalf("%v, %q", all, next)
	}
	if l.newest {
		slices.Reverse(made)
		if !slices.Equal(all[:len(made)], made) {
			t.Errorf("%v\nmade, newest first: %v", all, made)
		}
	} else if !slices.IsSorted(all) {
		t.Errorf("%v do not ascend", all)
	}
	for _, id := range made {
		if !slices.Contains(all, id) {
			t.Errorf("%s is missing", id)
		}
	}
	for _, size := range []int{1, 2, len(all) - 1, len(all), len(all) + 1, 1000000} {
		if ids := l.walk(size, nil); !slices.Equal(ids, all) {
			t.Errorf("in pages of %d: %v\nwhole: %v", size, ids, all)
		}
	}

	if l.add == nil {
		return
	}
	var added, gone []string
	ids := l.walk(2, func(page []string) {
		if len(added) > 2 {
			return
		}
		added = append(added, l.add())
		if l.remove == nil {
			return
		}
		// The one that the token names, and one that is still to come.
		last := page[len(page)-1]
		if slices.Contains(made, last) {
			l.remove(last)
		}
		for _, id := range all {
			if id > last && slices.Contains(made, id) && !slices.Contains(gone, id) {
				l.remove(id)
				gone = append(gone, id)
				break
			}
		}
	})
	if l.remove != nil && len(gone) == 0 {
		t.Error("nothing was deleted")
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return !l.newest && slices.Contains(added, id) })
	want := slices.DeleteFunc(slices.Clone(all), func(id string) bool { return slices.Contains(gone, id) })
	if !slices.Equal(ids, want) {
		t.Errorf("while entries came and went: %v\nwant %v", ids, want)
	}
}

// refuses checks what is no page, and the tokens of the same list elsewhere.
func (l listing) refuses(t *testing.T, other listing) {
	refused := func(what string, query url.Values, mention string) {
		t.Helper()
		if got, _, _ := l.page(query); got.status != http.StatusBadRequest || got.exception != "BadRequestException" || !strings.Contains(got.body, mention) {
			t.Errorf("%s: %+v", what, got)
		}
	}
	for _, size := range []string{"0", "-1", "x", "1.5", " 1", "1e3", "0x10", "99999999999999999999"} {
		refused("MaxResults "+size, url.Values{"MaxResults": {size}}, "MaxResults")
	}
	encoded := func(key string) string { return base64.RawURLEncoding.EncodeToString([]byte(key)) }
	for _, token := range []string{"!", "x", encoded("x"), encoded("../.."), encoded("-1"), encoded(strings.Repeat("0", 37))} {
		refused("NextToken "+token, url.Values{"NextToken": {token}}, "NextToken")
	}
	_, _, foreign := other.page(query(1, ""))
	for foreign == "" { // of one entry there is no second page
		other.add()
		_, _, foreign = other.page(query(1, ""))
	}
	_, foreigners, _ := other.page(nil)
	if l.anywhere {
		got, ids, _ := l.page(query(1000, foreign))
		if got.status != http.StatusOK || slices.ContainsFunc(ids, func(id string) bool { return slices.Contains(foreigners, id) }) {
			t.Errorf("with another partition's token: %+v", got)
		}
		return
	}
	refused("another partition's token", query(1, foreign), "List again")
	got, _, _ := l.page(query(1, foreign))
	if random, _, _ := l.page(query(1, encoded(fescue.NewID()))); random != got {
		t.Errorf("another partition's token %+v, and one of nothing %+v", got, random)
	}
}
