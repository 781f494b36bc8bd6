package memstore_test

import (
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
	"github.com/keyturn/apikey/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(testing.TB) apikey.Store { return memstore.New() })
}
