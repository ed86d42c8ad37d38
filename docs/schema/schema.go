// Package schema holds what authferry prints to the JSON Schemas beside it, for tests.
//
// The files are made from the program's own types (go generate ./cmd/authferry), and are
// open: a later version may print more. Here they are closed, so that nothing is printed
// that they don't have.
package schema

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

//go:embed *.json
var files embed.FS

// Commands are the documents that each command prints with --json, by the name of
// their file; one that fails may print an error instead. The empty one is authferry
// alone.
var Commands = map[string][]string{
	"":        {"status"},
	"login":   {"login"},
	"status":  {"status"},
	"list":    {"list"},
	"info":    {"account"},
	"whoami":  {"whoami"},
	"import":  {"import", "import-plan"},
	"rename":  {"account-change"},
	"refresh": {"account", "refresh"},
	"remove":  {"account-change"},

	"token":  {"token"},
	"header": {"header"},
	"serve":  {"serve"},

	"use":     {"use", "bindings"},
	"report":  {"report"},
	"holds":   {"holds"},
	"disable": {"account-change"},
	"enable":  {"account-change"},
	"move":    {"account-change"},
	"order":   {"account-change"},

	"setup":    {"setup", "clients"},
	"doctor":   {"doctor"},
	"keystore": {"keystore"},
	"config":   {"config"},
	"version":  {"version"},

	"share start":   {"share-pool"},
	"share status":  {"share-status"},
	"share members": {"share-members"},
	"share leave":   {"share-left"},
	"share remove":  {"share-removed"},
	"share recover": {"share-recovered"},
	"share doctor":  {"doctor"},
	"share serve":   {"share-serve"},

	"provider list":   {"providers"},
	"provider show":   {"provider"},
	"provider add":    {"provider"},
	"provider remove": {"provider-removed"},
}

// aliases are other words for a command.
var aliases = map[string]string{
	"home": "", "add": "login", "ls": "list", "show": "info", "rm": "remove", "logout": "remove",
	"provider": "provider list", "provider rm": "provider remove",
}

// Documents are those of the command in a line of arguments; nil: it has none.
func Documents(args []string) []string { return Commands[command(args)] }

func command(args []string) string {
	words := slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return strings.HasPrefix(arg, "-") })
	for n := min(len(words), 2); n > 0; n-- {
		name := strings.Join(words[:n], " ")
		if alias, ok := aliases[name]; ok {
			name = alias
		}
		if Commands[name] != nil {
			return name
		}
	}
	return strings.Join(words, " ")
}

// Asked reports that a line of arguments asks for documents; a report always does.
func Asked(args []string) bool {
	if i := slices.Index(args, "--"); i >= 0 { // what follows is another program's
		args = args[:i]
	}
	help := slices.Contains(args, "--help") || slices.Contains(args, "-h")
	return !help && (slices.Contains(args, "--json") || command(args) == "report")
}

// Check says what is wrong with stdout of authferry with these arguments, which ask
// for JSON: each document has to be one of its command's, or an error; and there is one,
// but for login, serve and share serve, which print a line for each event.
func Check(args []string, stdout string) error {
	name := command(args)
	count, decoder := 0, json.NewDecoder(strings.NewReader(stdout))
	for ; ; count++ {
		var document any
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = valid(document, append(slices.Clone(Commands[name]), "error"))
		}
		if err != nil {
			return fmt.Errorf("authferry %s: document %d: %w", name, count+1, err)
		}
	}
	if count != 1 && !slices.Contains([]string{"login", "serve", "share serve"}, name) {
		return fmt.Errorf("authferry %s printed %d documents", name, count)
	}
	return nil
}

// CheckReport says what is wrong with stdin of authferry report.
func CheckReport(stdin string) error {
	var document any
	if err := json.Unmarshal([]byte(stdin), &document); err != nil {
		return fmt.Errorf("the report: %w", err)
	}
	return valid(document, []string{"report-request"})
}

// valid wants document to be as one of the files says.
func valid(document any, names []string) error {
	var complaints []error
	for _, name := range names {
		err := validAs(name, document)
		if err == nil {
			return nil
		}
		complaints = append(complaints, fmt.Errorf("%s.json: %w", name, err))
	}
	return errors.Join(complaints...)
}

// validAs wants document to be as the file of that name says.
func validAs(name string, document any) error {
	data, err := files.ReadFile(name + ".json")
	if err != nil {
		return err
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	shut(&s)
	resolved, err := s.Resolve(nil)
	if err != nil {
		return err
	}
	return resolved.Validate(document)
}

// shut allows no other members than those that s names.
func shut(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if s.Properties != nil && s.AdditionalProperties == nil {
		s.AdditionalProperties = &jsonschema.Schema{Not: &jsonschema.Schema{}}
	}
	for _, below := range s.Defs {
		shut(below)
	}
	for _, below := range s.Properties {
		shut(below)
	}
	shut(s.Items)
	shut(s.AdditionalProperties)
	for _, below := range slices.Concat(s.OneOf, s.AnyOf) {
		shut(below)
	}
}
