package sqlstore

import (
	"database/sql"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/keyturn/apikey"
)

// pgx makes two to five allocations for each column of a row, whatever is in it:
// 131 for a lookup with a column for each field. So the fields that contain no
// space come packed, as one text with a space between two of them and bytes in
// hexadecimal, which takes 76.

// packedColumns are the names of the columns of readPacked, which errors contain.
var packedColumns = []string{"id", "owner", "name", "scopes", "networks", "metadata", "prefix", "ceiling"}

var (
	postgresPackedKeyNames        = append(columnNames(postgresPackedKey), "disabled_at", "has_ceiling")
	postgresPackedCredentialNames = []string{
		"id", "prefix", "pepper_id", "digest", "seal", "created_at", "expires_at", "retire_before", "scheme",
	}
)

const packedAt = 6 // in packedColumns: the packed fields of a key and its owner

func packedKeyFields(k *apikey.Key, o *apikey.Owner) []any {
	return []any{
		(*text)(&k.Prefix), (*text)(&k.CredentialID), (*text)(&k.RetiringID),
		(*integer)(&k.Rate.Requests), (*period)(&k.Rate.Period),
		(*instant)(&k.CreatedAt), (*instant)(&k.DisabledAt), (*flag)(&k.Locked), (*instant)(&k.DeletedAt),
		(*instant)(&k.IssuedAt), (*instant)(&k.ExpiresAt), (*number)(&k.Revision),
		(*instant)(&o.DisabledAt), (*flag)(&o.HasCeiling),
	}
}

func packedCredentialFields(c *apikey.Credential) []any {
	return []any{
		(*text)(&c.ID), (*text)(&c.Prefix), (*blob)(&c.PepperID), (*blob)(&c.Digest), (*blob)(&c.Seal),
		(*instant)(&c.CreatedAt), (*instant)(&c.ExpiresAt), (*instant)(&c.RetireBefore), (*scheme)(&c.Scheme),
	}
}

// readPacked reads the row of postgres.lookup.
func readPacked(row *sql.Row) (m apikey.LookupResult, err error) {
	var packedCredential text
	values := make([]late, len(packedColumns))
	columns := make([]any, 0, len(values)+1)
	for i := range values {
		columns = append(columns, &values[i])
	}
	if err := row.Scan(append(columns, &packedCredential)...); err != nil {
		return m, err
	}
	var credential apikey.Credential
	if err := unpack(string(packedCredential), postgresPackedCredentialNames, packedCredentialFields(&credential)); err != nil {
		return m, err
	}
	return apikey.DeferLookupResult(credential, func() (apikey.Key, apikey.Owner, error) { return scanPacked(values) }), nil
}

// scanPacked reads the columns of a key and its owner.
func scanPacked(values []late) (apikey.Key, apikey.Owner, error) {
	var (
		key    apikey.Key
		owner  apikey.Owner
		packed text
	)
	into := [...]sql.Scanner{
		(*text)(&key.ID), (*text)(&key.Owner), (*text)(&key.Name), (*scopes)(&key.Scopes), (*networks)(&key.Networks),
		(*pairs)(&key.Metadata), &packed, (*scopes)(&owner.Ceiling),
	}
	for i, field := range into {
		err := field.Scan(values[i].value)
		if err != nil {
			err = fmt.Errorf("column %q: %w", packedColumns[i], err)
		} else if i == packedAt {
			err = unpack(string(packed), postgresPackedKeyNames, packedKeyFields(&key, &owner))
		}
		if err != nil {
			return damagedKey(&key, err)
		}
	}
	owner.ID = key.Owner
	return key, owner, nil
}

// unpack reads the fields of a packed text. There must be as many as there are
// names.
func unpack(packed string, names []string, into []any) error {
	for i, field := range into {
		value, rest, more := strings.Cut(packed, " ")
		packed = rest
		var err error
		switch field := field.(type) {
		case *text:
			*field = text(value)
		case *blob:
			err = field.decode(value)
		case numeric:
			var n int64
			if n, err = strconv.ParseInt(value, 10, 64); err != nil {
				err = damage("is not an integer")
			} else {
				err = field.set(n)
			}
		}
		if err == nil && more == (i == len(into)-1) {
			err = damage("or one near it contains a space")
		}
		if err != nil {
			return fmt.Errorf("column %q: %w", names[i], err)
		}
	}
	return nil
}

// decode reads hexadecimal.
func (b *blob) decode(value string) error {
	decoded, err := hex.DecodeString(value)
	if err != nil {
		return damage("is not hexadecimal")
	}
	*b = blob(decoded)
	return nil
}
