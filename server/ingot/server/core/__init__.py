"""Vocabulary of the server: types, names, states and interfaces. No input or output happens here."""
