"""What the RPCs say about their errors can be true: reasons exist, and statuses are those of the table."""

import grpc
import pytest

import errors_page
import pages
from ingot.server.core.errors import Reason
from ingot.server.rpc import errors

TOLD = sorted(set(errors_page.told()), key=lambda answer: (answer.rpc, answer.reason, answer.status))


def test_the_page_is_current() -> None:
    assert (pages.DOCS / "errors.md").read_text(encoding="utf-8") == errors_page.page()


@pytest.mark.parametrize("answer", TOLD, ids=lambda answer: f"{answer.rpc}-{answer.reason}")
def test_an_rpc_names_a_reason_and_a_status_that_exist(answer: errors_page.Answer) -> None:
    assert Reason(answer.reason)
    assert grpc.StatusCode[answer.status] in {*errors.STATUS_OF.values(), grpc.StatusCode.INTERNAL}


def test_every_reason_has_a_meaning() -> None:
    assert set(errors_page.reasons()) == {reason.value for reason in Reason}
    assert [reason for reason, meaning in errors_page.reasons().items() if len(meaning) < 10] == []
