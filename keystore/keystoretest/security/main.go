//go:build unix

// Command security stands in for /usr/bin/security where there is no Mac: of that
// program, as its manual and Apple's published source (SecurityTool) have it, what
// go-keyring asks for, and what .ci/mac does to a keychain. Its state is in the folder
// that SECURITY_STATE names: keychains, faults, and a log of its processes.
//
// An exit status is the low byte of an OSStatus; a status that Apple's tool prints no
// text for prints none here. What a real one does beyond that is for a Mac to show.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
)

// An OSStatus (Security/SecBase.h, MacErrors.h).
type status int

const (
	ok                    status = 0
	generic               status = 1
	usage                 status = 2
	diskFull              status = -34
	userCanceled          status = -128
	notAvailable          status = -25291
	readOnly              status = -25292
	authFailed            status = -25293
	noSuchKeychain        status = -25294
	duplicateItem         status = -25299
	itemNotFound          status = -25300
	noDefaultKeychain     status = -25307
	interactionNotAllowed status = -25308
)

var texts = map[status]string{
	diskFull:              "The disk is full.",
	userCanceled:          "User canceled the operation.",
	notAvailable:          "No keychain is available. You may need to restart your computer.",
	readOnly:              "This keychain cannot be modified.",
	authFailed:            "The user name or passphrase you entered is not correct.",
	noSuchKeychain:        "The specified keychain could not be found.",
	duplicateItem:         "The specified item already exists in the keychain.",
	itemNotFound:          "The specified item could not be found in the keychain.",
	noDefaultKeychain:     "A default keychain could not be found.",
	interactionNotAllowed: "User interaction is not allowed.",
}

func (s status) text() string {
	if fault() == "german" && s == itemNotFound {
		return "Das angegebene Objekt konnte nicht im Schlüsselbund gefunden werden."
	}
	return texts[s]
}

func complain(where string, s status) { fmt.Fprintf(os.Stderr, "security: %s: %s\n", where, s.text()) }

func main() {
	done := logged(os.Args)
	var result status
	if len(os.Args) == 2 && os.Args[1] == "-i" {
		result = interactive(bufio.NewReader(os.Stdin))
	} else {
		result = execute(os.Args[1:])
	}
	done()
	os.Exit(int(result) & 0xff)
}

// maxLine is the buffer of a line, with the NUL at its end.
const maxLine = 4096

// interactive runs commands until the input ends; its status is the last one's. A line
// that fills the buffer is cut there, and what is left of it is the next command: for
// one of 4,095 bytes that is an empty line, whose status is 0.
func interactive(in *bufio.Reader) status {
	var result status
	for {
		line, whole := readLine(in)
		if !whole {
			return result
		}
		args := split(line)
		result = execute(args)
		if result != ok {
			fmt.Fprintf(os.Stderr, "%s: returned %d\n", args[0], result)
		}
	}
}

// readLine returns false where the input ends, with a line or without one.
func readLine(in io.ByteReader) (string, bool) {
	var line []byte
	for len(line) < maxLine-1 {
		b, err := in.ReadByte()
		if err != nil {
			return "", false
		}
		if b == '\n' {
			break
		}
		line = append(line, b)
	}
	return string(line), true
}

// split takes a line apart: words, quotes that end a word, and a backslash that takes
// the next byte as it is, between quotes too.
func split(line string) (args []string) {
	var word strings.Builder
	in, quote, escaped := false, byte(0), false
	end := func() {
		args = append(args, word.String())
		word.Reset()
		in, quote = false, 0
	}
	for i := range len(line) {
		c := line[i]
		space := c == ' ' || c >= '\t' && c <= '\r'
		switch {
		case escaped:
			word.WriteByte(c)
			escaped = false
		case !in && space:
		case !in && (c == '"' || c == '\''):
			in, quote = true, c
		case c == '\\':
			in, escaped = true, true
		case quote != 0 && c == quote, quote == 0 && space:
			end()
		default:
			in = true
			word.WriteByte(c)
		}
	}
	if in {
		end()
	}
	return args
}

