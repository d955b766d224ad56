// Package flagdsync is flagd's sync protocol as Go: what protoc-gen-go and protoc-gen-go-grpc make of sync.proto.
//
// It is a copy of our own because the published one can be had by exact pseudo-versions only. Go's protobuf registry is one a
// program: a program that links both panics when it starts. The agent's SDK does not link this.
//
// `go generate` makes it anew and needs nothing installed: the compiler and both plugins come as modules, at the versions in
// go.mod.
package flagdsync

//go:generate go run ./generate ../../.. actions/flags/flagdsync/sync.proto
