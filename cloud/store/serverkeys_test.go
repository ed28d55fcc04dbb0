package store_test

import (
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/cloud/signing"
)

func testServerKeys(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	make := func(id, purpose string, number int, sealed string, after time.Duration) signing.ServerKey {
		return signing.ServerKey{ID: id, Purpose: purpose, Number: number, PublicPEM: "pem\n", Sealed: []byte(sealed), CreatedAt: madeAt.Add(after)}
	}
	first, second, tenth := make("signing/1", "signing", 1, "one", 0), make("signing/2", "signing", 2, "two", time.Second), make("signing/10", "signing", 10, "ten", -time.Second)
	second.Statement = []byte("one says two")
	for _, tc := range []struct {
		key   signing.ServerKey
		added bool
	}{
		{first, true},
		{make("signing/1", "signing", 1, "another server's", -time.Second), false},
		{make("another", "signing", 1, "another server's", -time.Second), false},
		{tenth, true}, // the number counts, not the time
		{second, true},
		{make("device/1", "device-authority", 1, "d", 0), true},
	} {
		if added := must(s.ServerKeys().AddServerKey(ctx, tc.key))(t); added != tc.added {
			t.Errorf("%+v: added %t", tc.key, added)
		}
	}
	if list := must(s.ServerKeys().ServerKeys(ctx, "signing"))(t); !gocmp.Equal(list, []signing.ServerKey{tenth, second, first}) {
		t.Errorf("%+v", list)
	}
	if list := must(s.ServerKeys().ServerKeys(ctx, "none"))(t); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}