func execute(args []string) status {
	if len(args) == 0 {
		return ok
	}
	command, there := commands[args[0]]
	if !there {
		fmt.Fprintf(os.Stderr, "security: unknown command %q\n", args[0])
		return generic
	}
	return command(args[1:])
}

var commands map[string]func(args []string) status

func init() {
	commands = map[string]func([]string) status{
		"add-generic-password":    add,
		"find-generic-password":   find,
		"delete-generic-password": remove,
		"create-keychain":         createKeychain,
		"delete-keychain":         deleteKeychain,
		"lock-keychain":           func(args []string) status { return setLocked(args, true) },
		"unlock-keychain":         func(args []string) status { return setLocked(args, false) },
		"set-keychain-settings":   func([]string) status { return ok },
		"default-keychain":        defaultKeychain,
		"list-keychains":          listKeychains,
		"dump-keychain":           dumpKeychain,
	}
}

// options reads args as getopt does: flags names those without a value.
func options(args []string, flags string) (set map[byte]string, rest []string, good bool) {
	set = map[byte]string{}
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		word := args[0][1:]
		args = args[1:]
		for word != "" {
			option := word[0]
			word = word[1:]
			if strings.IndexByte(flags, option) >= 0 {
				set[option] = ""
				continue
			}
			if word == "" {
				if len(args) == 0 {
					return nil, nil, false
				}
				word, args = args[0], args[1:]
			}
			set[option], word = word, ""
		}
	}
	return set, args, true
}

func add(args []string) status {
	set, _, good := options(args, "UA")
	service, account := set['s'], set['a']
	if !good || service == "" || account == "" {
		return usage
	}
	_, update := set['U']
	return change(func(s *state) status {
		if update {
			if k, i := s.search(service, account); i >= 0 {
				result := k.writes()
				if result == ok {
					k.Items[i].Data = kept(set['w'])
					return ok
				}
				complain("SecKeychainItemModifyContent", result)
			}
		}
		// Also where the item was there and could not be changed.
		result := noDefaultKeychain
		if k := s.Keychains[s.Default]; k != nil {
			if result = k.writes(); result == ok {
				if _, i := s.search(service, account); i >= 0 {
					result = duplicateItem
				} else if data := kept(set['w']); fault() != "lost" {
					k.Items = append(k.Items, item{service, account, data})
				}
			}
		}
		if result != ok {
			complain("SecKeychainItemCreateFromContent (<default>)", result)
		}
		return result
	})
}

// find prints a password as hex if any byte of it isn't a letter, digit, mark or space
// of ASCII.
func find(args []string) status {
	set, _, good := options(args, "gw")
	if !good {
		return usage
	}
	var data string
	result := look(func(s *state) status {
		k, i := s.search(set['s'], set['a'])
		if i < 0 {
			complain("SecKeychainSearchCopyNext", itemNotFound)
			return itemNotFound
		}
		data = k.Items[i].Data
		return k.opens()
	})
	if _, wanted := set['w']; result == ok && wanted {
		if strings.ContainsFunc(data, func(r rune) bool { return r < ' ' || r > '~' }) {
			data = hex.EncodeToString([]byte(data))
		}
		fmt.Println(data)
	}
	return result
}

func remove(args []string) status {
	set, _, good := options(args, "g")
	if !good || len(set) == 0 {
		return usage
	}
	return change(func(s *state) status {
		k, i := s.search(set['s'], set['a'])
		if i < 0 {
			complain("SecKeychainSearchCopyNext", itemNotFound)
			return itemNotFound
		}
		fmt.Printf("keychain: %q\nversion: 512\nclass: \"genp\"\nattributes:\n    \"acct\"<blob>=%q\n    \"svce\"<blob>=%q\n",
			s.Default, k.Items[i].Account, k.Items[i].Service)
		result := k.writes()
		if result == ok && fault() != "lost" {
			k.Items = append(k.Items[:i], k.Items[i+1:]...)
		}
		fmt.Fprintln(os.Stderr, "password has been deleted.") // in any case
		return result
	})
}
