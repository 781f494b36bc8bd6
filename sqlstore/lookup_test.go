package sqlstore

import (
	"errors"
	"regexp"
	"slices"
	"testing"

	"github.com/keyturn/apikey"
)

// TestColumnNames checks that the names of a lookup's columns, which its errors
// contain, are those that scan.go reads, in each dialect.
func TestColumnNames(t *testing.T) {
	for name, lists := range map[string][2]string{
		"sqlite": {sqliteKey, sqliteOwner},
		"mysql":  {mysqlKey, mysqlOwner},
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

// TestPackedNames checks that the names of packed fields are those of the
// statement, one for each field that is read.
func TestPackedNames(t *testing.T) {
	plain := regexp.MustCompile(`encode\((\S+), 'hex'\)`).ReplaceAllString(postgresPackedCredential, "$1")
	if got := columnNames(plain); !slices.Equal(got, postgresPackedCredentialNames) {
		t.Errorf("got fields %q, want %q", got, postgresPackedCredentialNames)
	}
	if n := len(packedCredentialFields(new(apikey.Credential))); n != len(postgresPackedCredentialNames) {
		t.Errorf("packed.go reads %d fields of a credential, want %d", n, len(postgresPackedCredentialNames))
	}
	if n := len(packedKeyFields(new(apikey.Key), new(apikey.Owner))); n != len(postgresPackedKeyNames) {
		t.Errorf("packed.go reads %d fields of a key, want %d", n, len(postgresPackedKeyNames))
	}
}

// TestUnpack checks that a packed text with a field too few or too many, or with
// another kind of field, is damaged.
func TestUnpack(t *testing.T) {
	names := []string{"id", "digest", "created_at"}
	for packed, ok := range map[string]bool{
		"a 00ff 5": true, " 00ff 5": true, "a  5": true,
		"": false, "a": false, "a 00ff": false, "a 00ff ": false, "a 00ff 5 ": false, "a 00ff 5 6": false, "a b 00ff 5": false,
		"a 0 5": false, "a xx 5": false, "a 00ff x": false, "a 00ff 5.0": false, "a 00ff 99999999999999999999": false,
	} {
		var c apikey.Credential
		err := unpack(packed, names, []any{(*text)(&c.ID), (*blob)(&c.Digest), (*instant)(&c.CreatedAt)})
		if ok != (err == nil) || err != nil && !errors.Is(err, apikey.ErrDamaged) {
			t.Errorf("%q: %v", packed, err)
		}
	}
}
