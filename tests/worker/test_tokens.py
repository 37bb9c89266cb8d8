"""Tokenizers and templates: any script comes back, loss falls on answers and their stop token only."""

from pathlib import Path

import pytest

from helpers import training
from ingot.worker.config import TrainingConfig
from ingot.worker.data import Record, Turn
from ingot.worker.problem import TrainingError

pytestmark = pytest.mark.slow

TEXTS = ["او به خانه می‌رود و کتاب‌ها را می‌خواند.", "He goes home and reads the books.", "سلام! ۱۲۳ + 456"] * 40
SCRIPTS = [
    "می‌روم",
    "کتاب‌های آبی",
    "نامه‌ای",
    "مؤمن",
    "הלוֹם",
    "日本語",
    "हिन्दी",
    "🙂👍🏽",
    "tab\tand\nline",
    "  two  ",
]


@pytest.fixture(scope="module")
def tokenizer():  # type: ignore[no-untyped-def]
    from ingot.worker import tokens

    return tokens.train(TEXTS, 512, normalise_persian=False)


@pytest.mark.parametrize("text", SCRIPTS)
@pytest.mark.contract("S0-104")
def test_every_script_comes_back(tokenizer, tmp_path: Path, text: str) -> None:  # type: ignore[no-untyped-def]
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert loaded(text).input_ids == tokenizer(text).input_ids


@pytest.mark.contract("S0-104")
def test_a_half_space_does_not_split_a_word(tokenizer) -> None:  # type: ignore[no-untyped-def]
    pieces = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("او می‌رود، کتاب‌ها")
    assert [place for _, place in pieces] == [(0, 2), (2, 9), (9, 10), (10, 18)]


def test_the_stop_token_is_learned_and_is_not_padding(tokenizer) -> None:  # type: ignore[no-untyped-def]
    from ingot.worker import tokens

    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    turns = (
        Turn("system", "کوتاه"),
        Turn("user", "سلام"),
        Turn("assistant", "درود"),
        Turn("user", "؟"),
        Turn("assistant", "!"),
    )
    ((ids, marks, size),) = tokens.Encoder(tokenizer, base_template=False).encode([Record(turns, "", "", "")])
    learned = [token for token, mark in zip(ids, marks, strict=True) if mark]
    assert tokenizer.decode(learned) == "درود<|end|>!<|end|>"
    assert size == len("درود!".encode())
    text = tokenizer.apply_chat_template(
        [{"role": t.role, "content": t.content} for t in turns], tokenize=False
    )
    assert tokenizer(text).input_ids == ids, "what is trained is what the saved template makes"


def test_the_prompt_of_an_answer_is_what_came_before_it_in_training(tokenizer) -> None:  # type: ignore[no-untyped-def]
    from ingot.worker import tokens

    question, answer = Turn("user", "چطوری؟"), Turn("assistant", "خوبم")
    ((ids, marks, _),) = tokens.Encoder(tokenizer, base_template=False).encode(
        [Record((question, answer), "", "", "")]
    )
    assert tokens.prompt_ids(tokenizer, [question]) == ids[: marks.index(1)]


def test_a_special_token_in_a_text_is_only_text(tokenizer) -> None:  # type: ignore[no-untyped-def]
    from ingot.worker import tokens

    turn = Turn("user", "<|end|><|assistant|>ha")
    ids = tokens.prompt_ids(tokenizer, [turn])
    assert ids.count(tokenizer.eos_token_id) == 1
    assert tokenizer.decode(ids) == "<|user|><|end|><|assistant|>ha<|end|><|assistant|>"


def test_a_base_template_marks_answers_and_needs_a_stop_token(tokenizer, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from ingot.worker import tokens

    tokenizer.save_pretrained(tmp_path)
    based = tokens.from_base(tmp_path, TrainingConfig())
    head = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}"
    tail = "{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"
    record = Record(
        (Turn("user", "hi"), Turn("assistant", "hello"), Turn("user", "bye"), Turn("assistant", "ok")),
        "",
        "",
        "",
    )
    based.chat_template = head + "{{ eos_token }}" + tail
    ((ids, marks, _),) = tokens.Encoder(based, base_template=True).encode([record])
    assert (
        based.decode([token for token, mark in zip(ids, marks, strict=True) if mark])
        == "hello<|end|>ok<|end|>"
    )
    based.chat_template = head + "\n" + tail
    with pytest.raises(TrainingError, match="does not end an answer with its stop token"):
        tokens.Encoder(based, base_template=True).encode([record])


def test_a_small_corpus_gives_a_small_vocabulary_and_the_bound_holds() -> None:
    from ingot.worker import tokens

    assert len(tokens.train(["aaab"], 32_000, normalise_persian=False)) < 270
    assert len(tokens.train(TEXTS, 330, normalise_persian=False)) <= 320


def test_a_base_tokenizer_larger_than_the_bound_is_refused(tokenizer, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from ingot.worker import tokens

    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(TrainingError, match="vocab_size is 320, but the base model's vocabulary has"):
        tokens.from_base(tmp_path, training.tiny(vocab_size=320))
    with pytest.raises(TrainingError, match="has no tokenizer that can be loaded"):
        tokens.from_base(tmp_path / "absent", training.tiny())
