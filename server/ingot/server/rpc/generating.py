"""GenerateText: offer the work, wait for a worker, pass its text on; stop it when the client leaves."""

from collections.abc import AsyncGenerator

from ingot.server.core.clock import Clock
from ingot.server.core.generation import GenerationDone, GenerationRequest
from ingot.server.core.identity import Caller
from ingot.server.core.names import VersionReference
from ingot.server.domain.generation import Generations, no_worker
from ingot.server.domain.generation_offers import GenerationOffers, Offer
from ingot.server.rpc import convert_training as convert
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.tails import Tails
from ingot.v1 import training_pb2

Reply = training_pb2.GenerateTextResponse


class TextStreams:
    """The streams of generated text of one server; waits for a worker at most `wait_seconds`."""

    def __init__(
        self,
        hops: Hops,
        offers: GenerationOffers,
        generations: Generations,
        tails: Tails,
        clock: Clock,
        wait_seconds: float,
    ) -> None:
        self._hops = hops
        self._offers = offers
        self._generations = generations
        self._tails = tails
        self._clock = clock
        self._wait_seconds = wait_seconds

    async def stream(
        self, caller: Caller, model: VersionReference, request: GenerationRequest
    ) -> AsyncGenerator[Reply, None]:
        """Yield waiting, then text as it comes, then done."""
        offer = await self._hops.write(self._offers.make, caller, model, request)
        with self._tails.watch(offer.name) as tail:
            self._generations.open(offer.name, offer.version.name, offer.version.digest, request)
            try:
                why = await self._hops.read(self._offers.why_waiting)
                yield _waiting("", f"Waits for a worker: {why}.")
                deadline = self._clock.monotonic() + self._wait_seconds
                worker, shown = "", 0
                while True:
                    version = tail.version
                    view = self._generations.view(offer.name, shown)
                    if view.worker != worker:
                        worker = view.worker
                        deadline = self._clock.monotonic() + self._wait_seconds
                        yield _taken(worker)
                    for piece in view.pieces:
                        yield Reply(text=piece)
                    shown += len(view.pieces)
                    if view.done is not None:
                        yield _done(offer, view.done)
                        return
                    left = deadline - self._clock.monotonic()
                    if not worker and left <= 0:
                        raise no_worker(self._wait_seconds, await self._hops.read(self._offers.why_waiting))
                    await tail.wait(version, self._wait_seconds if worker else left)
            finally:
                self._generations.close(offer.name)


def _waiting(worker: str, message: str) -> Reply:
    return Reply(waiting=training_pb2.GenerationWaiting(worker=worker, message=message))


def _taken(worker: str) -> Reply:
    if not worker:
        return _waiting("", "Its worker was lost; waits for another one.")
    return _waiting(f"workers/{worker}", f"workers/{worker} loads the model.")


def _done(offer: Offer, done: GenerationDone) -> Reply:
    return Reply(done=convert.generation_done(done, str(offer.version.name), offer.version.digest))
