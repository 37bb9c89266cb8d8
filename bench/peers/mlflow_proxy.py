"""An MLflow tracking server that keeps artifacts for its clients, over HTTP."""

from pathlib import Path

from peers.peer import LARGE, SMALL, VERIFIED, Case, Found, Peer
from processes import Command, Server, free_port

_CLIENT = Path(__file__).parent / "mlflow_client.py"


class Mlflow(Peer):
    """One worker; a run for each key."""

    name = "MLflow artifact proxy"
    group = VERIFIED
    note = "a file a request, nothing made durable; its client takes seconds to start"
    cases = LARGE - {Case.READ} | SMALL
    by_request = True

    def __init__(self, folder: Path, found: Found) -> None:
        self._python = found.python("mlflow")
        work = folder / "mlflow"
        self.stored = self.kept = work / "artifacts"
        self.stored.mkdir(parents=True)
        port = free_port()
        words: list[str | Path] = [
            self._python,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        words += ["--workers", "1", "--backend-store-uri", f"sqlite:///{work}/mlflow.db"]
        words += ["--artifacts-destination", str(self.stored)]
        self.server = Server(words, port=port, folder=work)
        self._environment = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}

    def push(self, source: Path, key: str) -> Command:
        """Log it in the key's run."""
        return self._run("push", key, source)

    def pull(self, key: str, name: str, target: Path) -> Command:
        """Download it."""
        return self._run("pull", key, name, target)

    def _run(self, verb: str, key: str, *words: str | Path) -> Command:
        return Command([self._python, _CLIENT, verb, key, *words], self._environment)
