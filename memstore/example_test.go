package memstore_test

import (
	"context"
	"fmt"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

func Example() {
	m, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.EphemeralPepper()}})
	if err != nil {
		fmt.Println(err)
		return
	}
	issued, err := m.Issue(context.Background(), apikey.IssueParams{Owner: "acme", Name: "billing"})
	fmt.Println(issued.Key.Name, err)
	// Output: billing <nil>
}
