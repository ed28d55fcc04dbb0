package console

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
)

func subscriptions(list ...fescue.Subscription) content {
	return content{Subscriptions: fescue.SubscriptionDefinitionVersion{Subscriptions: list}}
}

func row(id, subject string) fescue.Subscription {
	return fescue.Subscription{Id: id, Source: "cloud", Subject: subject, Target: "GGShadowService"}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	var many, others []fescue.Subscription // as many as a group may have
	for i := range 10_000 {
		many = append(many, row(fmt.Sprint(i), fmt.Sprint("a/", i)))
		others = append(others, row(fmt.Sprint("other ", i), fmt.Sprint("a/", i)))
	}
	for name, tc := range map[string]struct {
		before, after content
		want          []string
	}{
		"nothing":                   {subscriptions(row("1", "a")), subscriptions(row("1", "a")), nil},
		"another id":                {subscriptions(row("1", "a")), subscriptions(row("2", "a")), nil},
		"ten thousand of other ids": {subscriptions(many...), subscriptions(others...), nil},
		"the first": {content{}, subscriptions(row("1", "a")), []string{
			`added cloud → GGShadowService: a [Source: none → "cloud" Subject: none → "a" Target: none → "GGShadowService"]`}},
		"the last": {subscriptions(row("1", "a")), content{}, []string{
			`removed cloud → GGShadowService: a [Source: "cloud" → none Subject: "a" → none Target: "GGShadowService" → none]`}},
		"a member": {subscriptions(row("1", "a")), subscriptions(row("1", "b")), []string{`changed cloud → GGShadowService: b [Subject: "a" → "b"]`}},
		"an id that another one got": {subscriptions(row("1", "a")), subscriptions(row("2", "a"), row("1", "c")), []string{
			`added cloud → GGShadowService: c [Source: none → "cloud" Subject: none → "c" Target: none → "GGShadowService"]`}},
		"each in its way": {subscriptions(row("1", "a"), row("2", "b"), row("3", "c")), subscriptions(row("3", "d"), row("9", "b"), row("4", "e")), []string{
			`changed cloud → GGShadowService: d [Subject: "c" → "d"]`, `added cloud → GGShadowService: e [Source: none → "cloud" Subject: none → "e" Target: none → "GGShadowService"]`,
			`removed cloud → GGShadowService: a [Source: "cloud" → none Subject: "a" → none Target: "GGShadowService" → none]`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, c := range changes(tc.before, tc.after) {
				got = append(got, fmt.Sprint(c.How, " ", c.Name, " ", c.Members))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
