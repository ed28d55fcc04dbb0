package buckets_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/buckets"
)

func TestBuckets(t *testing.T) {
	t.Parallel()
	t.Run("life", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.bucket(t, here, "b-1")
		refused(t, "create twice", s.CreateBucket(t.Context(), here, "b-1"), fescue.ErrExists)
		s.bucket(t, here, "a.b")
		list, err := s.Buckets(t.Context(), here)
		if err != nil || len(list) != 2 || list[0].Name != "a.b" || !list[1].CreatedAt.Equal(s.clock()) {
			t.Errorf("%+v, %v", list, err)
		}
		s.put(t, here, "b-1", "k", "x")
		refused(t, "delete full", s.DeleteBucket(t.Context(), here, "b-1"), fescue.ErrInUse)
		if err := s.Delete(t.Context(), here, "b-1", "k"); err != nil {
			t.Fatal(err)
		}
		if err := s.DeleteBucket(t.Context(), here, "b-1"); err != nil {
			t.Fatal(err)
		}
		refused(t, "delete twice", s.DeleteBucket(t.Context(), here, "b-1"), buckets.ErrNoBucket)
		_, err = s.read(t, here, "b-1", "k")
		refused(t, "read", err, fescue.ErrNotFound)
		refused(t, "delete object", s.Delete(t.Context(), here, "b-1", "k"), buckets.ErrNoBucket)
		_, err = s.Put(t.Context(), here, "b-1", "k", strings.NewReader(""), buckets.Put{})
		refused(t, "put", err, buckets.ErrNoBucket)
	})
	t.Run("names", func(t *testing.T) {
		t.Parallel()
		for name, good := range map[string]bool{
			"abc": true, "my-bucket.1": true, strings.Repeat("a", 63): true, "1bc": true,
			"": false, "ab": false, "Abc": false, "a_b": false, "-ab": false, "ab-": false, "a..b": false, "192.168.1.1": false,
			strings.Repeat("a", 64): false, "a/b": false, "..": false, "a b": false, "bücket": false, "abc\n": false, "ab\x00": false,
		} {
			if err := buckets.CheckName(name); (err == nil) != good {
				t.Errorf("%q: %v", name, err)
			}
		}
	})
	t.Run("quota", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		for i := range buckets.MaxBuckets {
			s.bucket(t, here, fmt.Sprintf("bucket-%d", i))
		}
		refused(t, "one more", s.CreateBucket(t.Context(), here, "one-more"), fescue.ErrQuota)
		refused(t, "one of them", s.CreateBucket(t.Context(), here, "bucket-7"), fescue.ErrExists)
		s.bucket(t, elsewhere[0], "one-more")
	})
}

// oddKeys mean nothing but themselves.
var oddKeys = []string{
	"a", "a/b", "a//b", "/a", "a/", "//", "/", ".", "..", "../..", "a/../b", "%2F", "%2f", "a b", " ", "a+b", "ключ/温", "a\\b", "C:\\x", "\x01\x7f",
	"a?b", "a#b", "a&b=c", "*", "'\"<>&", strings.Repeat("k", buckets.MaxKey), "\U0010FFFF", "a\nb", "~", ".hidden", "con", "etc/passwd",
}

func TestKeys(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.bucket(t, here, "odd")
	for i, key := range oddKeys {
		s.put(t, here, "odd", key, fmt.Sprint("content ", i))
	}
	for i, key := range oddKeys {
		s.wantContent(t, here, "odd", key, fmt.Sprint("content ", i))
	}
	if n := s.blobs.count(t); n != len(oddKeys) {
		t.Errorf("%d blobs for %d objects", n, len(oddKeys))
	}
	for key, want := range map[string]error{
		"": buckets.ErrKey, "a\x00b": buckets.ErrKey, "\xff": buckets.ErrKey, strings.Repeat("k", buckets.MaxKey+1): buckets.ErrKeyTooLong,
	} {
		_, err := s.Put(t.Context(), here, "odd", key, strings.NewReader(""), buckets.Put{})
		refused(t, fmt.Sprintf("%.10q", key), err, want)
		_, err = s.read(t, here, "odd", key)
		refused(t, fmt.Sprintf("%.10q", key), err, want)
	}
}

