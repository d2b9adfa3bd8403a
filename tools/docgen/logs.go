package main

import (
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/types"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// logsPage finds the calls of log/slog in the code, with the type checker.
func logsPage() (string, error) {
	dir, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	loaded, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedImports | packages.NeedFiles | packages.NeedCompiledGoFiles |
			packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo,
		Dir: dir,
		Env: append(os.Environ(), "GOWORK=off", "CGO_ENABLED=1", "GOOS=linux"),
	}, "./internal/...", "./cmd/...")
	if err != nil {
		return "", err
	}
	slices.SortFunc(loaded, func(a, b *packages.Package) int { return cmp.Compare(a.PkgPath, b.PkgPath) })
	var b strings.Builder
	for _, p := range loaded {
		for _, e := range p.Errors {
			err = errors.Join(err, e)
		}
		lines, with := linesOf(p)
		if len(lines) == 0 {
			continue
		}
		name := strings.TrimPrefix(p.PkgPath, "github.com/confcom/confcom/")
		fmt.Fprintf(&b, "## %s\n\nIn %s.", name, codes(importers(loaded, p)))
		if len(with) > 0 {
			fmt.Fprintf(&b, " Lines may also have %s.", codes(with))
		}
		b.WriteString("\n\n")
		var rows [][]string
		for _, l := range lines {
			rows = append(rows, []string{code(l.message), strings.Join(l.levels, ", "), codes(l.keys)})
		}
		b.WriteString(table([]string{"message", "level", "attributes"}, rows))
	}
	return b.String(), err
}

// importers returns the programs that p is part of.
func importers(loaded []*packages.Package, p *packages.Package) []string {
	var reaches func(from *packages.Package, seen map[string]bool) bool
	reaches = func(from *packages.Package, seen map[string]bool) bool {
		if from.PkgPath == p.PkgPath {
			return true
		}
		if seen[from.PkgPath] {
			return false
		}
		seen[from.PkgPath] = true
		for _, imported := range from.Imports {
			if reaches(imported, seen) {
				return true
			}
		}
		return false
	}
	var names []string
	for _, from := range loaded {
		if from.Name == "main" && reaches(from, make(map[string]bool)) {
			names = append(names, filepath.Base(from.PkgPath))
		}
	}
	return names
}

// logLine is a line that the code can write.
type logLine struct {
	message      string
	levels, keys []string
}

// linesOf returns the lines that a package writes, by message, and the keys that its
// loggers add to some of them.
func linesOf(p *packages.Package) (lines []logLine, with []string) {
	f := &finder{info: p.TypesInfo, lines: make(map[string]logLine)}
	for _, file := range p.Syntax {
		for _, declaration := range file.Decls {
			if function, ok := declaration.(*ast.FuncDecl); ok && function.Body != nil {
				f.functions = append(f.functions, function)
			}
		}
	}
	for _, function := range f.functions {
		for _, call := range callsIn(function) {
			f.visit(function, call)
		}
	}
	return slices.SortedFunc(maps.Values(f.lines), func(a, b logLine) int { return cmp.Compare(a.message, b.message) }), f.with
}

type finder struct {
	info      *types.Info
	functions []*ast.FuncDecl
	lines     map[string]logLine
	with      []string // keys that loggers add to lines
}

// logCalls are the functions of log/slog that write a line: which argument is the
// message, and which the level, unless the name says it.
var logCalls = map[string]struct {
	message, level int
	named          slog.Level
}{
	"Debug": {0, -1, slog.LevelDebug}, "DebugContext": {1, -1, slog.LevelDebug},
	"Info": {0, -1, slog.LevelInfo}, "InfoContext": {1, -1, slog.LevelInfo},
	"Warn": {0, -1, slog.LevelWarn}, "WarnContext": {1, -1, slog.LevelWarn},
	"Error": {0, -1, slog.LevelError}, "ErrorContext": {1, -1, slog.LevelError},
	"Log": {2, 1, 0}, "LogAttrs": {2, 1, 0}, "NewRecord": {2, 1, 0},
}

// visit records what call writes, if it is a call of log/slog.
func (f *finder) visit(in *ast.FuncDecl, call *ast.CallExpr) {
	callee := f.callee(call)
	if callee == nil || callee.Pkg() == nil || callee.Pkg().Path() != "log/slog" {
		return
	}
	if callee.Name() == "With" { // of a logger
		f.with = union(f.with, f.keys(call.Args))
	}
	shape, ok := logCalls[callee.Name()]
	if !ok || len(call.Args) <= shape.message {
		return
	}
	keys := f.keys(call.Args[shape.message+1:])
	if callee.Name() == "NewRecord" {
		keys = f.attributesIn(in.Body) // they are added one by one
	}
	if shape.level < 0 {
		f.record(in, shape.named.String(), nil, call.Args[shape.message], keys)
	} else {
		f.record(in, "", call.Args[shape.level], call.Args[shape.message], keys)
	}
}

