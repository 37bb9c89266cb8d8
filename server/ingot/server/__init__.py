"""The Ingot server: a gRPC door, one set of rules, two kinds of shelf. Start reading in server/README.md."""
