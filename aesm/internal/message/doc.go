// Package message is the protobuf form of the AESM requests and replies, as
// generated from message.proto.
package message

//go:generate protoc -I ../../.. --go_out=paths=source_relative:../../.. aesm/internal/message/message.proto
