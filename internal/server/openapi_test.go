package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/goccy/go-yaml"

	"github.com/pulsectl/pulsectl/internal/testkit"
)

// openapi.json is openapi.yaml; -update makes it so.
func TestDocument(t *testing.T) {
	source, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	flat, err := yaml.YAMLToJSON(source)
	if err != nil {
		t.Fatal(yaml.FormatError(err, false, true))
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, flat, "", " "); err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, filepath.Join("..", "openapi.json"), pretty.Bytes())
	if _, err := loadDocument(); err != nil {
		t.Fatal(err)
	}
}

// loadDocument reads what the server serves and checks it against the rules of
// OpenAPI 3.1.
var loadDocument = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.json")
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(context.Background())
})
