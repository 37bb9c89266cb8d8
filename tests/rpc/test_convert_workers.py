"""What workers say about themselves and their work: taken in its form, or refused by its field."""

import pytest
from google.protobuf import timestamp_pb2

from ingot.server.core.errors import Invalid
from ingot.server.rpc import convert_workers as convert
from ingot.v1 import common_pb2, workers_pb2

CPU = workers_pb2.Device(kind="cpu", name="EPYC", count=2)


def test_a_machine_is_told_in_plain_words() -> None:
    facts = convert.facts_of(
        workers_pb2.RegisterWorkerRequest(
            display_name=" جعبه ",
            devices=[CPU],
            versions={"torch": "2.8"},
            missing_software=["deepspeed: not found\ninstall it"],
        )
    )
    assert (facts.display_name, facts.devices[0].name) == ("جعبه", "EPYC")
    assert facts.versions == {"torch": "2.8"}
    assert facts.missing_software == ("deepspeed: not found\ninstall it",)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (workers_pb2.RegisterWorkerRequest(display_name="a\x1b[2J"), "display_name"),
        (workers_pb2.RegisterWorkerRequest(display_name="a\nworker_2 ONLINE"), "display_name"),
        (
            workers_pb2.RegisterWorkerRequest(devices=[CPU, workers_pb2.Device(kind="cuda", name="\x07")]),
            r"devices\[1\]\.name",
        ),
        (workers_pb2.RegisterWorkerRequest(versions={"torch": "2\n3"}), "versions"),
        (workers_pb2.RegisterWorkerRequest(missing_software=["x" * 3000]), "missing_software"),
    ],
)
def test_names_that_could_pass_for_other_output_are_refused(
    request_: workers_pb2.RegisterWorkerRequest, field: str
) -> None:
    with pytest.raises(Invalid, match=field):
        convert.facts_of(request_)


@pytest.mark.parametrize("seconds", [2**62, -(2**62), 253_402_300_800])
def test_times_that_are_no_dates_are_refused(seconds: int) -> None:
    far = timestamp_pb2.Timestamp(seconds=seconds)
    log = common_pb2.LogLine(text="hello")
    with pytest.raises(Invalid, match=r"events\[1\]\.time"):
        convert.events_of([workers_pb2.ReportedEvent(log=log), workers_pb2.ReportedEvent(time=far, log=log)])
    ended = workers_pb2.FinishWorkRequest(
        outcome=workers_pb2.WORK_OUTCOME_FAILED, problem=common_pb2.Problem(time=far)
    )
    with pytest.raises(Invalid, match=r"problem\.time"):
        convert.ending_of(ended, 1.0)
