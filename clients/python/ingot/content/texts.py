"""How texts that others wrote are named in messages."""

LONGEST = 200  # characters


def shortened(text: str, longest: int = LONGEST) -> str:
    """Return a text cut to so many characters, with … where something is left out."""
    return text if len(text) <= longest else f"{text[:longest]}…"
