package strictjson_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/confcom/confcom/internal/strictjson"
)

type embedded struct {
	List []string `json:"list"`
	Text int      `json:"text"` // hidden
}

type object struct {
	*embedded
	Text   string     `json:"text,omitempty"`
	Number uint16     `json:"number"`
	Bytes  []byte     `json:"bytes"`
	Blocks [][]byte   `json:"blocks"`
	Named  named      `json:"named"`
	At     netip.Addr `json:"at"` // reads text
	Inner  struct{}   `json:"inner"`
	Pair   [2]byte    `json:"pair"`
	None   string     `json:"-"`
}

type named []byte

func TestUnmarshal(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{}`, ""},
		{" {\"text\": \"a\", \"number\": 2, \"list\": [\"null\", \"\"]}\n", ""},
		{`{"other": 1}`, `unknown member "other"`},
		{`{"-": "a"}`, `unknown member "-"`},
		{`{"": 1}`, `unknown member ""`},
		{`{"Text": "a"}`, `unknown member "Text": did you mean "text"?`},
		{`{"te_xt": "a"}`, `did you mean "text"?`},
		{`{"text": "a", "TEXT": "b"}`, `"TEXT"`},
		{`{"text": "a", "text": "a"}`, `duplicate member "text"`},
		{`{"text": "a", "t\u0065xt": "b"}`, `duplicate member "text"`},
		{"{\"li\u017ft\": []}", "unknown member"}, // the long s, which encoding/json takes for an s
		{`{"text": null}`, "text: null is not a value"},
		{`{"list": ["a", null]}`, "list: null is not a value"},
		{`{"number": -1}`, "number: "},
		{`{"number": 65536}`, "number: "},
		{`{"number": 1.5}`, "number: "},
		{`{"number": "1"}`, "number: "},
		{`{"text": {"text": "a"}}`, "text: "},
		{`{"bytes": "AQID", "blocks": ["AQID", ""], "named": "AQ==", "at": "10.0.0.1"}`, ""},
		{`{"bytes": [1, 2, 3]}`, "bytes: want a string in base64"},
		{`{"bytes": []}`, "bytes: want a string in base64"},
		{`{"bytes": "010203f"}`, "bytes: illegal base64"},
		{`{"bytes": "AQ"}`, "bytes: illegal base64"},
		{`{"bytes": "AR=="}`, "bytes: illegal base64"}, // bits that are not used
		{`{"bytes": "A_-_"}`, "bytes: illegal base64"},
		{`{"bytes": "AQ\nID"}`, "bytes: base64 with line breaks"},
		{`{"blocks": ["AQID", [1]]}`, "blocks: want a string in base64"},
		{`{"blocks": "AQID"}`, "blocks: "},
		{`{"named": [1]}`, "named: want a string in base64"},
		{`{"at": [10, 0, 0, 1]}`, "at: "},
		{`{"inner": {"Text": "a"}}`, "inner: cannot read a struct {} strictly"},
		{`{"pair": [1, 2, 3]}`, "pair: cannot read a [2]uint8 strictly"}, // encoding/json drops the third
		{`null`, `want a JSON object, not "null"`},
		{`[]`, "want a JSON object"},
		{`"text"`, "want a JSON object"},
		{``, "unexpected end"},
		{`{`, "unexpected end"},
		{`{"text": "a",}`, "invalid character"},
		{`{} {}`, "after top-level value"},
		{"{}\x00", "after top-level value"},
		{"\ufeff{}", "invalid character"},
		{"{\"text\": \"\xff\"}", "not UTF-8"},
	} {
		o := object{embedded: new(embedded)}
		err := strictjson.Unmarshal([]byte(c.text), &o)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		}
	}
}

func TestMembers(t *testing.T) {
	members, err := strictjson.Members([]byte(` {"a": {"a": 1, "a": 2}, "A": null, "": "x"} `))
	if err != nil || len(members) != 3 || string(members["a"]) != `{"a": 1, "a": 2}` || string(members["A"]) != "null" || string(members[""]) != `"x"` {
		t.Errorf("%s, %v", members, err)
	}
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"%d":0`, i)
		}
		return "{" + b.String()[1:] + "}"
	}
	if members, err := strictjson.Members([]byte(many(256))); err != nil || len(members) != 256 {
		t.Errorf("%d members: %v", len(members), err)
	}
	for _, text := range []string{many(257), `{"a": 1, "a": 1}`, `{"a": 1, "\u0061": 1}`, `{"a": 1} {}`, `[]`, `null`, ``, "{\"a\": \"\xff\"}"} {
		if members, err := strictjson.Members([]byte(text)); err == nil {
			t.Errorf("%s: %s", text, members)
		}
	}
}

func TestUnmarshalKeeps(t *testing.T) {
	o := object{embedded: &embedded{List: []string{"a"}}, Text: "before", Number: 1}
	if err := strictjson.Unmarshal([]byte(`{"number": 2}`), &o); err != nil || o.Number != 2 || o.Text != "before" || len(o.List) != 1 {
		t.Errorf("%+v, %v", o, err)
	}
}

// What is accepted, encoding/json understands in the same way.
func FuzzUnmarshal(f *testing.F) {
	for _, text := range []string{`{"text": "a", "number": 2}`, `{"Text": "a"}`, `{"list": [null]}`, `{"list": ["a"]}`, `null`, `{"text": "a", "text": "b"}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		strict, loose := object{embedded: new(embedded)}, object{embedded: new(embedded)}
		if err := strictjson.Unmarshal([]byte(text), &strict); err != nil {
			return
		}
		if err := json.Unmarshal([]byte(text), &loose); err != nil || strict.Text != loose.Text || strict.Number != loose.Number ||
			strings.Join(strict.List, ",") != strings.Join(loose.List, ",") {
			t.Errorf("%q: %+v, and %+v with encoding/json: %v", text, strict, loose, err)
		}
	})
}
