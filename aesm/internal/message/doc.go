// Package message holds the protobuf messages of AESM requests and replies,
// generated from message.proto.
package message

//go:generate protoc -I ../../.. --go_out=paths=source_relative:../../.. aesm/internal/message/message.proto
