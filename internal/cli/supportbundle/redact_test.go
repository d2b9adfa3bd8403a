package supportbundle

import "testing"

func TestRedact(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "",
		`{"pccs_url": "https://pccs.example/"}`:  `{"pccs_url": "https://pccs.example/"}`,
		`{"pccs_url": "https://me:pw@pccs/"}`:    `{"pccs_url": "https://[left out]@pccs/"}`,
		`{"pccs_url": "https://pccs/?key=123"}`:  `{"pccs_url": "https://pccs/?[left out]"}`,
		"PCCS_URL=https://me:pw@pccs/\n":         "PCCS_URL=https://[left out]@pccs/\n",
		"USER_TOKEN=123\nRETRY_TIMES=1\n":        "USER_TOKEN=[left out]\nRETRY_TIMES=1\n",
		`"headers": {"x-key": "123", "a": "\""}`: `"headers": {"x-key": "[left out]", "a": "[left out]"}`,
		"\"headers\": {\n  \"metadata\": \"true\",\n  \"x\": \"123\"\n}, \"params\": {\"api-version\": \"1\"}": "\"headers\": {\n  \"metadata\": \"true\",\n  \"x\": \"[left out]\"\n}, \"params\": {\"api-version\": \"1\"}",
	} {
		if got := string(redact([]byte(text))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
