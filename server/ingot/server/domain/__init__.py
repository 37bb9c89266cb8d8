"""The rules: a class for each feature, a method for each thing one may ask. Knows no wire and no database."""
