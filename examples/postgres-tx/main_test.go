package main

import (
	"context"
	"database/sql"
	"os"
	"strings"
	"testing"
)

const want = `rolled back: customers 0, keys 0, the token is refused: apikey: invalid key
committed:   customers 1, keys 1, the token is accepted
`

func TestRun(t *testing.T) {
	dsn := os.Getenv("APIKEY_POSTGRES_DSN")
	if dsn == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("APIKEY_POSTGRES_DSN is not set")
		}
		t.Skip("APIKEY_POSTGRES_DSN is not set")
	}
	var out strings.Builder
	if err := run(t.Context(), dsn, &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}

	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var left int
	if err := db.QueryRowContext(context.Background(), `SELECT COUNT(*) FROM pg_namespace WHERE nspname LIKE 'apikey\_example\_%'`).Scan(&left); err != nil {
		t.Fatal(err)
	}
	if left != 0 {
		t.Errorf("%d schemas are left", left)
	}
}

func TestRunWithoutDatabase(t *testing.T) {
	for _, dsn := range []string{"", "postgres://nobody@127.0.0.1:1/none?connect_timeout=1", "::"} {
		if err := run(t.Context(), dsn, &strings.Builder{}); err == nil {
			t.Errorf("%q: no error", dsn)
		}
	}
}
