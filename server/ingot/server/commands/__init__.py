"""Subcommands of `ingot-server` with a file of their own; all but `serve` work where no server runs."""
