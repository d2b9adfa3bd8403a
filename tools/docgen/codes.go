package main

import (
	"strconv"
	"strings"

	"github.com/confcom/confcom/aesm"
)

func codesPage() (string, error) {
	var rows [][]string
	for code := aesm.Code(0); !strings.Contains(code.String(), "("); code++ {
		rows = append(rows, []string{strconv.Itoa(int(code)), "`" + code.String() + "`", prose(code.Advice()), prose(code.OperatorAdvice())})
	}
	return table([]string{"code", "name", "what to do in the client", "what to do on the node"}, rows), nil
}
