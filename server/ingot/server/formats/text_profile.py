"""What the text of a sample of records is made of: languages, scripts, letters, digits, odd characters.

Up to PROFILE_BYTES of a file every record counts; of a larger file one in every so many, evenly over the file
(`stride`). Persian is often typed with the Arabic letters yeh and kaf, which look alike and compare unequal:
both are counted, with the half-space (ZWNJ) and the three kinds of digits.
"""

import random
import unicodedata
from collections import Counter
from collections.abc import Mapping

from ingot.server.formats import languages

PROFILE_BYTES = 6 * 1024 * 1024
_TEXTS = 200  # of which the language is told
_SHOWN = 400  # characters of such a text
_LONGEST = 64 * 1024  # characters of one record that are counted
_SEED = 20260102

LETTERS = {
    "arabic_yeh": "ي",
    "persian_yeh": "ی",
    "alef_maksura": "ى",
    "arabic_kaf": "ك",
    "persian_kaf": "ک",
    "teh_marbuta": "ة",
    "heh_with_yeh": "ۀ",
    "zero_width_non_joiner": "\u200c",
    "tatweel": "\u0640",
}
DIGITS = {"latin": "0123456789", "persian": "۰۱۲۳۴۵۶۷۸۹", "arabic_indic": "٠١٢٣٤٥٦٧٨٩"}
_REPLACEMENT = "\ufffd"


class TextProfile:
    """Takes texts of a file; `stride` says which records to give it."""

    def __init__(self, size: int) -> None:
        self.stride = max(1, -(-size // PROFILE_BYTES))
        self._characters: Counter[str] = Counter()
        self._texts = 0
        self._not_normal = 0
        self._sample: list[str] = []
        self._random = random.Random(_SEED)

    def add(self, text: str) -> None:
        """Count one record's text."""
        text = text[:_LONGEST]
        self._texts += 1
        self._characters.update(text)
        if not unicodedata.is_normalized("NFC", text):
            self._not_normal += 1
        if len(self._sample) < _TEXTS:
            self._sample.append(text[:_SHOWN])
        elif (place := self._random.randrange(self._texts)) < _TEXTS:
            self._sample[place] = text[:_SHOWN]

    def document(self) -> dict[str, object]:
        """Return the profile as JSON; nothing when there was no text."""
        counts = self._characters
        if not counts:
            return {}
        return {
            "sampled_records": self._texts,
            "sampled_every": self.stride,
            "sampled_characters": counts.total(),
            "languages": languages.mix(self._sample),
            "scripts": _scripts(counts),
            "letters": {name: counts[letter] for name, letter in LETTERS.items()},
            "digits": {name: sum(counts[each] for each in ten) for name, ten in DIGITS.items()},
            "control_characters": sum(counts[each] for each in counts if _is_control(each)),
            "replacement_characters": counts[_REPLACEMENT],
            "records_not_nfc": self._not_normal,
        }

    def remarks(self) -> list[tuple[str, str]]:
        """Return what somebody should look at, as reason and message."""
        counts = self._characters
        found: list[tuple[str, str]] = []
        for what, arabic, persian in (("yeh", "ي", "ی"), ("kaf", "ك", "ک")):
            if counts[arabic] and counts[persian]:
                both = f"Arabic {what} ({counts[arabic]}) and Persian {what} ({counts[persian]}) are mixed"
                found.append(("mixed_letters", f"{both}; words that look the same are different tokens."))
        digits = {name: sum(counts[each] for each in ten) for name, ten in DIGITS.items()}
        if digits["persian"] and digits["arabic_indic"]:
            both = (
                f"Persian ({digits['persian']}) and Arabic-Indic digits ({digits['arabic_indic']}) are mixed"
            )
            found.append(("mixed_digits", f"{both}; some look alike and are different characters."))
        if counts[_REPLACEMENT]:
            message = f"{counts[_REPLACEMENT]} characters are U+FFFD: the text was decoded wrongly before."
            found.append(("replacement_characters", message))
        return found


def _scripts(counts: Mapping[str, int]) -> dict[str, int]:
    """Count letters by the first word of their Unicode name, which is their script."""
    found: Counter[str] = Counter()
    for character, count in counts.items():
        if character.isalpha():
            found[unicodedata.name(character, "UNKNOWN").partition(" ")[0].lower()] += count
    return dict(found.most_common(10))


def _is_control(character: str) -> bool:
    return character not in "\t\r\n" and unicodedata.category(character) == "Cc"
