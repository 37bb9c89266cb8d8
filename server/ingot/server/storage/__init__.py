"""Rows (Peewee over SQLite) and packs: the shelves behind the interfaces of core/stores.py."""
