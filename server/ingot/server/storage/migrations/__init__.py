"""Numbered steps of the schema, one file per change, applied in order by storage/migration_runner.py.

A file defines ``up(migrator, db)`` and declares the tables it makes as frozen copies: it never imports
tables/, which moves on. It runs in one transaction. An applied file is never edited: add the next number.
"""