func TestPut(t *testing.T) {
	t.Parallel()
	t.Run("what a caller says of the content", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.bucket(t, here, "sums")
		// Published check values of "123456789" and known digests of it.
		for algorithm, value := range map[string]string{
			"CRC32": "y/Q5Jg==", "CRC32C": "4waSgw==", "CRC64NVME": "rosUhgp5mIg=", "SHA1": "98O8HYCOBHMq32eZZczDTKeuNEE=", "SHA256": "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
		} {
			o, err := s.Put(t.Context(), here, "sums", algorithm, strings.NewReader("123456789"), buckets.Put{Checksum: buckets.Checksum{Algorithm: algorithm, Value: value}})
			if err != nil {
				t.Errorf("%s: %v", algorithm, err)
			} else if o.Checksum.Value != value || o.Checksum.Algorithm != algorithm {
				t.Errorf("%s: kept %+v", algorithm, o.Checksum)
			}
			_, err = s.Put(t.Context(), here, "sums", "bad", strings.NewReader("12345678"), buckets.Put{Checksum: buckets.Checksum{Algorithm: algorithm, Value: value}})
			refused(t, algorithm, err, buckets.ErrDigest)
		}
		_, err := s.Put(t.Context(), here, "sums", "bad", strings.NewReader(""), buckets.Put{Checksum: buckets.Checksum{Algorithm: "CRC16"}})
		refused(t, "CRC16", err, buckets.ErrAlgorithm)
		_, err = s.Put(t.Context(), here, "sums", "bad", strings.NewReader("x"), buckets.Put{MD5: make([]byte, 16)})
		refused(t, "MD5", err, buckets.ErrDigest)
		_, err = s.read(t, here, "sums", "bad")
		refused(t, "read", err, buckets.ErrNoKey)
		if o := s.put(t, here, "sums", "none", "123456789"); o.Checksum.Value != "rosUhgp5mIg=" || o.ETag != "25f9e794323b453885f5181f1b624d0b" || o.Size != 9 {
			t.Errorf("%+v", o)
		}
	})
	t.Run("conditions", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.bucket(t, here, "cond")
		put := func(content string, p buckets.Put) error {
			_, err := s.Put(t.Context(), here, "cond", "k", strings.NewReader(content), p)
			return err
		}
		refused(t, "another ETag, nothing there", put("x", buckets.Put{OnlyETag: "abc"}), buckets.ErrNoKey)
		if err := put("1", buckets.Put{OnlyNew: true}); err != nil {
			t.Fatal(err)
		}
		refused(t, "only new", put("2", buckets.Put{OnlyNew: true}), fescue.ErrPrecondition)
		refused(t, "another ETag", put("2", buckets.Put{OnlyETag: "abc"}), fescue.ErrPrecondition)
		s.wantContent(t, here, "cond", "k", "1")
		if err := put("2", buckets.Put{OnlyETag: "c4ca4238a0b923820dcc509a6f75849b"}); err != nil {
			t.Error(err)
		}
		s.wantContent(t, here, "cond", "k", "2")
	})
	t.Run("only one of many is the first", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.bucket(t, here, "race")
		var won sync.Map
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				_, err := s.Put(t.Context(), here, "race", "k", strings.NewReader(fmt.Sprint(i)), buckets.Put{OnlyNew: true})
				if err == nil {
					won.Store(i, true)
				} else if !errors.Is(err, fescue.ErrPrecondition) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		won.Range(func(i, _ any) bool {
			s.wantContent(t, here, "race", "k", fmt.Sprint(i))
			won.Delete(i)
			return false
		})
		won.Range(func(i, _ any) bool { t.Errorf("%v won too", i); return true })
	})
	t.Run("metadata", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.bucket(t, here, "meta")
		settings := buckets.ObjectSettings{ContentType: "text/x", CacheControl: "no-store", Metadata: map[string]string{"a": "b"}}
		if _, err := s.Put(t.Context(), here, "meta", "k", strings.NewReader("x"), buckets.Put{ObjectSettings: settings}); err != nil {
			t.Fatal(err)
		}
		if o, err := s.Object(t.Context(), here, "meta", "k"); err != nil || o.ContentType != "text/x" || o.CacheControl != "no-store" || o.Metadata["a"] != "b" {
			t.Errorf("%+v, %v", o, err)
		}
		settings.Metadata["a"] = strings.Repeat("b", buckets.MaxMetadata)
		_, err := s.Put(t.Context(), here, "meta", "k", strings.NewReader("x"), buckets.Put{ObjectSettings: settings})
		refused(t, "too much", err, buckets.ErrMetadata)
	})
}

