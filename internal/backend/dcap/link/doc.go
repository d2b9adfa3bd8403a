// Package link connects the quote helper to a worker, its child process: it
// passes descriptors over an inherited socket and speaks the protocol on them.
//
// The helper makes a Client and starts the worker with the Client's file as file
// descriptor FD. For each connection the Client makes a pair of connected sockets
// and sends one of them to the worker, whose Listener accepts it. None of these
// sockets has a name, so no other process can connect. When the helper closes the
// Client, or ends, the worker's Listener.Serve returns.
//
// A connection serves one request after the other. A request that is given up takes
// its connection with it, so that nobody else reads its reply.
//
// # Protocol
//
// All numbers are little-endian. A message is a uint32 that counts the bytes after
// it, a byte that names the kind, and a body:
//
//	request     kind  body
//	initialize  1     (none)
//	quote       2     report (432)
//	challenge   3     report (432), nonce (16), target info of the challenger (512)
//
//	reply         kind  body
//	initialized   1     target info (512), public key ID (32), quote size (uint32)
//	quoted        2     quote (at most 32 KiB)
//	challenged    3     report of the quoting enclave (432), quote (at most 32 KiB)
//	library error 4     quote3_error_t (uint32), text (at most 1 KiB; may be empty)
//	failure       5     text (at most 1 KiB)
//
// Each request has the reply with its own number, or one of the last two. Both
// sides are of the same release, so there are no versions.
package link
