package bench

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"time"

	jwtmiddleware "github.com/auth0/go-jwt-middleware/v2"
	"github.com/auth0/go-jwt-middleware/v2/validator"
	"github.com/golang-jwt/jwt/v5"
	"github.com/ory/fosite"
	"github.com/ory/fosite/token/hmac"
	"golang.org/x/crypto/bcrypt"
)

const (
	customer = "customer-17"
	issuer   = "https://issuer.example/"
	audience = "https://api.example/"
)

// golangJWT is a middleware by hand around the parser of golang-jwt. It checks
// what the middleware of auth0 checks: algorithm, signature, issuer, audience,
// expiry. The parser is made once, and the claims are a struct: that is faster
// than jwt.Parse into a map with options on each call.
func golangJWT(context.Context) ([]Contender, error) {
	secret, wrong := random(32), random(32)
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	_, wrongPrivate, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	var contenders []Contender
	for _, algorithm := range []struct {
		method              jwt.SigningMethod
		sign, forge, verify any
	}{
		{jwt.SigningMethodHS256, secret, wrong, secret},
		{jwt.SigningMethodEdDSA, private, wrongPrivate, public},
	} {
		token, err := signed(algorithm.method, algorithm.sign)
		if err != nil {
			return nil, err
		}
		forged, err := signed(algorithm.method, algorithm.forge)
		if err != nil {
			return nil, err
		}
		parser := jwt.NewParser(jwt.WithValidMethods([]string{algorithm.method.Alg()}),
			jwt.WithIssuer(issuer), jwt.WithAudience(audience), jwt.WithExpirationRequired())
		key := func(*jwt.Token) (any, error) { return algorithm.verify, nil }
		contenders = append(contenders, Contender{
			Name: "golang-jwt v5, " + algorithm.method.Alg(),
			Protect: bearer(func(_ context.Context, token string) (any, error) {
				claims := new(jwt.RegisteredClaims)
				_, err := parser.ParseWithClaims(token, claims, key)
				return claims, err
			}),
			Tokens: []string{token}, Status: http.StatusOK, Principals: []string{customer}, Forged: forged,
			Principal: func(ctx context.Context) string {
				if claims, ok := ctx.Value(principalKey{}).(*jwt.RegisteredClaims); ok {
					return claims.Subject
				}
				return ""
			},
		})
	}
	return contenders, nil
}

// auth0 is go-jwt-middleware as its manual sets it up. The error handler is
// the one of the others, because its own answers 400 and 500 too.
func auth0(context.Context) ([]Contender, error) {
	secret := random(32)
	token, err := signed(jwt.SigningMethodHS256, secret)
	if err != nil {
		return nil, err
	}
	forged, err := signed(jwt.SigningMethodHS256, random(32))
	if err != nil {
		return nil, err
	}
	key := func(context.Context) (any, error) { return secret, nil }
	v, err := validator.New(key, validator.HS256, issuer, []string{audience})
	if err != nil {
		return nil, err
	}
	middleware := jwtmiddleware.New(v.ValidateToken, jwtmiddleware.WithErrorHandler(
		func(w http.ResponseWriter, _ *http.Request, _ error) { refuse(w) }))
	return []Contender{{
		Name: "auth0/go-jwt-middleware v2, HS256", Protect: middleware.CheckJWT,
		Tokens: []string{token}, Status: http.StatusOK, Principals: []string{customer}, Forged: forged,
		Principal: func(ctx context.Context) string {
			if claims, ok := ctx.Value(jwtmiddleware.ContextKey{}).(*validator.ValidatedClaims); ok {
				return claims.RegisteredClaims.Subject
			}
			return ""
		},
	}}, nil
}

// fositeHMAC is the HMAC strategy of ory/fosite, which tells whether a token
// was made here, and no more: whose it is, and whether it is still good, takes
// a look-up of its signature in a store, which is not done here. So the
// principal is the signature.
func fositeHMAC(ctx context.Context) ([]Contender, error) {
	strategy := &hmac.HMACStrategy{Config: &fosite.Config{GlobalSecret: random(32)}}
	token, signature, err := strategy.Generate(ctx)
	if err != nil {
		return nil, err
	}
	other := &hmac.HMACStrategy{Config: &fosite.Config{GlobalSecret: random(32)}}
	forged, _, err := other.Generate(ctx)
	if err != nil {
		return nil, err
	}
	return []Contender{{
		Name: "ory/fosite HMAC, no look-up",
		Protect: bearer(func(ctx context.Context, token string) (any, error) {
			err := strategy.Validate(ctx, token)
			return strategy.Signature(token), err
		}),
		Tokens: []string{token}, Status: http.StatusOK, Principals: []string{signature}, Forged: forged,
		Principal: func(ctx context.Context) string {
			signature, _ := ctx.Value(principalKey{}).(string)
			return signature
		},
	}}, nil
}

// bcryptHash is the key table that many write by hand: a public part to find
// the row by, and a password hash of the secret in it.
func bcryptHash(context.Context) ([]Contender, error) {
	type account struct {
		owner string
		hash  []byte
	}
	public, secret := rand.Text(), rand.Text()
	hash, err := bcrypt.GenerateFromPassword([]byte(secret), bcrypt.DefaultCost)
	if err != nil {
		return nil, err
	}
	accounts := map[string]*account{public: {customer, hash}}
	return []Contender{{
		Name: "bcrypt, cost 10",
		Protect: bearer(func(_ context.Context, token string) (any, error) {
			public, secret, _ := strings.Cut(token, ".")
			a := accounts[public]
			if a == nil {
				return nil, errors.New("unknown key")
			}
			return a, bcrypt.CompareHashAndPassword(a.hash, []byte(secret))
		}),
		Tokens: []string{public + "." + secret}, Status: http.StatusOK, Principals: []string{customer},
		Forged: public + "." + rand.Text(),
		Principal: func(ctx context.Context) string {
			if a, ok := ctx.Value(principalKey{}).(*account); ok {
				return a.owner
			}
			return ""
		},
	}}, nil
}

// bearer is the middleware by hand of those that bring none.
func bearer(check func(ctx context.Context, token string) (principal any, err error)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
			if !ok || !strings.EqualFold(scheme, "Bearer") {
				refuse(w)
				return
			}
			principal, err := check(r.Context(), token)
			if err != nil {
				refuse(w)
				return
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), principalKey{}, principal)))
		})
	}
}

type principalKey struct{}

func refuse(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", "Bearer")
	http.Error(w, "unauthorized", http.StatusUnauthorized)
}

func signed(method jwt.SigningMethod, key any) (string, error) {
	now := time.Now()
	return jwt.NewWithClaims(method, jwt.RegisteredClaims{
		Issuer: issuer, Subject: customer, Audience: jwt.ClaimStrings{audience}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(24 * time.Hour)),
	}).SignedString(key)
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: it ends the program instead
	return b
}