func TestRead(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.bucket(t, here, "read")
	s.put(t, here, "read", "k", "0123456789")
	s.put(t, here, "read", "empty", "")
	s.wantContent(t, here, "read", "empty", "")
	for want, r := range map[string]buckets.Range{"": {10, 0}, "0": {0, 1}, "345": {3, 3}, "9": {9, 1}, "0123456789": {0, 10}} {
		_, body, err := s.Read(t.Context(), here, "read", "k", func(buckets.Object) (buckets.Range, error) { return r, nil })
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(body); err != nil || string(got) != want {
			t.Errorf("%+v: %q, %v", r, got, err)
		}
		body.Close()
	}
	for _, r := range []buckets.Range{{-1, 2}, {0, 11}, {10, 1}, {11, 0}, {0, -1}, {1 << 62, 1 << 62}} {
		_, _, err := s.Read(t.Context(), here, "read", "k", func(buckets.Object) (buckets.Range, error) { return r, nil })
		refused(t, fmt.Sprint(r), err, buckets.ErrRange)
	}
	refusal := errors.New("no")
	_, _, err := s.Read(t.Context(), here, "read", "k", func(buckets.Object) (buckets.Range, error) { return buckets.Range{}, refusal })
	refused(t, "choose", err, refusal)
	_, err = s.read(t, here, "read", "other")
	refused(t, "another key", err, buckets.ErrNoKey)

	// A blob that is lost is the server's fault, not a key that is not there.
	o := s.put(t, here, "read", "lost", "lost")
	parts, err := s.store.Buckets().ObjectParts(t.Context(), here, o.ContentID, 0, 10)
	if err != nil || len(parts) != 1 {
		t.Fatal(parts, err)
	}
	if err := s.blobs.Folder.Delete(t.Context(), parts[0].Hash); err != nil {
		t.Fatal(err)
	}
	if _, err = s.read(t, here, "read", "lost"); err == nil || errors.Is(err, fescue.ErrNotFound) {
		t.Errorf("lost: %v", err)
	}
}

