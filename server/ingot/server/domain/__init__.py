"""The rules: one class per feature, one method per thing a caller may ask. Knows no protocol and no database."""
