"""Access tokens that somebody made, changed or kept: each is refused with a typed error, and says nothing."""

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from helpers.servers import Server, running_server
from helpers.transfers import refused
from ingot.server.core import keys
from ingot.v1 import auth_pb2 as pb

ME = pb.GetMeRequest()
PASSWORD = "correct horse battery"
LONG_AGO, SOON = -3600, 3600
Claims = dict[str, object]


class Forge:
    """Makes tokens as the server does, and as it never would."""

    def __init__(self, server: Server) -> None:
        self.key = keys.derived(server.app.folder.secret, keys.ACCESS_TOKENS)
        self.server_id = server.app.folder.server_id
        request = pb.LoginRequest(username="sara", password=PASSWORD)
        self.good = server.stubs().auth.Login(request).access_token
        self.login = int(server.stubs(self.good).auth.GetMe(ME).token.rpartition("/")[2])

    def claims(self, **changed: object) -> Claims:
        now = int(time.time())
        whole: Claims = {
            "iss": "ingot",
            "aud": self.server_id,
            "sub": "users/sara",
            "login": self.login,
            "iat": now,
            "exp": now + 900,
            "jti": uuid.uuid4().hex,
        }
        return {name: value for name, value in {**whole, **changed}.items() if value is not None}

    def signed(self, header: Mapping[str, object] | None = None, **changed: object) -> str:
        """Return a token with the right signature, whatever its header and claims say."""
        return self.assembled(
            {"alg": "HS256", "typ": "JWT", **(header or {})}, self.claims(**changed), self.key
        )

    @staticmethod
    def assembled(
        header: Mapping[str, object],
        claims: object,
        key: bytes | None,
        digest: Callable[[], "hashlib._Hash"] = hashlib.sha256,
    ) -> str:
        told = f"{_encoded(header)}.{_encoded(claims)}"
        signature = b"" if key is None else hmac.new(key, told.encode(), digest).digest()
        return f"{told}.{_text(signature)}"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _encoded(value: object) -> str:
    return _text(json.dumps(value).encode())


def _in(seconds: float) -> int:
    return int(time.time() + seconds)


def _public_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _swapped(token: str, part: int, text: str) -> str:
    parts = token.split(".")
    parts[part] = text
    return ".".join(parts)


