"""The client that is measured: one push, pull or read through the SDK, in a process of its own.

    python bench/transfers.py push REFERENCE PLACE              prints how many bytes it sent
    python bench/transfers.py pull REFERENCE FOLDER             prints how many bytes it received
    python bench/transfers.py read REFERENCE OFFSET LENGTH      prints bytes, and the seconds it took

The clock of a read begins when it is connected. The server and the token come from INGOT_SERVER and
INGOT_TOKEN.
"""

import sys
import time

from ingot.content import malloc, tuning


def main(verb: str, reference: str, *words: str) -> None:
    """Do one thing, in a process that is tuned as that of `ingot` is."""
    tuning.begin()
    malloc.raise_thresholds()
    from ingot.client import Client

    with Client() as client:
        match verb:
            case "push":
                print(client.push(reference, words[0]).sent_bytes)
            case "pull":
                print(client.pull(reference, words[0]).received_bytes)
            case "read":
                client.system.info()  # connects
                list(client.read(reference, length=0))  # imports, asks nothing
                begun = time.perf_counter()
                pieces = client.read(reference, offset=int(words[0]), length=int(words[1]))
                print(sum(map(len, pieces)), time.perf_counter() - begun)
            case _:
                raise SystemExit(f"expected push, pull or read, got {verb}")


if __name__ == "__main__":
    main(*sys.argv[1:])
    tuning.end()
