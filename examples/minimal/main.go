// Minimal is a server with one route that needs a key: SQLite, a pepper file, Check and Run.
package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/sqlstore"
	_ "modernc.org/sqlite"
)

const dsn = "file:keys.db?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	if _, err := os.Stat("keys.pepper"); os.IsNotExist(err) { // keep it away from the database, and never lose it
		must(0, os.WriteFile("keys.pepper", []byte(rand.Text()+rand.Text()), 0o600))
	}
	db := must(sql.Open("sqlite", dsn))
	must(0, sqlstore.Migrate(ctx, db, sqlstore.SQLite))
	pepper := apikey.NewSecret(string(must(os.ReadFile("keys.pepper"))))
	keys := must(apikey.New(sqlstore.New(db, sqlstore.SQLite, nil), &apikey.Options{Peppers: []apikey.Secret{pepper}}))
	must(0, keys.Check(ctx))
	issued := must(keys.Issue(ctx, apikey.IssueParams{Owner: "ada", Name: "first", Scopes: []string{"orders:read"}}))
	fmt.Printf("curl -H 'X-API-Key: %s' http://localhost:8080/orders\n", issued.Token.Reveal())

	guard := must(apikeyhttp.New(keys, nil))
	http.Handle("GET /orders", guard.Require("orders:read")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, _ := apikey.FromContext(r.Context())
		fmt.Fprintln(w, "orders of", key.Owner)
	})))
	go func() { log.Print(http.ListenAndServe("localhost:8080", nil)); stop() }()
	must(0, keys.Run(ctx)) // writes usage every 10 seconds, and once more at Ctrl-C
}
