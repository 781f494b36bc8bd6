package apikey_test

import (
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/coretest"
	"github.com/keyturn/apikey/memstore"
)

func TestCore(t *testing.T) {
	coretest.Run(t, func(testing.TB) apikey.Store { return memstore.New() })
}
