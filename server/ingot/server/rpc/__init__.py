"""The gRPC door: wire ↔ core, nothing else. One servicer per service, one table of errors, one pipeline."""
