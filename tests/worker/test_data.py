"""Reading datasets: every format, every script, and a clear word about every bad row."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import training
from ingot.worker import data, formats
from ingot.worker.config import TrainingConfig
from ingot.worker.data import Reader, Record, Turn
from ingot.worker.problem import TrainingError

HALF_SPACE = "می‌روم"


def read(folder: Path, **changes: object) -> list[Record]:
    return list(Reader(folder, TrainingConfig(**changes)).records())  # type: ignore[arg-type]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return folder


ANSWER = (Turn("user", "سلام؟"), Turn("assistant", HALF_SPACE))


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "سلام؟"}, {"role": "assistant", "content": HALF_SPACE}]},
        {"conversations": [{"from": "human", "value": "سلام؟"}, {"from": "gpt", "value": HALF_SPACE}]},
        {"question": "سلام؟", "answer": HALF_SPACE, "id": 7},
        {"prompt": "سلام؟", "response": HALF_SPACE},
        {"instruction": "سلام؟", "output": HALF_SPACE, "input": ""},
        {"پرسش": "سلام؟", "پاسخ": HALF_SPACE},
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "سلام؟"}]},
                {"role": "assistant", "content": HALF_SPACE},
                {"role": "user", "content": "بعد؟"},
            ]
        },
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "deep/er/a.json", "object.json"])
@pytest.mark.contract("S0-104")
def test_conversations_in_json(tmp_path: Path, row: dict[str, object], name: str) -> None:
    text = json.dumps(row, ensure_ascii=False)
    content = {"a.jsonl": text + "\n\n" + text, "deep/er/a.json": f"[{text}, {text}]", "object.json": text}[
        name
    ]
    records = read(write(tmp_path, name, content))
    assert [record.turns for record in records] == [ANSWER] * (1 if name == "object.json" else 2)


def test_questions_in_csv_with_quotes_and_newlines(tmp_path: Path) -> None:
    write(
        tmp_path,
        "a.csv",
        '\ufeffquestion,answer\r\n"one, ""two""\nthree",yes\r\nسلام؟,' + HALF_SPACE + "\r\n",
    )
    records = read(tmp_path)
    assert records[0].turns == (Turn("user", 'one, "two"\nthree'), Turn("assistant", "yes"))
    assert records[1].turns == ANSWER
    assert records[1].place == "line 4"


def test_text_is_cut_at_blank_lines_and_when_long(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "یک\nدو\n\n\nسه\n")
    assert [(record.text, record.place) for record in read(tmp_path)] == [
        ("یک\nدو", "line 1"),
        ("سه", "line 5"),
    ]
    write(tmp_path, "a.txt", "a line of text\n" * 5000)
    records = read(tmp_path)
    assert len(records) > 5
    assert sum(record.text.count("a line") for record in records) == 5000


def test_named_fields(tmp_path: Path) -> None:
    training.write_jsonl(tmp_path, [{"q": "1", "a": "2", "t": "3"}])
    assert read(tmp_path, prompt_field="q", answer_field="a")[0].turns == (
        Turn("user", "1"),
        Turn("assistant", "2"),
    )
    assert read(tmp_path, text_field="t")[0].text == "3"


def test_text_is_brought_to_nfc_and_nothing_else(tmp_path: Path) -> None:
    training.write_jsonl(tmp_path, [{"text": "e\u0301 آب ي ك " + HALF_SPACE}])
    assert read(tmp_path)[0].text == "é آب ي ك " + HALF_SPACE


BAD = [
    ("a.jsonl", '{"text": "x"}\n{"text": "y"', "a.jsonl, line 2", "not a whole JSON value"),
    ("a.jsonl", '{"text": "x"}\n[1]', "a.jsonl, line 2", "expected an object or a text; got list"),
    ("a.jsonl", b'{"text": "x"}\n{"text": "\xff"}', "a.jsonl, line 2", "not UTF-8"),
    ("a.jsonl", '{"text": ""}', "a.jsonl, line 1", "text is empty"),
    ("a.jsonl", '{"text": 3}', "a.jsonl, line 1", "text must be a text; got int"),
    ("a.jsonl", '{"text": "\\ud800"}', "a.jsonl, line 1", "half a surrogate pair"),
    ("a.jsonl", '{"x": "y"}', "a.jsonl, line 1", "no known field"),
    ("a.jsonl", '{"messages": []}', "a.jsonl, line 1", "must be a list of turns"),
    ("a.jsonl", '{"messages": [{"role": "user", "content": "x"}]}', "line 1", "no assistant turn"),
    ("a.jsonl", '{"messages": [{"role": "alien", "content": "x"}]}', "line 1", "'alien'; expected system"),
    ("a.jsonl", '{"messages": [{"role": "assistant"}]}', "line 1", "must be a text; got nothing"),
    ("a.jsonl", '{"question": "x", "answer": " "}', "line 1", "answer is empty"),
    ("a.json", '[{"text": "x"}, {"text": "y"', "a.json, record 2", "not a whole JSON value"),
    ("a.json", '[{"text": "x"} {"text": "y"}]', "a.json, record 1", "expected a comma or ]"),
    ("a.json", b'[{"text": "\xff\xff\xff\xff"}]', "a.json, byte 12", "not UTF-8"),
    ("a.csv", "text\nx,y\n", "a.csv, line 2", "expected 1 columns (text); got 2"),
    ("a.csv", 'text\n"x\n', "a.csv, line 2", "not valid CSV"),
    ("a.csv", "question,reply\nx,y\n", "a.csv, line 2", "got question, reply"),
    ("a.txt", b"fine\n\xc3\x28\n", "a.txt, line 2", "not UTF-8"),
]


@pytest.mark.parametrize(("name", "content", "place", "words"), BAD)
def test_a_bad_row_is_named(tmp_path: Path, name: str, content: str | bytes, place: str, words: str) -> None:
    with pytest.raises(TrainingError) as caught:
        read(write(tmp_path, name, content))
    assert caught.value.problem.reason == "VALIDATION_FAILED"
    assert place in caught.value.problem.message
    assert words in caught.value.problem.message
    assert caught.value.problem.next_step


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.txt"])
def test_an_empty_file_has_no_rows(tmp_path: Path, name: str) -> None:
    with pytest.raises(TrainingError) as caught:
        read(write(tmp_path, name, "[]" if name == "a.json" else ""))
    assert "no rows" in str(caught.value)


def test_a_folder_without_data(tmp_path: Path) -> None:
    write(tmp_path, "readme.md", "x")
    with pytest.raises(TrainingError, match=r"no file to train on; expected \.csv"):
        read(tmp_path)


def test_one_huge_line_is_refused_before_it_is_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "a.jsonl").open("wb") as file:
        os.ftruncate(file.fileno(), formats.LARGEST_ROW + 10)
    with pytest.raises(TrainingError, match="line 1: the line is longer"):
        read(tmp_path)


def test_templates_refuse_the_other_kind_of_row(tmp_path: Path) -> None:
    folder = training.write_jsonl(tmp_path, [{"text": "x"}, {"question": "x", "answer": "y"}])
    assert len(read(folder)) == 2
    with pytest.raises(TrainingError, match="line 2: the row is a conversation, but template is plain"):
        read(folder, template="plain")
    with pytest.raises(TrainingError, match="line 1: the row is plain text, but template is chat"):
        read(folder, template="chat")


@given(
    st.lists(
        st.dictionaries(st.just("text"), st.text(st.characters(codec="utf-8"), min_size=1), min_size=1),
        max_size=20,
    )
)
def test_a_json_array_is_read_like_json_does(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")
    assert [row for _, row in formats.read_rows(path, "a.json")] == rows


def test_a_json_array_larger_than_the_buffer(tmp_path: Path) -> None:
    rows = [{"text": "ی" * 700_000, "n": number} for number in range(3)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    assert [row for _, row in formats.read_rows(path, "a.json")] == rows


def record(number: int) -> Record:
    return Record((), f"record {number}", "", "")


@pytest.mark.contract("S0-79", "S0-80", "S0-81")
def test_splits_have_their_shares_and_survive_appends() -> None:
    config = TrainingConfig(train_split=0.7, val_split=0.2, test_split=0.1)
    first = {number: data.split_of(record(number), config) for number in range(4000)}
    shares = {split: list(first.values()).count(split) / len(first) for split in data.SPLITS}
    assert shares == pytest.approx({"train": 0.7, "val": 0.2, "test": 0.1}, abs=0.03)
    elsewhere = Record((), "record 7", "another.jsonl", "line 9000")
    assert data.split_of(elsewhere, config) == first[7], "equal records are in one split wherever they stand"
    everything = TrainingConfig(train_split=1.0, val_split=0.0, test_split=0.0)
    assert {data.split_of(record(number), everything) for number in range(500)} == {"train"}


@pytest.mark.contract("S0-83")
def test_augmentation_makes_persian_spellings_and_shorter_conversations() -> None:
    long = Record((*ANSWER, Turn("user", "کتاب ۱۲ می‌خواهم"), Turn("assistant", "باشد")), "", "", "")
    off, on = TrainingConfig(), TrainingConfig(data_augmentation=True)
    assert data.variants(long, off) == []
    found = [
        variant
        for seed in range(60)
        for variant in data.variants(long, TrainingConfig(data_augmentation=True, seed=seed))
    ]
    prompts = {variant.turns[2].content for variant in found if len(variant.turns) == 4}
    assert prompts == {"كتاب ۱۲ می‌خواهم".replace("ی", "ي"), "کتاب ۱۲ می خواهم", "کتاب 12 می‌خواهم"}
    assert {variant.turns for variant in found if len(variant.turns) == 2} == {ANSWER}
    answers = {turn.content for variant in found for turn in variant.turns if turn.role == "assistant"}
    assert answers == {HALF_SPACE, "باشد"}, "an answer is never respelled"
    assert data.variants(long, on) == data.variants(long, on)
