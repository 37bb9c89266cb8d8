"""The tokenizer, and how a record becomes token ids with a mark on what is learned.

Without a base model a byte-level BPE is trained on the data: it has no unknown character, so any script
passes, and the zero-width non-joiner and combining marks stay inside their word. With a base model its
tokenizer is used, and gets a chat template and a padding token when it has none.

Our chat template is `<|user|>…<|end|><|assistant|>…<|end|>`. Loss falls on answers and on the `<|end|>` after
them, so a model learns to stop; padding is another token, so that lesson is never masked. Text of a record is
encoded with special tokens switched off: a user who writes "<|end|>" has written seven characters.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import tokenizers
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from ingot.worker.config import TrainingConfig
from ingot.worker.data import Record, Turn
from ingot.worker.problem import failed

PAD, END = "<|pad|>", "<|end|>"
ROLE_TOKENS = {"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>"}
SPECIAL_TOKENS = [PAD, END, *ROLE_TOKENS.values()]
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
# A word keeps its half-spaces (U+200C) and marks; numbers go in groups of three; the rest as usual.
WORDS = r" ?[\p{L}\p{M}\u200c]+| ?\p{N}{1,3}| ?[^\s\p{L}\p{M}\p{N}\u200c]+|\s+(?!\S)|\s+".replace(
    r"\u200c", "\u200c"
)
PERSIAN_LETTERS = (("ي", "ی"), ("ك", "ک"))

Tokenizer = transformers.PreTrainedTokenizerFast
Segment = tuple[str | int, bool]  # text to encode or a token id, and whether it is learned
Encoded = tuple[list[int], bytearray, int]  # ids, 1 where learned, UTF-8 bytes of the learned text


def train(texts: Iterable[str], vocab_size: int, normalise_persian: bool) -> Tokenizer:
    """Train a byte-level BPE of at most `vocab_size` tokens; a small corpus gives fewer."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    steps = [normalizers.Replace(old, new) for old, new in PERSIAN_LETTERS] if normalise_persian else []
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), *steps])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size
        - vocab_size % 64,  # the model pads its table to 64 rows and stays under the bound
        min_frequency=2,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    wrapped = Tokenizer(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, clean_up_tokenization_spaces=False
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def from_base(folder: Path, config: TrainingConfig) -> Tokenizer:
    """Take a base model's tokenizer. Raises TrainingError when the folder has none that can be used."""
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        message = f"The base model has no tokenizer that can be loaded: {error}"
        raise failed("CONFIG_CONTRADICTION", message, "Choose a base with tokenizer.json.") from error
    if not isinstance(tokenizer, Tokenizer):
        kind = type(tokenizer).__name__
        message = f"The base model's tokenizer is a {kind}; a fast one (tokenizer.json) is needed."
        raise failed("CONFIG_CONTRADICTION", message, "Choose a base with tokenizer.json.")
    if config.vocab_size is not None and len(tokenizer) > config.vocab_size:
        message = (
            f"vocab_size is {config.vocab_size}, but the base model's vocabulary has {len(tokenizer)} tokens."
        )
        raise failed("CONFIG_CONTRADICTION", message, "Remove vocab_size, or raise it.")
    if config.template == "base" and not tokenizer.chat_template:
        message = "template is base, but the base model has no chat template."
        raise failed("CONFIG_CONTRADICTION", message, "Use template auto or chat.")
    if config.normalise_persian:
        own = tokenizer.backend_tokenizer.normalizer
        steps = [normalizers.Replace(old, new) for old, new in PERSIAN_LETTERS]
        tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([*steps, *([own] if own else [])])
    if tokenizer.eos_token is None:
        tokenizer.add_special_tokens({"eos_token": END})
    if tokenizer.pad_token is None or tokenizer.pad_token == tokenizer.eos_token:
        tokenizer.add_special_tokens({"pad_token": PAD})
    return tokenizer


def use_our_template(tokenizer: Tokenizer) -> None:
    """Give a base tokenizer our chat template and the tokens it needs."""
    missing = [token for token in SPECIAL_TOKENS if token not in tokenizer.get_vocab()]
    tokenizer.add_special_tokens({"additional_special_tokens": missing}, replace_extra_special_tokens=False)
    tokenizer.eos_token = END
    tokenizer.chat_template = CHAT_TEMPLATE


class Encoder:
    """Encodes records in batches with one tokenizer.

    `base_template` renders conversations as the base model does.
    """

    def __init__(self, tokenizer: Tokenizer, base_template: bool) -> None:
        self.tokenizer = tokenizer
        self._base_template = base_template
        self._end = _id(tokenizer, tokenizer.eos_token)
        self._begin = _begin(tokenizer)
        self._roles = {} if base_template else _role_ids(tokenizer)

    def encode(self, records: Sequence[Record]) -> list[Encoded]:
        """Return ids, marks and learned bytes of each record."""
        rows = [self._segments(record) for record in records]
        texts = [part for row in rows for part, _ in row if isinstance(part, str)]
        backend = self.tokenizer.backend_tokenizer
        backend.encode_special_tokens = (
            not self._base_template
        )  # a base template writes its special tokens as text
        coded = iter(backend.encode_batch_fast(texts, add_special_tokens=False))
        backend.encode_special_tokens = False
        found: list[Encoded] = []
        for record, row in zip(records, rows, strict=True):
            ids: list[int] = []
            marks = bytearray()
            size = 0
            for part, learned in row:
                new = [part] if isinstance(part, int) else next(coded).ids
                ids += new
                marks += (b"\x01" if learned else b"\x00") * len(new)
                if learned and isinstance(part, str):
                    size += len(part.encode())
                    if self._base_template and record.turns and self._end not in new:
                        raise _never_stops(self.tokenizer, record)
            found.append((ids, marks, size))
        return found

    def _segments(self, record: Record) -> list[Segment]:
        if not record.turns:
            return [*((token, False) for token in self._begin), (record.text, True), (self._end, True)]
        if self._base_template:
            return self._base_segments(record.turns)
        row: list[Segment] = [(token, False) for token in self._begin]
        for turn in record.turns:
            answer = turn.role == "assistant"
            row += [(self._roles[turn.role], False), (turn.content, answer), (self._end, answer)]
        return row

    def _base_segments(self, turns: Sequence[Turn]) -> list[Segment]:
        """Render growing prefixes: what an assistant turn adds behind its generation prompt is learned."""
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        row: list[Segment] = []
        done = ""
        for count, turn in enumerate(turns, 1):
            if turn.role != "assistant":
                continue
            prompt = self._render(messages[: count - 1], True)
            whole = self._render(messages[:count], False)
            if not (prompt.startswith(done) and whole.startswith(prompt)):
                message = (
                    "The base model's chat template does not grow turn by turn, so answers cannot be marked."
                )
                raise failed("CONFIG_CONTRADICTION", message, "Use template chat.")
            row += [(prompt[len(done) :], False), (whole[len(prompt) :], True)]
            done = whole
        return row

    def _render(self, messages: list[dict[str, str]], prompt: bool) -> str:
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt))


