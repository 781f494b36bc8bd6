package apikeyrest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyrest"
	"github.com/keyturn/apikey/apikeytest"
)

// Owners manage their keys below /account/, as whoever they are logged in.
func ExampleNew() {
	keys := apikeytest.New(t)
	options := &apikeyrest.Options{
		Owner: func(r *http.Request) (owner, actor string, err error) {
			cookie, err := r.Cookie("session")
			if err != nil || cookie.Value != "b64c" { // stands for the host's own login
				return "", "", errors.New("not logged in")
			}
			return "customer-17", "ada@customer-17.example", nil
		},
		OwnerOptions: func(_ *http.Request, owner string) (*apikey.OwnerOptions, error) {
			return &apikey.OwnerOptions{Scopes: []string{"orders:*"}}, nil // stands for the owner's plan
		},
	}
	api, err := apikeyrest.New(keys.Manager, options)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/account/", http.StripPrefix("/account", api))

	r := httptest.NewRequest("POST", "/account/keys", strings.NewReader(`{"name": "billing", "scopes": ["orders:read"]}`))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Print(w.Code, " ", w.Body)

	r = httptest.NewRequest("POST", "/account/keys", strings.NewReader(`{"name": "billing", "scopes": ["orders:read"]}`))
	r.Header.Set("Content-Type", "application/json")
	r.AddCookie(&http.Cookie{Name: "session", Value: "b64c"})
	w = httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	var issued struct{ Token string }
	if err := json.Unmarshal(w.Body.Bytes(), &issued); err != nil {
		log.Fatal(err)
	}
	key, err := keys.Validate(r.Context(), issued.Token)
	fmt.Println(w.Code, key.Owner, key.Scopes, err)
	// Output:
	// 403 {"type":"about:blank","title":"Forbidden","status":403,"code":"forbidden","detail":"This is not allowed."}
	// 201 customer-17 orders:read <nil>
}