func TestCopy(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.bucket(t, here, "from")
	s.bucket(t, here, "into")
	if _, err := s.Put(t.Context(), here, "from", "k", strings.NewReader("x"), buckets.Put{ObjectSettings: buckets.ObjectSettings{ContentType: "a/b"}}); err != nil {
		t.Fatal(err)
	}
	copyOf := func(c buckets.Copy) error {
		c.FromBucket, c.FromKey = "from", "k"
		_, err := s.Copy(t.Context(), here, c)
		return err
	}
	if err := copyOf(buckets.Copy{Bucket: "into", Key: "k2"}); err != nil {
		t.Fatal(err)
	}
	refused(t, "onto itself", copyOf(buckets.Copy{Bucket: "from", Key: "k"}), buckets.ErrSelfCopy)
	if err := copyOf(buckets.Copy{Bucket: "from", Key: "k", Settings: &buckets.ObjectSettings{ContentType: "c/d"}}); err != nil {
		t.Fatal(err)
	}
	refused(t, "into nothing", copyOf(buckets.Copy{Bucket: "nothing", Key: "k"}), buckets.ErrNoBucket)
	refused(t, "over another", copyOf(buckets.Copy{Bucket: "into", Key: "k2", OnlyNew: true}), fescue.ErrPrecondition)
	_, err := s.Copy(t.Context(), here, buckets.Copy{FromBucket: "from", FromKey: "none", Bucket: "into", Key: "k"})
	refused(t, "of nothing", err, buckets.ErrNoKey)
	for bucketKey, contentType := range map[[2]string]string{{"into", "k2"}: "a/b", {"from", "k"}: "c/d"} {
		s.wantContent(t, here, bucketKey[0], bucketKey[1], "x")
		if o, err := s.Object(t.Context(), here, bucketKey[0], bucketKey[1]); err != nil || o.ContentType != contentType {
			t.Errorf("%v: %+v, %v", bucketKey, o, err)
		}
	}
	// The copy lives without its source.
	if err := s.Delete(t.Context(), here, "from", "k"); err != nil {
		t.Fatal(err)
	}
	s.wantContent(t, here, "into", "k2", "x")
}

