// Package message holds the protobuf messages of AESM requests and replies,
// generated from message.proto.
package message

//go:generate sh -c "protoc --plugin=protoc-gen-go=$(go tool -n protoc-gen-go) -I ../../.. --go_out=paths=source_relative:../../.. aesm/internal/message/message.proto"
