package embedded

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// cloudKeys are the signing keys of a cloud: one that signs, and what it
// published.
type cloudKeys struct {
	name string
	seed int64

	mu     sync.Mutex
	number int // of the key that signs
}

func newCloudKeys(name string, seed int64) *cloudKeys {
	return &cloudKeys{name: name, seed: seed, number: 1}
}

func (k *cloudKeys) rotate() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.number++
}

func (k *cloudKeys) current() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.number
}

func (k *cloudKeys) id(number int) string { return fmt.Sprintf("%s-%d", k.name, number) }

func (k *cloudKeys) key(number int) ed25519.PrivateKey {
	seed := sha256.Sum256(fmt.Appendf(nil, "%s/%d/%d", k.name, k.seed, number))
	return ed25519.NewKeyFromSeed(seed[:])
}

// sign makes the value of X-CXone-Signature: `t=<unix seconds>,kid=<id>,v1a=<base64>`
// over `t.body`.
func (k *cloudKeys) sign(number int, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	signature := ed25519.Sign(k.key(number), append([]byte(t+"."), body...))
	return "t=" + t + ",kid=" + k.id(number) + ",v1a=" + base64.StdEncoding.EncodeToString(signature)
}

// publishKeys answers a JWK Set: the key that signs, and the one before it, by
// which deliveries are still on their way.
func (c *Cloud) publishKeys(w http.ResponseWriter, r *http.Request) {
	current := c.keys.current()
	tag := fmt.Sprintf(`"%d"`, current)
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	var set []map[string]string
	for n := current; n > max(0, current-2); n-- {
		public, _ := c.keys.key(n).Public().(ed25519.PublicKey)
		set = append(set, map[string]string{
			"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": c.keys.id(n), "x": base64.RawURLEncoding.EncodeToString(public),
		})
	}
	answerJSON(w, http.StatusOK, map[string]any{"keys": set})
}
