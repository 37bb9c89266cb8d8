"""Where content comes from: each module speaks to one kind of place. Knows no wire and no database."""
