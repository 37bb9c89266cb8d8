"""What the card of a Hub repository says about it, in the words of our catalog.

Cards are written by people: what does not fit our rules is left out, it never stops an import.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingot.server.core import texts
from ingot.server.core.errors import Invalid

if TYPE_CHECKING:
    from huggingface_hub.hf_api import DatasetInfo, ModelInfo

_MOST_TAGS = 32
_MOST_LANGUAGES = 16
_TAG_LIMIT = 64
_LICENSE_LIMIT = 100
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
# The Hub repeats facts as tags: license:mit, region:us, arxiv:1910.10683, …
_REPEATED = re.compile(r"[a-z_]+:.*")


@dataclass(frozen=True, slots=True)
class HubCard:
    """What is said about a repository; empty is not said."""

    license: str = ""
    language: str = ""
    tags: tuple[str, ...] = ()
    task_type: str = ""
    framework: str = ""
    model_type: str = ""


def read_card(info: "ModelInfo | DatasetInfo") -> HubCard:
    """Return what the Hub tells of a repository."""
    card = getattr(info, "card_data", None)
    config = getattr(info, "config", None)
    tasks = getattr(info, "pipeline_tag", None) or _first(_field(card, "task_categories"))
    spoken = _texts(_field(card, "language"))
    languages = [each for each in spoken if _LANGUAGE.fullmatch(each)][:_MOST_LANGUAGES]
    tags = [each for each in _texts(info.tags) if not _REPEATED.fullmatch(each) and each not in spoken]
    return HubCard(
        license=_kept(_first(_field(card, "license")), _license),
        language=",".join(dict.fromkeys(languages)),
        tags=tuple(each for each in tags if "," not in each and _kept(each, _tag))[:_MOST_TAGS],
        task_type=_kept(str(tasks or ""), _word),
        framework=_kept(str(getattr(info, "library_name", None) or ""), _word),
        model_type=_kept(_first(config.get("model_type") if isinstance(config, dict) else None), _word),
    )


def _field(card: object, name: str) -> object:
    return getattr(card, name, None)


def _texts(value: object) -> list[str]:
    several: Iterable[object] = value if isinstance(value, list | tuple) else [value]
    return [each.strip() for each in several if isinstance(each, str) and each.strip()]


def _first(value: object) -> str:
    return next(iter(_texts(value)), "")


def _license(text: str) -> str:
    return texts.line("license", text, _LICENSE_LIMIT)


def _tag(text: str) -> str:
    return texts.line("tag", text.casefold(), _TAG_LIMIT)


def _word(text: str) -> str:
    return texts.word("card", text)


def _kept(text: str, rule: Callable[[str], str]) -> str:
    """Return a text in our form, "" when it breaks the rule or holds what nobody could see."""
    try:
        return rule(text) if text.isprintable() else ""
    except Invalid:
        return ""
