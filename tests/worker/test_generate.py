"""Text from a model, as the agent asks for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import training
from ingot.worker import generation
from ingot.worker.data import Turn
from ingot.worker.generation import Answer, Done, Generator, Piece, Ready, Refused, Request
from ingot.worker.progress import Result

pytestmark = pytest.mark.slow

QUESTION = (Turn("user", "من در شیراز زندگی می‌کنم."),)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("model")
    dataset = training.write_jsonl(root / "d", training.conversations(150))
    config = training.tiny(
        max_steps=150, batch_size=8, epochs=100, learning_rate=1e-2, max_sequence_length=64
    )
    outcome, events = training.run(training.make_spec(dataset, root / "w", config))
    assert outcome.outcome == "succeeded", outcome.problem
    (result,) = training.of(Result, events)
    return Path(result.folder)


@pytest.fixture(scope="module")
def writer(model: Path) -> Iterator[tuple[Generator, Iterator[Answer]]]:
    started = generation.start(model, model.parent / "generate.log", threads=1)
    answers = started.answers()
    ready = next(answers)
    assert isinstance(ready, Ready)
    assert ready.parameters > 10_000
    yield started, answers
    started.close()


def ask(writer: tuple[Generator, Iterator[Answer]], request: Request) -> tuple[list[Piece], Done | Refused]:
    started, answers = writer
    started.send(request)
    pieces: list[Piece] = []
    for answer in answers:
        if isinstance(answer, Piece):
            pieces.append(answer)
        elif isinstance(answer, Done | Refused):
            assert answer.id == request.id
            return pieces, answer
    raise AssertionError(started.stderr_tail())


@pytest.mark.contract("S0-104")
def test_two_questions_get_their_own_answers(writer: tuple[Generator, Iterator[Answer]]) -> None:
    persian, done = ask(writer, Request("1", messages=QUESTION, temperature=0, max_tokens=40))
    assert isinstance(done, Done)
    assert done.reason == "stop"
    assert "".join(piece.text for piece in persian).strip() == "چه خوب!"
    assert sum(piece.tokens for piece in persian) == done.tokens - 1
    english, _ = ask(
        writer, Request("2", messages=(Turn("user", "I live in Yazd."),), temperature=0, max_tokens=40)
    )
    assert "is nice." in "".join(piece.text for piece in english)


def test_a_prompt_is_answered_by_a_model_that_learned_to_answer(
    writer: tuple[Generator, Iterator[Answer]],
) -> None:
    asked, _ = ask(writer, Request("m", messages=QUESTION, temperature=0, max_tokens=40))
    prompted, _ = ask(writer, Request("p", prompt=QUESTION[0].content, temperature=0, max_tokens=40))
    assert "".join(piece.text for piece in prompted) == "".join(piece.text for piece in asked)


def test_the_seed_decides(writer: tuple[Generator, Iterator[Answer]]) -> None:
    def text(seed: int) -> str:
        request = Request("s", prompt="What is", temperature=3.0, top_p=1.0, seed=seed, max_tokens=30)
        return "".join(piece.text for piece in ask(writer, request)[0])

    assert text(1) == text(1)
    assert text(1) != text(2)
    assert "\ufffd" not in text(1) or text(1) == text(1)


def test_the_length_ends_it(writer: tuple[Generator, Iterator[Answer]]) -> None:
    _, done = ask(writer, Request("l", messages=QUESTION, max_tokens=1, temperature=0))
    assert isinstance(done, Done)
    assert (done.reason, done.tokens) == ("length", 1)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request("r"), "either prompt or messages"),
        (Request("r", prompt="x", messages=QUESTION), "either prompt or messages"),
        (Request("r", prompt="x", max_tokens=0), "max_tokens must be 1 or more; got 0"),
        (Request("r", prompt="x", temperature=-1), "temperature must be"),
        (Request("r", prompt="x", top_p=0), "top_p must be above 0"),
        (Request("r", messages=(Turn("alien", "x"),)), "roles are system, user and assistant; got alien"),
        (Request("r", prompt="What is 3 plus 4? " * 50), "the model takes 64"),
    ],
)
def test_a_request_that_cannot_be_answered(
    writer: tuple[Generator, Iterator[Answer]], request_: Request, words: str
) -> None:
    pieces, refused = ask(writer, request_)
    assert isinstance(refused, Refused)
    assert refused.problem.reason == "FIELD_INVALID"
    assert words in refused.problem.message
    assert not pieces


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    started = generation.start(tmp_path, tmp_path / "log", threads=1)
    (answer,) = started.answers()
    assert isinstance(answer, Refused)
    assert answer.id == ""
    assert "cannot be loaded" in answer.problem.message
    started.close()
