package sigv4

import (
	"container/list"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"sync"
)

// maxSigningKeys bounds the cache, about 300 bytes an entry. A client needs one
// for each service and day.
const maxSigningKeys = 1024

// scopedKey names a derived key.
type scopedKey struct{ keyID, date, region, service string }

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
	signing [sha256.Size]byte
}

func (c *keyCache) get(id scopedKey, secret string) (signing [sha256.Size]byte, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[id]
	if !ok {
		return signing, false
	}
	k := e.Value.(*cachedKey)
	if subtle.ConstantTimeCompare([]byte(k.secret), []byte(secret)) != 1 {
		return signing, false
	}
	c.recent.MoveToFront(e)
	return k.signing, true
}

func (c *keyCache) put(id scopedKey, secret string, signing [sha256.Size]byte) {
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
