package main

import (
	"testing"

	"github.com/keyturn/apikey/examples/frameworks/internal/frameworktest"
)

func TestGin(t *testing.T) { frameworktest.Run(t, serve) }