// record records the lines with this message at this level, which is named or an
// expression. Where the message is a parameter of the function in, the lines are
// those of its callers.
func (f *finder) record(in *ast.FuncDecl, named string, level, message ast.Expr, keys []string) {
	if text := f.constant(message); text != nil {
		for _, name := range f.levels(in, named, level) {
			f.add(constant.StringVal(text), name, keys)
		}
		return
	}
	variable := f.object(message)
	f.assignments(in, func(left, right []ast.Expr) {
		text, name := constant.Value(nil), cmp.Or(named, levelName(f.constant(level)))
		for i := range left {
			switch object := f.object(left[i]); {
			case object == nil:
			case object == variable:
				text = f.constant(right[i])
			case level != nil && object == f.object(level): // both in one statement
				name = levelName(f.constant(right[i]))
			}
		}
		if text != nil {
			f.add(constant.StringVal(text), name, keys)
		}
	})
	position := f.parameter(in, variable)
	if position < 0 {
		return
	}
	for _, caller := range f.functions {
		for _, call := range callsIn(caller) {
			if f.callee(call) != f.info.ObjectOf(in.Name) || caller == in {
				continue
			}
			passed := level
			if at := f.parameter(in, f.object(level)); at >= 0 {
				passed = call.Args[at]
			}
			f.record(caller, named, passed, call.Args[position], union(slices.Clone(keys), f.attributesIn(caller.Body)))
		}
	}
}

// levels returns the names of the levels that a line can have: named, a constant, or
// what is assigned to a variable.
func (f *finder) levels(in *ast.FuncDecl, named string, level ast.Expr) []string {
	if named != "" || f.constant(level) != nil || f.object(level) == nil {
		return []string{cmp.Or(named, levelName(f.constant(level)))}
	}
	var names []string
	f.assignments(in, func(left, right []ast.Expr) {
		for i := range left {
			if value := f.constant(right[i]); f.object(left[i]) == f.object(level) && value != nil {
				names = union(names, []string{levelName(value)})
			}
		}
	})
	if names == nil {
		return []string{levelName(nil)}
	}
	return names
}

func (f *finder) add(message, level string, keys []string) {
	line := f.lines[message]
	line.message = message
	line.levels = union(line.levels, []string{level})
	line.keys = union(line.keys, keys)
	f.lines[message] = line
}

// constant returns the value of a constant expression, or nil.
func (f *finder) constant(e ast.Expr) constant.Value {
	if e == nil {
		return nil
	}
	return f.info.Types[e].Value
}

// levelName returns the name of a level of slog; it depends on the line where the
// level is no constant.
func levelName(value constant.Value) string {
	if value == nil {
		return "varies"
	}
	n, _ := constant.Int64Val(value)
	return slog.Level(n).String()
}

// object returns the variable that e names, or nil.
func (f *finder) object(e ast.Expr) types.Object {
	if name, ok := e.(*ast.Ident); ok {
		return f.info.ObjectOf(name)
	}
	return nil
}

// assignments calls do with both sides of each assignment in function.
func (f *finder) assignments(function *ast.FuncDecl, do func(left, right []ast.Expr)) {
	ast.Inspect(function.Body, func(n ast.Node) bool {
		if assign, ok := n.(*ast.AssignStmt); ok && len(assign.Lhs) == len(assign.Rhs) {
			do(assign.Lhs, assign.Rhs)
		}
		return true
	})
}

// parameter returns the position of a parameter of function, or -1.
func (f *finder) parameter(function *ast.FuncDecl, object types.Object) int {
	position := 0
	for _, field := range function.Type.Params.List {
		for _, name := range field.Names {
			if object != nil && f.info.ObjectOf(name) == object {
				return position
			}
			position++
		}
	}
	return -1
}

func (f *finder) callee(call *ast.CallExpr) *types.Func {
	var name *ast.Ident
	switch fun := call.Fun.(type) {
	case *ast.Ident:
		name = fun
	case *ast.SelectorExpr:
		name = fun.Sel
	default:
		return nil
	}
	callee, _ := f.info.ObjectOf(name).(*types.Func)
	return callee
}

// keys returns the keys in the arguments of a log call: pairs of key and value,
// and attributes.
func (f *finder) keys(args []ast.Expr) []string {
	var keys []string
	for i := 0; i < len(args); i++ {
		v := f.info.Types[args[i]].Value
		if v != nil && v.Kind() == constant.String {
			keys = append(keys, constant.StringVal(v))
			i++ // its value
			continue
		}
		keys = append(keys, f.attributesIn(args[i])...)
	}
	return keys
}

// attributesIn returns the keys of all attributes that are made in node.
func (f *finder) attributesIn(node ast.Node) []string {
	var keys []string
	add := func(e ast.Expr) {
		if v := f.info.Types[e].Value; v != nil && v.Kind() == constant.String {
			keys = append(keys, constant.StringVal(v))
		}
	}
	ast.Inspect(node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if isAttr(f.info.TypeOf(n)) && len(n.Args) > 0 {
				add(n.Args[0])
			}
		case *ast.CompositeLit:
			for _, element := range n.Elts {
				pair, ok := element.(*ast.KeyValueExpr)
				if !ok || !isAttr(f.info.TypeOf(n)) {
					continue
				}
				if name, ok := pair.Key.(*ast.Ident); ok && name.Name == "Key" {
					add(pair.Value)
				}
			}
		}
		return true
	})
	return keys
}

func isAttr(t types.Type) bool { return t != nil && types.TypeString(t, nil) == "log/slog.Attr" }

func callsIn(function *ast.FuncDecl) []*ast.CallExpr {
	var calls []*ast.CallExpr
	ast.Inspect(function.Body, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			calls = append(calls, call)
		}
		return true
	})
	return calls
}

// union returns a and, behind it, what only b has.
func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}