func TestUploads(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("0123456789abcdef", buckets.MinPart/16)
	begin := func(t *testing.T, s *site, algorithm string, full *bool) buckets.ObjectUpload {
		t.Helper()
		sum, err := buckets.CheckUpload(algorithm, full)
		if err != nil {
			t.Fatal(err)
		}
		u, err := s.CreateUpload(t.Context(), here, "ups", "k", sum, buckets.ObjectSettings{ContentType: "a/b"})
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	part := func(t *testing.T, s *site, u buckets.ObjectUpload, number int, content string) buckets.ChosenPart {
		t.Helper()
		made, err := s.PutPart(t.Context(), here, "ups", "k", u.ID, number, strings.NewReader(content), nil, buckets.Checksum{})
		if err != nil {
			t.Fatal(err)
		}
		return buckets.ChosenPart{Number: number, ETag: made.ETag, Checksum: made.Checksum}
	}
	yes := true
	for _, c := range []struct {
		algorithm string
		full      *bool
		same      bool // as the checksum of the content put at once
	}{{"", nil, true}, {"CRC32", &yes, true}, {"CRC32C", &yes, true}, {"CRC64NVME", nil, true}, {"CRC32", nil, false}, {"SHA256", nil, false}} {
		t.Run(fmt.Sprintf("%s %v", c.algorithm, c.full != nil), func(t *testing.T) {
			t.Parallel()
			s := open(t)
			s.bucket(t, here, "ups")
			u := begin(t, s, c.algorithm, c.full)
			last := part(t, s, u, 9000, "the end")
			part(t, s, u, 5, "never chosen")
			chosen := []buckets.ChosenPart{part(t, s, u, 2, big), part(t, s, u, 7, big+"x"), last}
			o, err := s.Complete(t.Context(), here, "ups", "k", u.ID, chosen, buckets.Put{})
			if err != nil {
				t.Fatal(err)
			}
			s.wantContent(t, here, "ups", "k", big+big+"xthe end")
			whole, err := s.Put(t.Context(), here, "ups", "whole", strings.NewReader(big+big+"xthe end"), buckets.Put{Checksum: buckets.Checksum{Algorithm: c.algorithm}})
			if err != nil {
				t.Fatal(err)
			}
			if same := o.Checksum.Value == whole.Checksum.Value; same != c.same || !strings.HasSuffix(o.ETag, "-3") || o.PartCount != 3 || o.ContentType != "a/b" {
				t.Errorf("%+v, put at once %+v", o, whole)
			}
			_, r, err := s.Read(t.Context(), here, "ups", "k", func(buckets.Object) (buckets.Range, error) {
				return buckets.Range{Offset: buckets.MinPart - 1, Length: buckets.MinPart + 4}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || string(got) != "f"+big+"xth" {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			r.Close()
			again, err := s.Complete(t.Context(), here, "ups", "k", u.ID, chosen, buckets.Put{})
			if err != nil || again.ETag != o.ETag {
				t.Errorf("again: %+v, %v", again, err)
			}
			s.pass(8 * 24 * 3600e9)
			if err := s.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.wantContent(t, here, "ups", "k", big+big+"xthe end")
		})
	}
	t.Run("refusals", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.bucket(t, here, "ups")
		u := begin(t, s, "", nil)
		one, two := part(t, s, u, 1, "small"), part(t, s, u, 2, "last")
		complete := func(put buckets.Put, chosen ...buckets.ChosenPart) error {
			_, err := s.Complete(t.Context(), here, "ups", "k", u.ID, chosen, put)
			return err
		}
		refused(t, "order", complete(buckets.Put{}, two, one), buckets.ErrPartOrder)
		refused(t, "twice", complete(buckets.Put{}, one, one), buckets.ErrPartOrder)
		refused(t, "too small", complete(buckets.Put{}, one, two), buckets.ErrPartTooSmall)
		refused(t, "another ETag", complete(buckets.Put{}, buckets.ChosenPart{Number: 1, ETag: "x"}), buckets.ErrPart)
		refused(t, "no such part", complete(buckets.Put{}, buckets.ChosenPart{Number: 3, ETag: one.ETag}), buckets.ErrPart)
		refused(t, "another checksum", complete(buckets.Put{Checksum: buckets.Checksum{Algorithm: "CRC64NVME", Value: "AAAAAAAAAAA="}}, one), buckets.ErrDigest)
		for _, number := range []int{0, -1, 10_001} {
			_, err := s.PutPart(t.Context(), here, "ups", "k", u.ID, number, strings.NewReader(""), nil, buckets.Checksum{})
			refused(t, fmt.Sprint("part ", number), err, buckets.ErrPartNumber)
		}
		_, err := s.PutPart(t.Context(), here, "ups", "other", u.ID, 1, strings.NewReader(""), nil, buckets.Checksum{})
		refused(t, "another key", err, buckets.ErrNoUpload)
		_, err = s.PutPart(t.Context(), elsewhere[0], "ups", "k", u.ID, 1, strings.NewReader(""), nil, buckets.Checksum{})
		refused(t, "another partition", err, buckets.ErrNoBucket)
		if err := s.Abort(t.Context(), here, "ups", "k", u.ID); err != nil {
			t.Fatal(err)
		}
		refused(t, "aborted", complete(buckets.Put{}, one), buckets.ErrNoUpload)
		refused(t, "abort twice", s.Abort(t.Context(), here, "ups", "k", u.ID), buckets.ErrNoUpload)
		for algorithm, full := range map[string]*bool{"SHA1": &yes, "": &yes, "CRC64NVME": new(bool), "CRC16": nil} {
			if _, err := buckets.CheckUpload(algorithm, full); !errors.Is(err, buckets.ErrAlgorithm) {
				t.Errorf("%s: %v", algorithm, err)
			}
		}
	})
	t.Run("a part of an object", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.bucket(t, here, "ups")
		s.put(t, here, "ups", "source", "0123456789")
		u := begin(t, s, "", nil)
		made, err := s.CopyPart(t.Context(), here, buckets.PartCopy{
			FromBucket: "ups", FromKey: "source", Bucket: "ups", Key: "k", ID: u.ID, Number: 1,
			Choose: func(buckets.Object) (buckets.Range, error) { return buckets.Range{Offset: 2, Length: 3}, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Complete(t.Context(), here, "ups", "k", u.ID, []buckets.ChosenPart{{Number: 1, ETag: made.ETag}}, buckets.Put{}); err != nil {
			t.Fatal(err)
		}
		s.wantContent(t, here, "ups", "k", "234")
	})
}
