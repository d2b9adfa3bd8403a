package main

import "strings"

// table returns a table, or nothing if it has no rows.
func table(head []string, rows [][]string) string {
	if len(rows) == 0 {
		return ""
	}
	var b strings.Builder
	line := func(cells []string) {
		b.WriteString("|")
		for _, cell := range cells {
			b.WriteString(" " + strings.TrimSpace(cell) + " |")
		}
		b.WriteString("\n")
	}
	line(head)
	b.WriteString("|" + strings.Repeat("---|", len(head)) + "\n")
	for _, row := range rows {
		line(row)
	}
	return b.String() + "\n"
}

// prose makes text safe for a cell of a table or a paragraph.
func prose(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ").Replace(text)
}

// code marks text as code, for a cell of a table or a paragraph. Nothing stays
// nothing.
func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(text, "|", `\|`) + "`"
}

// codes marks each of texts as code.
func codes(texts []string) string {
	marked := make([]string, len(texts))
	for i, text := range texts {
		marked[i] = code(text)
	}
	return strings.Join(marked, ", ")
}

// block is a block of preformatted text.
func block(language, text string) string {
	return "```" + language + "\n" + strings.Trim(text, "\n") + "\n```\n\n"
}