Attack = Callable[[Forge], str]
NOT_OURS: dict[str, Attack] = {
    "none": lambda forge: forge.assembled({"alg": "none"}, forge.claims(), None),
    "None with a signature": lambda forge: forge.assembled({"alg": "None"}, forge.claims(), forge.key),
    "no algorithm": lambda forge: forge.assembled({"typ": "JWT"}, forge.claims(), forge.key),
    "another algorithm, our key": lambda forge: forge.assembled(
        {"alg": "HS512"}, forge.claims(), forge.key, hashlib.sha512
    ),
    "an algorithm that is no text": lambda forge: forge.signed({"alg": ["HS256"]}),
    "wrong key": lambda forge: jwt.encode(forge.claims(), b"x" * 32, "HS256"),
    "empty key": lambda forge: forge.assembled({"alg": "HS256"}, forge.claims(), b""),
    "a public key as the key": lambda forge: forge.assembled({"alg": "HS256"}, forge.claims(), _public_key()),
    "key of another purpose": lambda forge: jwt.encode(
        forge.claims(), keys.derived(b"s" * 32, keys.OPERATION_TOKENS), "HS256"
    ),
    "kid of an empty file": lambda forge: forge.assembled(
        {"alg": "HS256", "kid": "../../../../dev/null"}, forge.claims(), b""
    ),
    "kid that chooses a key": lambda forge: forge.assembled(
        {"alg": "HS256", "kid": "' UNION SELECT 'k' --"}, forge.claims(), b"k"
    ),
    "a key in the header": lambda forge: forge.assembled(
        {"alg": "HS256", "jwk": {"kty": "oct", "k": _text(b"k" * 32)}}, forge.claims(), b"k" * 32
    ),
    "a key at an address": lambda forge: forge.assembled(
        {"alg": "HS256", "jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/x"},
        forge.claims(),
        b"k" * 32,
    ),
    "no signature": lambda forge: _swapped(forge.good, 2, ""),
    "signature of another token": lambda forge: _swapped(forge.good, 2, forge.signed().rpartition(".")[2]),
    "changed claims": lambda forge: _swapped(forge.good, 1, _encoded(forge.claims(sub="users/admin"))),
    "claims that are no object": lambda forge: forge.assembled({"alg": "HS256"}, ["users/admin"], forge.key),
    "claims that are no JSON": lambda forge: _swapped(forge.good, 1, _text(b"{")),
    "no base64": lambda forge: "!!.!!.!!",
    "nothing": lambda forge: "..",
    "four parts": lambda forge: f"{forge.good}.x",
    "huge": lambda forge: forge.signed(padding="x" * 3000),
    "deep": lambda forge: f"{_text(b'[' * 700)}.{_text(b'[' * 700)}.x",
    # Signed by us, and yet not for this, as after a mistake or with a key that leaked in part.
    "wrong audience": lambda forge: forge.signed(aud="another-server"),
    "several audiences": lambda forge: forge.signed(aud=[forge.server_id, "another-server"]),
    "no audience": lambda forge: forge.signed(aud=None),
    "wrong issuer": lambda forge: forge.signed(iss="elsewhere"),
    "no issuer": lambda forge: forge.signed(iss=None),
    "no end": lambda forge: forge.signed(exp=None),
    "an end in words": lambda forge: forge.signed(exp="never"),
    "an end that is true": lambda forge: forge.signed(exp=True),
    "made in the future": lambda forge: forge.signed(iat=_in(SOON), exp=_in(2 * SOON)),
    "not yet good": lambda forge: forge.signed(nbf=_in(SOON)),
    "no beginning": lambda forge: forge.signed(iat=None),
    "no login": lambda forge: forge.signed(login=None),
    "an unknown login": lambda forge: forge.signed(login=forge.login + 1000),
    "a login in words": lambda forge: forge.signed(login="1 OR 1=1"),
    "a huge login": lambda forge: forge.signed(login=2**80),
    "older than its login, as a restored database may have one": lambda forge: forge.signed(iat=_in(-120)),
    "somebody else's login": lambda forge: forge.signed(sub="users/admin"),
    "no user": lambda forge: forge.signed(sub=None),
    "a user that is no text": lambda forge: forge.signed(sub=7),
    "no id": lambda forge: forge.signed(jti=None),
    "an extension we must know": lambda forge: forge.signed({"crit": ["exp"]}),
    "a payload elsewhere": lambda forge: forge.signed({"b64": False, "crit": ["b64"]}),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(Path(tmp_path_factory.mktemp("jwt"))) as running:
        running.token("sara")
        running.admin.auth.ChangePassword(pb.ChangePasswordRequest(name="users/sara", new_password=PASSWORD))
        yield running


@pytest.fixture(scope="module")
def forge(server: Server) -> Forge:
    return Forge(server)


def test_the_forge_makes_what_the_server_makes(server: Server, forge: Forge) -> None:
    assert server.stubs(forge.signed()).auth.GetMe(ME).principal == "users/sara"
    assert server.stubs(forge.signed({"kid": "of no meaning"})).auth.GetMe(ME).principal == "users/sara"


@pytest.mark.contract("S0-97", "S1-50")
@pytest.mark.parametrize("attack", NOT_OURS.values(), ids=NOT_OURS)
def test_what_we_did_not_make_for_this_is_invalid(server: Server, forge: Forge, attack: Attack) -> None:
    token = attack(forge)
    with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID") as facts:
        server.stubs(token).auth.GetMe(ME)
    assert "Traceback" not in facts["message"]
    assert token not in facts["message"]


@pytest.mark.parametrize("ended", [LONG_AGO, -1])
def test_what_has_ended_is_expired(server: Server, forge: Forge, ended: int) -> None:
    with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED"):
        server.stubs(forge.signed(iat=_in(2 * LONG_AGO), exp=_in(ended))).auth.GetMe(ME)


def test_a_token_of_another_server_is_invalid_here(server: Server, forge: Forge, tmp_path: Path) -> None:
    with running_server(tmp_path) as other:
        other.token("sara")
        other.admin.auth.ChangePassword(pb.ChangePasswordRequest(name="users/sara", new_password=PASSWORD))
        with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
            other.stubs(forge.good).auth.GetMe(ME)
