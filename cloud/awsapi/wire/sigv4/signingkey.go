package sigv4

import (
	"container/list"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"hash"
	"sync"
)

// maxSigningKeys bounds the cache, about a kilobyte an entry. A client needs one
// for each service and day.
const maxSigningKeys = 1024

// scopedKey names a derived key.
type scopedKey struct{ keyID, date, region, service string }

// signingKey signs in one scope.
type signingKey struct {
	// macs are those that nobody uses: to make one takes longer than to sign.
	macs sync.Pool
}

// mac is an HMAC of a key, with memory for what it makes.
type mac struct {
	hash.Hash
	sum [sha256.Size]byte
}

func newSigningKey(key [sha256.Size]byte) *signingKey {
	return &signingKey{macs: sync.Pool{New: func() any { return &mac{Hash: hmac.New(sha256.New, key[:])} }}}
}

// sign is the signature of a text.
func (k *signingKey) sign(text []byte) (signature [sha256.Size]byte) {
	m := k.macs.Get().(*mac)
	m.Reset()
	m.Write(text)
	m.Sum(m.sum[:0])
	signature = m.sum
	k.macs.Put(m)
	return signature
}

// deriveKey makes the key that signs in one scope (IAM user guide, "Create a
// signed AWS API request", step "Calculate the signature").
func deriveKey(secret, date, region, service string) [sha256.Size]byte {
	key := []byte("AWS4" + secret)
	for _, part := range []string{date, region, service, terminator} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	return [sha256.Size]byte(key)
}

// keyCache keeps derived keys, the least recently used going first. It answers
// only for the secret that a key was derived from, so a changed secret does not
// live on in it. The zero value is ready.
type keyCache struct {
	mu      sync.Mutex
	entries map[scopedKey]*list.Element // of *cachedKey
	recent  list.List                   // most recent first
}

type cachedKey struct {
	id      scopedKey
	secret  string
	signing *signingKey
}

// get is the key of a scope, nil for none.
func (c *keyCache) get(id scopedKey, secret string) *signingKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[id]
	if !ok {
		return nil
	}
	k := e.Value.(*cachedKey)
	if subtle.ConstantTimeCompare([]byte(k.secret), []byte(secret)) != 1 {
		return nil
	}
	c.recent.MoveToFront(e)
	return k.signing
}

func (c *keyCache) put(id scopedKey, secret string, signing *signingKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = make(map[scopedKey]*list.Element)
	}
	k := &cachedKey{id: id, secret: secret, signing: signing}
	if e, ok := c.entries[id]; ok {
		e.Value = k
		c.recent.MoveToFront(e)
		return
	}
	c.entries[id] = c.recent.PushFront(k)
	if c.recent.Len() > maxSigningKeys {
		oldest := c.recent.Back()
		c.recent.Remove(oldest)
		delete(c.entries, oldest.Value.(*cachedKey).id)
	}
}
