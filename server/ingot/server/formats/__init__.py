"""Formats of files and the checks of their content."""
