"""`ingot-server certs`: certificates for a server and its clients, from a small authority of one's own.

Run again it renews the server's certificate, and adds clients; the authority stays. A server that runs takes
the renewed files by itself.
"""

import argparse
import re
import socket
from collections.abc import Callable
from pathlib import Path

from ingot.server.settings.fields import Settings

_STANDARD_DAYS = 365
_LONGEST_DAYS = 825  # more than that some systems do not take
_CLIENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def declare(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    add_settings: Callable[[argparse.ArgumentParser], None],
) -> None:
    """Add the command to the parser of `ingot-server`."""
    certs = commands.add_parser(
        "certs",
        help="make certificates: a small authority, one for this server, one for each client",
        description="Make certificates in PEM: an authority if there is none yet, one for this server, and "
        "one for each client named.",
        epilog="examples:\n  ingot-server certs --host ingot.example --data .run\n"
        "  ingot-server certs --host ingot.example --client worker-1 --out /etc/ingot/certs",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    certs.add_argument(
        "--out", type=Path, metavar="DIR", help="where to; certs in the data folder if not told"
    )
    certs.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="name or address of the server for its clients (repeat); localhost and this machine's too",
    )
    certs.add_argument(
        "--client", action="append", default=[], metavar="NAME", help="a client to make one for (repeat)"
    )
    certs.add_argument(
        "--days", type=int, default=_STANDARD_DAYS, metavar="N", help=f"life of each ({_STANDARD_DAYS})"
    )
    add_settings(certs)


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Make them and say how to use them; return the exit status. Raises CertificateError."""
    from ingot.server import certificates

    _check(options)
    folder = (options.out or settings.data_dir / "certs").expanduser().absolute()
    hosts = list(dict.fromkeys([*options.host, "localhost", "127.0.0.1", "::1", socket.gethostname()]))
    authority = certificates.Authority.of(folder)
    certificate, key = certificates.write(folder, "server", authority.for_server(hosts, options.days))
    for client in options.client:
        certificates.write(folder, f"client-{client}", authority.for_client(client, options.days))
    serve = (
        f"ingot-server serve --data {settings.data_dir.absolute()} --tls-cert {certificate} --tls-key {key}"
    )
    print(_told(folder, serve, hosts, options.client))
    return 0


def _check(options: argparse.Namespace) -> None:
    from ingot.server.certificates import CertificateError

    if not 0 < options.days <= _LONGEST_DAYS:
        raise CertificateError(f"--days: expected 1 to {_LONGEST_DAYS}, got {options.days}.")
    for client in options.client:
        if not _CLIENT.fullmatch(client):
            raise CertificateError(
                f"--client: expected letters, digits, '.', '_' and '-', at most 64, got {client!r}."
            )


def _told(folder: Path, serve: str, hosts: list[str], clients: list[str]) -> str:
    authority = folder / "ca.pem"
    lines = [
        f"In {folder}:",
        "",
        "  ca.pem       for everybody who connects",
        "  ca.key       signs more of them: keep it safe, best on another machine",
        f"  server.pem   for {', '.join(hosts)}",
        "  server.key",
        *(f"  client-{client}.pem, .key" for client in clients),
        "",
        f"Serve with it:   {serve} --listen 0.0.0.0:7070",
        f"Connect to it:   ingot login --server https://{hosts[0]}:7070 --ca {authority}",
    ]
    if clients:
        mine = folder / f"client-{clients[0]}"
        lines += [
            f"Only clients with a certificate:   add --tls-client-ca {authority}",
            f"As {clients[0]}:   ingot login … --ca {authority} --cert {mine}.pem --key {mine}.key",
        ]
    return "\n".join(lines)
