"""Wrong passwords cost pauses that grow and end, for whoever types them and for nobody else."""

import dataclasses

import pytest

from ingot.server.core.errors import Exhausted, Reason
from ingot.server.domain import login_attempts as rules
from ingot.server.domain.login_attempts import LoginAttempts


@dataclasses.dataclass(slots=True)
class HandClock:
    time: float = 1000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def attempts(clock: HandClock) -> LoginAttempts:
    return LoginAttempts(clock)


def wrong(attempts: LoginAttempts, times: int, user: str = "sara", address: str = "10.0.0.1") -> None:
    for _ in range(times):
        with attempts.attempt(user, address):
            pass


def right(attempts: LoginAttempts, user: str = "sara", address: str = "10.0.0.1") -> None:
    with attempts.attempt(user, address) as attempt:
        attempt.succeeded()


def locked_for(attempts: LoginAttempts, user: str = "sara", address: str = "10.0.0.1") -> float:
    with pytest.raises(Exhausted) as caught, attempts.attempt(user, address):
        pass
    assert caught.value.reason is Reason.LOGIN_LOCKED
    assert caught.value.retry_after is not None
    return caught.value.retry_after


def test_pauses_double_up_to_the_longest_and_none_is_longer(
    attempts: LoginAttempts, clock: HandClock
) -> None:
    wrong(attempts, rules.FREE)
    pauses = []
    for _ in range(12):
        pauses.append(locked_for(attempts))
        clock.time += pauses[-1]
        wrong(attempts, 1)
    assert pauses[:4] == [10.0, 20.0, 40.0, 80.0]
    assert pauses[-1] == max(pauses) == rules.LONGEST_PAUSE


def test_an_attempt_in_a_pause_does_not_prolong_it(attempts: LoginAttempts, clock: HandClock) -> None:
    wrong(attempts, rules.FREE)
    for _ in range(50):
        locked_for(attempts)
    clock.time += rules.FIRST_PAUSE
    right(attempts)


def test_other_users_and_other_addresses_are_not_affected(attempts: LoginAttempts) -> None:
    wrong(attempts, rules.FREE)
    locked_for(attempts)
    right(attempts, address="10.0.0.2")
    right(attempts, user="omid")


def test_a_right_one_or_an_hour_forgets_the_wrong_ones(attempts: LoginAttempts, clock: HandClock) -> None:
    wrong(attempts, rules.FREE - 1)
    right(attempts)
    wrong(attempts, rules.FREE - 1)
    clock.time += rules.FORGOTTEN_AFTER
    wrong(attempts, rules.FREE - 1)
    right(attempts)


def test_what_nobody_looked_at_counts_for_nothing(attempts: LoginAttempts) -> None:
    for _ in range(3 * rules.ADDRESS_BURST):
        with attempts.attempt("sara", "10.0.0.1") as attempt:
            attempt.was_not_heard()
    right(attempts)


def test_those_that_run_count_as_wrong_until_they_are_right(attempts: LoginAttempts) -> None:
    running = [attempts.attempt("sara", "10.0.0.1") for _ in range(rules.FREE)]
    begun = [each.__enter__() for each in running]
    locked_for(attempts)
    begun[0].succeeded()
    for each in running:
        each.__exit__(None, None, None)
    right(attempts)


def test_one_address_that_tries_many_users_has_an_allowance(
    attempts: LoginAttempts, clock: HandClock
) -> None:
    for number in range(rules.ADDRESS_BURST):
        wrong(attempts, 1, user=f"user-{number}")
    assert locked_for(attempts, user="somebody") == pytest.approx(rules.ADDRESS_SECONDS)
    clock.time += rules.ADDRESS_SECONDS
    right(attempts, user="somebody")  # and gives its own back
    right(attempts, user="somebody-else")


def test_an_ipv6_network_is_one_address(attempts: LoginAttempts) -> None:
    for number in range(rules.FREE):
        wrong(attempts, 1, address=f"2001:db8::{number:x}")
    locked_for(attempts, address="2001:db8::ffff")
    right(attempts, address="2001:db8:0:1::1")


def test_memory_is_bounded_whatever_is_typed(attempts: LoginAttempts) -> None:
    for number in range(3 * rules._MOST):
        with attempts.attempt(f"user-{number}", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"):
            pass
    assert len(attempts._counts) <= rules._MOST
    assert len(attempts._addresses) <= rules._MOST
