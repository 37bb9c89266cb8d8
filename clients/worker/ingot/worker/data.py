"""Turn a dataset folder into training records: what a row means, which split it is in, which variants it
gets.

    file → formats.read_rows → (place, row) → `Reader` → Record → `split_of` → `variants` (when training)

A record is a conversation (turns with roles) or a plain text. Rows are understood by their keys: `messages`
or `conversations`, a pair such as question and answer, or a text. Text is brought to NFC and nothing else:
the zero-width non-joiner of Persian stays. The split is a function of the record's own text, so it survives
appended rows, and two equal records are always in the same split. No torch.
"""

import os
import random
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from ingot.worker import formats
from ingot.worker.config import TrainingConfig
from ingot.worker.formats import Row, bad_row
from ingot.worker.problem import failed

SPLITS = ("train", "val", "test")
CONVERSATION_KEYS = ("messages", "conversations", "conversation", "dialogue", "turns")
ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
PAIRS = (
    ("question", "answer"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("prompt", "response"),
    ("prompt", "completion"),
    ("prompt", "answer"),
    ("query", "response"),
    ("input", "output"),
    ("user", "assistant"),
    ("پرسش", "پاسخ"),
    ("سوال", "جواب"),
)
TEXTS = ("text", "content", "body", "متن")
VARIANT_SHARE = 0.5  # of the records a kind of augmentation can change

_ARABIC_TO_PERSIAN = str.maketrans({"ي": "ی", "ك": "ک", "ة": "ه"})
_PERSIAN_TO_ARABIC = str.maketrans({"ی": "ي", "ک": "ك"})
_PERSIAN_DIGITS = str.maketrans("۰۱۲۳۴۵۶۷۸۹", "0123456789")
_LATIN_DIGITS = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
_NON_JOINER = "\u200c"


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Record:
    """One unit of training: `turns` of a conversation, or a plain `text` (then `turns` is empty)."""

    turns: tuple[Turn, ...]
    text: str
    file: str
    place: str

    def canonical(self) -> bytes:
        """Return the bytes that stand for the record's content, wherever it came from."""
        parts = [self.text] + [part for turn in self.turns for part in (turn.role, turn.content)]
        return "\x00".join(parts).encode("utf-8")


def data_files(folder: Path) -> list[Path]:
    """List the files of a dataset that hold rows, in a fixed order.

    Raises TrainingError when there are none.
    """
    found = [
        Path(where) / name
        for where, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in formats.READERS and not name.startswith(".")
    ]
    if not found:
        kinds = ", ".join(sorted(formats.READERS))
        message = f"The dataset holds no file to train on; expected {kinds}."
        raise failed("VALIDATION_FAILED", message, "Push a dataset with such files.")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


class Reader:
    """Reads a dataset folder as records, as the config says; `bytes_read` tells how far it is."""

    def __init__(self, folder: Path, config: TrainingConfig) -> None:
        self._folder = folder
        self._config = config
        self.files = data_files(folder)
        self.total_bytes = sum(path.stat().st_size for path in self.files)
        self.bytes_read = 0

    def records(self) -> Iterator[Record]:
        """Yield every record.

        Raises TrainingError VALIDATION_FAILED at the first bad row, or when there is none.
        """
        self.bytes_read, count = 0, 0
        for path in self.files:
            name = path.relative_to(self._folder).as_posix()
            for place, row in formats.read_rows(path, name):
                count += 1
                yield self._record(row, name, place)
            self.bytes_read += path.stat().st_size
        if not count:
            names = ", ".join(path.name for path in self.files[:5])
            raise failed(
                "VALIDATION_FAILED", f"The dataset has no rows ({names}).", "Push a dataset with rows."
            )

    def _record(self, row: Row, name: str, place: str) -> Record:
        turns, text = self._meaning(row, name, place)
        if turns and self._config.template == "plain":
            raise bad_row(
                name, place, "the row is a conversation, but template is plain.", "Use template auto."
            )
        if not turns and self._config.template in ("chat", "base"):
            message = f"the row is plain text, but template is {self._config.template}."
            raise bad_row(
                name, place, message, "Use template auto or plain, or name prompt_field and answer_field."
            )
        return Record(turns, text, name, place)

    def _meaning(self, row: Row, name: str, place: str) -> tuple[tuple[Turn, ...], str]:
        config = self._config
        if isinstance(row, str):
            return (), _clean(row, "the text", name, place)
        if config.text_field:
            return (), _clean(row.get(config.text_field), config.text_field, name, place)
        if config.prompt_field:
            return _pair(row, config.prompt_field, config.answer_field, name, place), ""
        for key in CONVERSATION_KEYS:
            if key in row:
                return _conversation(row[key], key, name, place), ""
        for prompt, answer in PAIRS:
            if prompt in row and answer in row:
                return _pair(row, prompt, answer, name, place), ""
        for key in TEXTS:
            if key in row:
                return (), _clean(row[key], key, name, place)
        got = ", ".join(row) or "none"
        message = f"no known field; expected messages, question and answer, or text; got {got}."
        raise bad_row(
            name, place, message, "Name text_field, or prompt_field and answer_field, in the config."
        )


def split_of(record: Record, config: TrainingConfig) -> str:
    """Return train, val or test: a function of the record's content and the three shares only."""
    place = int.from_bytes(blake3(record.canonical()).digest(8), "big") / 2**64
    if place < config.test_split:
        return "test"
    return "val" if place < config.test_split + config.val_split else "train"


def variants(record: Record, config: TrainingConfig) -> list[Record]:
    """Return the additional training records of one record; none unless data_augmentation is on.

    Two kinds, each drawn for half of the records it can change, by seed and content: (a) another spelling
    that Persian texts are met in: Arabic yeh and kaf or Persian ones, half-space or space, Persian or Latin
    digits, in the prompts and the plain text but never in an answer; (b) the beginning of a longer
    conversation, ending at an earlier answer.
    """
    if not config.data_augmentation:
        return []
    draw = random.Random(blake3(f"{config.seed}:".encode() + record.canonical()).digest())
    found: list[Record] = []
    spelling = draw.choice((_other_letters, _other_spaces, _other_digits))
    turns = tuple(
        turn if turn.role == "assistant" else Turn(turn.role, spelling(turn.content)) for turn in record.turns
    )
    respelled = Record(turns, spelling(record.text), record.file, record.place)
    if respelled != record and draw.random() < VARIANT_SHARE:
        found.append(respelled)
    answers = [index for index, turn in enumerate(record.turns) if turn.role == "assistant"]
    if len(answers) > 1 and draw.random() < VARIANT_SHARE:
        end = draw.choice(answers[:-1]) + 1
        found.append(Record(record.turns[:end], "", record.file, record.place))
    return found


def _other_letters(text: str) -> str:
    persian = text.translate(_ARABIC_TO_PERSIAN)
    return persian if persian != text else text.translate(_PERSIAN_TO_ARABIC)


def _other_spaces(text: str) -> str:
    return text.replace(_NON_JOINER, " ")


def _other_digits(text: str) -> str:
    latin = text.translate(_PERSIAN_DIGITS)
    return latin if latin != text else text.translate(_LATIN_DIGITS)


def _conversation(value: object, key: str, name: str, place: str) -> tuple[Turn, ...]:
    if not isinstance(value, list) or not value:
        raise bad_row(name, place, f"{key} must be a list of turns; got {type(value).__name__}.")
    turns: list[Turn] = []
    for number, turn in enumerate(value, 1):
        where = f"{key}[{number}]"
        if not isinstance(turn, dict):
            raise bad_row(name, place, f"{where} must be an object; got {type(turn).__name__}.")
        role = ROLES.get(str(turn.get("role", turn.get("from", ""))).lower())
        if role is None:
            got = turn.get("role", turn.get("from"))
            raise bad_row(name, place, f"{where} has the role {got!r}; expected system, user or assistant.")
        content = turn.get("content", turn.get("value", turn.get("text")))
        turns.append(Turn(role, _clean(_joined(content), f"{where} content", name, place)))
    while turns and turns[-1].role != "assistant":  # nothing to learn after the last answer
        turns.pop()
    if not turns:
        raise bad_row(name, place, f"{key} has no assistant turn, so there is nothing to learn.")
    return tuple(turns)


def _joined(content: object) -> object:
    """Join content given as parts of type text; anything else is returned as it is."""
    if isinstance(content, list) and all(isinstance(part, dict) and "text" in part for part in content):
        return "".join(str(part["text"]) for part in content)
    return content


def _pair(row: Mapping[str, object], prompt: str, answer: str, name: str, place: str) -> tuple[Turn, ...]:
    turns: list[Turn] = []
    if isinstance(system := row.get("system"), str) and system.strip():
        turns.append(Turn("system", _clean(system, "system", name, place)))
    question = _clean(row.get(prompt), prompt, name, place)
    if prompt == "instruction" and isinstance(extra := row.get("input"), str) and extra.strip():
        question = f"{question}\n{_clean(extra, 'input', name, place)}"
    turns.append(Turn("user", question))
    turns.append(Turn("assistant", _clean(row.get(answer), answer, name, place)))
    return tuple(turns)


def _clean(value: object, what: str, name: str, place: str) -> str:
    if not isinstance(value, str):
        raise bad_row(
            name, place, f"{what} must be a text; got {'nothing' if value is None else type(value).__name__}."
        )
    if not value.strip():
        raise bad_row(name, place, f"{what} is empty.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise bad_row(
            name, place, f"{what} holds half a surrogate pair at character {error.start + 1}."
        ) from error
    return unicodedata.normalize("NFC", value)