def prompt_ids(tokenizer: Tokenizer, turns: Sequence[Turn]) -> list[int]:
    """Return the tokens that ask for the next answer. Raises TrainingError when there is no chat template."""
    if not tokenizer.chat_template:
        message = "This model has no chat template, so it takes a plain prompt and no messages."
        raise failed("FIELD_INVALID", message, "Send prompt instead of messages.")
    if tokenizer.chat_template != CHAT_TEMPLATE:
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return tokenizer.backend_tokenizer.encode(str(text), add_special_tokens=False).ids
    asked = Record((*turns, Turn("assistant", "")), "", "", "")
    ids, marks, _ = Encoder(tokenizer, base_template=False).encode([asked])[0]
    return ids[: len(ids) - marks.count(1)]


def check_template(tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer whose padding is its stop token: a model trained with it never learns to stop."""
    if tokenizer.pad_token_id == tokenizer.eos_token_id:
        raise failed("CONFIG_CONTRADICTION", f"Padding and end are the same token {tokenizer.eos_token!r}.")


def _never_stops(tokenizer: Tokenizer, record: Record) -> Exception:
    message = (
        f"The base model's chat template does not end an answer with its stop token {tokenizer.eos_token!r}."
    )
    return failed("CONFIG_CONTRADICTION", message, "Use template chat.", file=record.file, place=record.place)


def _role_ids(tokenizer: Tokenizer) -> dict[str, int]:
    vocabulary = tokenizer.get_vocab()
    return {role: vocabulary[token] for role, token in ROLE_TOKENS.items() if token in vocabulary}


def _begin(tokenizer: Tokenizer) -> list[int]:
    """Return the tokens this tokenizer puts before any text, such as a begin token."""
    backend = tokenizer.backend_tokenizer
    ids: list[int] = backend.encode("a", add_special_tokens=True).ids
    plain: list[int] = backend.encode("a", add_special_tokens=False).ids
    return ids[: ids.index(plain[0])]


def _id(tokenizer: Tokenizer, token: str) -> int:
    number = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(number, int)
    return number
