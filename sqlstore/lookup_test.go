package sqlstore

import (
	"slices"
	"testing"

	"github.com/keyturn/apikey"
)

// TestColumnNames checks that the names of a lookup's columns, which its errors
// contain, are those that scan.go reads, in each dialect.
func TestColumnNames(t *testing.T) {
	for name, lists := range map[string][2]string{
		"sqlite":   {sqliteKey, sqliteOwner},
		"postgres": {postgresKey, postgresOwner},
		"mysql":    {mysqlKey, mysqlOwner},
	} {
		if got := columnNames(lists[0] + "," + lists[1]); !slices.Equal(got, lookupColumns) {
			t.Errorf("%s: got columns %q, want %q", name, got, lookupColumns)
		}
	}
	if n := len(keyColumns(new(apikey.Key))); n != len(lookupColumns)-ownerColumnCount {
		t.Errorf("scan.go reads %d columns of a key, want %d", n, len(lookupColumns)-ownerColumnCount)
	}
	if n := len(ownerColumns(nil, new(apikey.Owner))); n != ownerColumnCount {
		t.Errorf("scan.go reads %d columns of an owner, want %d", n, ownerColumnCount)
	}
}
