"""Where data processes serve: which of them are there now, and what of that a caller is told."""


class DataAddresses:
    """Kept by who runs data processes, told by GetCapabilities. Changed by one thread, the loop's.

    `wanted` is how many there should be.
    """

    def __init__(self) -> None:
        self.wanted = 0
        self._serving: dict[int, tuple[str, str]] = {}

    def began(self, number: int, port: str, socket: str) -> None:
        """Note that a process serves: at a port of this host, and at a unix socket."""
        self._serving[number] = (f":{port}", f"unix:{socket}")

    def ended(self, number: int) -> None:
        """Note that it does not serve any more."""
        self._serving.pop(number, None)

    @property
    def serving(self) -> int:
        """How many serve now; for any thread."""
        return len(self._serving)

    def told(self, *, local: bool) -> list[str]:
        """Return the unix sockets for callers that came over one, `:port` for the others."""
        return [self._serving[number][local] for number in sorted(self._serving)]
