package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	"hash/crc32"
	"net/http"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/memstore"
)

const (
	wrongSecret   = "apikey, refused: wrong secret"
	mistypedToken = "apikey, refused: mistyped token"
)

// ours are the contenders of this library, with the options that a host gets
// if it sets none but a pepper: all three carriers are looked for.
func ours(ctx context.Context) ([]Contender, error) {
	one, oneKey, err := issue(ctx, 1)
	if err != nil {
		return nil, err
	}
	many, manyKeys, err := issue(ctx, 1000)
	if err != nil {
		return nil, err
	}
	guard, err := apikeyhttp.New(one, nil)
	if err != nil {
		return nil, err
	}
	guardMany, err := apikeyhttp.New(many, nil)
	if err != nil {
		return nil, err
	}
	token := oneKey.tokens[0]
	forged := forge(token, manyKeys.tokens[0])
	mistyped := []byte(token)
	mistyped[len(mistyped)-40] ^= 1 // a digit of the secret, so that the checksum fails

	single := Contender{
		Name: OneKey, Protect: guard.Authenticate, Principal: owner,
		Tokens: oneKey.tokens, Status: http.StatusOK, Principals: oneKey.owners, Forged: forged,
	}
	required := single
	required.Name = Required
	required.Protect = guard.Require("orders:read")
	several := Contender{
		Name: ManyKeys, Protect: guardMany.Authenticate, Principal: owner,
		Tokens: manyKeys.tokens, Status: http.StatusOK, Principals: manyKeys.owners,
		Forged: forge(manyKeys.tokens[0], manyKeys.tokens[1]),
	}
	wrong := single
	wrong.Name, wrong.Tokens, wrong.Principals = wrongSecret, []string{forged}, nil
	wrong.Status = http.StatusUnauthorized
	typo := wrong
	typo.Name, typo.Tokens = mistypedToken, []string{string(mistyped)}

	return []Contender{
		single, several, required, wrong, typo,
		alone(ValidateOneKey, one, single), alone(ValidateManyKeys, many, several),
	}, nil
}

// alone is like the contender, with no middleware: a handler that knows the
// token of each request beforehand and calls Validate.
func alone(name string, m *apikey.Manager, like Contender) Contender {
	like.Name = name
	tokens := like.Tokens
	like.Protect = func(next http.Handler) http.Handler {
		at := 0
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := m.Validate(r.Context(), tokens[at])
			if err != nil {
				refuse(w)
				return
			}
			if at++; at == len(tokens) {
				at = 0
			}
			next.ServeHTTP(w, r)
		})
	}
	like.Principal, like.Principals = nil, nil // nothing is put in the context
	like.Forged = ""                           // nothing is read from the request
	return like
}

type issued struct{ tokens, owners []string }

// issue returns a Manager on a memstore that holds n keys of as many owners.
func issue(ctx context.Context, n int) (*apikey.Manager, issued, error) {
	var keys issued
	m, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.NewSecret(rand.Text() + rand.Text())}})
	if err != nil {
		return nil, keys, err
	}
	for i := range n {
		owner := fmt.Sprintf("customer-%d", i)
		key, err := m.Issue(ctx, apikey.IssueParams{Owner: owner, Name: "billing", Scopes: []string{"orders:read"}})
		if err != nil {
			return nil, keys, err
		}
		keys.tokens = append(keys.tokens, key.Token.Reveal())
		keys.owners = append(keys.owners, owner)
	}
	return m, keys, nil
}

func owner(ctx context.Context) string {
	key, _ := apikey.FromContext(ctx)
	return key.Owner
}

// forge returns a token with the access key of one token, the secret of
// another and the checksum that fits: all of it has to be checked before it
// can be refused.
func forge(token, other string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	const secret, checksum = 32, 6
	public := len(token) - secret - checksum
	text := []byte(token[:public] + other[len(other)-secret-checksum:])
	sum := crc32.ChecksumIEEE(text[:public+secret])
	for i := range checksum {
		text[len(text)-1-i] = digits[sum%62]
		sum /= 62
	}
	return string(text)
}
