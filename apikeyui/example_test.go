package apikeyui_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyui"
	"github.com/keyturn/apikey/memstore"
)

// The page behind a login of the host's own.
func ExampleHandler() {
	manager, err := apikey.New(memstore.New(), nil)
	if err != nil {
		log.Fatal(err)
	}
	type session struct{ customer, user string }
	sessions := map[string]session{"4f1c": {"customer-17", "ada@example.com"}}

	options := &apikeyui.Options{
		Owner: func(r *http.Request) (owner, actor string, err error) {
			cookie, err := r.Cookie("session")
			if err != nil {
				return "", "", err
			}
			s, ok := sessions[cookie.Value]
			if !ok {
				return "", "", errors.New("no such session")
			}
			return s.customer, s.user, nil
		},
		Scopes: []apikeyui.Scope{{Name: "orders:read", Description: "See orders"}},
		APIURL: "https://api.example.com/v1/orders",
	}
	if err := options.Check(); err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/account/keys/", http.StripPrefix("/account/keys", apikeyui.Handler(manager, options)))

	_, err = manager.Issue(context.Background(), apikey.IssueParams{Owner: "customer-17", Name: "billing"})
	if err != nil {
		log.Fatal(err)
	}
	for _, cookie := range []string{"session=4f1c", "session=guessed"} {
		r := httptest.NewRequest("GET", "/account/keys/", nil)
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(w.Code, strings.Contains(w.Body.String(), "billing"))
	}
	// Output:
	// 200 true
	// 403 false
}

// Texts of the host's own, in German otherwise.
func ExampleTexts() {
	texts := apikeyui.German()
	texts["list.title"] = "Zugänge"
	options := &apikeyui.Options{
		Owner: func(*http.Request) (string, string, error) { return "customer-17", "", nil },
		Texts: texts,
	}
	fmt.Println(options.Check())

	options.Texts["list.titel"] = "Zugänge"
	fmt.Println(options.Check())
	// Output:
	// <nil>
	// apikey: texts: must not hold a name that English has not
}
