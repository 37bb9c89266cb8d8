"""What server and clients must agree on byte for byte: digests, cuts, path rules. Imports nothing of ours."""
