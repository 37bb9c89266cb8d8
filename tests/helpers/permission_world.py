"""A server with people, a team and things of every visibility, for the permission matrix.

    with world(folder) as found:
        place = found.place("private", "granted")     # the thing of that row, as that caller means it
        found.stubs["granted"].catalog.GetArtifact(…)

What a request uses up is made anew by the `new_…` methods: by the rules themselves where that is quicker.
"""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from google.protobuf import duration_pb2

from helpers.background import Mover, waiting_server
from helpers.patterns import pattern
from helpers.servers import Server, Stubs
from helpers.transfers import Cut, Pusher, cut
from ingot.server.app import App
from ingot.server.core.artifacts import ArtifactFields, NewVersion, TreeFacts, VersionOrigin, Visibility
from ingot.server.core.grants import Grant
from ingot.server.core.identity import Role, system_caller
from ingot.server.core.members import Member, MemberRole
from ingot.server.core.names import Kind, artifact_name, version_name
from ingot.server.domain.catalog_asked import NewArtifact
from ingot.server.domain.requests import RequestKey
from ingot.server.storage.grants_sql import GrantsSql
from ingot.server.storage.logins_sql import LoginsSql
from ingot.server.storage.members_sql import MembersSql
from ingot.v1 import (
    auth_pb2,
    catalog_pb2,
    operations_pb2,
    training_pb2,
    transfer_pb2,
    workers_pb2,
)

TEAM = "team"
GRANTED = "gita"
USERS = {
    "viewer": "vera",
    "elsewhr": "ella",
    "granted": GRANTED,
    "reader": "rea",
    "writer": "will",
    "owner": "olga",
    "admin": "admin",
}
MEMBERS = {"rea": MemberRole.READER, "will": MemberRole.WRITER, "olga": MemberRole.OWNER}
VISIBLE = {
    "own": Visibility.PRIVATE,
    "private": Visibility.PRIVATE,
    "internal": Visibility.INTERNAL,
    "public": Visibility.PUBLIC,
    "unappr": Visibility.PUBLIC,
}
PASSWORD = "correct horse battery staple"
NINA = "nina"  # somebody whom others do things to
PATH = "data.jsonl"
FILES = {PATH: b'{"text": "one"}\n{"text": "two"}\n'}
CHUNK = cut(pattern("chunk", 100)).chunks[0]
UPLOADED: dict[str, Cut] = {"chunk.bin": cut(pattern("chunk", 100))}
NO_KEY = RequestKey()


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """The thing of one row: artifacts of that name, and the namespace they are in."""

    label: str
    namespace: str

    @property
    def parent(self) -> str:
        return f"namespaces/{self.namespace}"

    @property
    def dataset(self) -> str:
        return f"{self.parent}/datasets/{self.label}"

    @property
    def version(self) -> str:
        return f"{self.dataset}/versions/1"

    @property
    def model(self) -> str:
        return f"{self.parent}/models/{self.label}"


class World:
    """The server, everybody's stubs, and what there is."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._numbers = itertools.count(1)
        self._bad: dict[tuple[str, frozenset[str]], Stubs] = {}
        self.stubs = {"none": server.stubs(), "admin": server.admin}
        for word, user in USERS.items():
            if word != "admin":
                token = server.token(user, Role.VIEWER if word == "viewer" else Role.MEMBER)
                self.stubs[word] = server.stubs(token)
        server.token(NINA)
        self._otto = server.stubs(server.token("otto"))
        self.assigned_token, self.idle_token = server.worker_token(), server.worker_token()
        self.stubs["assignd"] = server.stubs(self.assigned_token)
        self.stubs["worker"] = server.stubs(self.idle_token)
        self._people()
        self._things()
        self._work()

    def number(self) -> int:
        """Return a number that no other call was given."""
        return next(self._numbers)

    def place(self, label: str, caller: str) -> Place:
        """Return the thing of a row as a caller of a column means it."""
        if label == "own":
            return Place(label, USERS.get(caller, "olga"))
        return Place("private" if label in ("team", "any") else label, TEAM)

    def keeper(self, place: Place) -> Stubs:
        """Return the stubs of who may do everything with the things of a namespace."""
        words = {user: word for word, user in USERS.items() if word != "viewer"}
        return self.stubs[words.get(place.namespace, "owner" if place.namespace == TEAM else "admin")]

    # --- what is used up --------------------------------------------------------------------------------

    def new_artifact(self, place: Place) -> str:
        """Make a dataset of the same visibility without versions; return its name."""
        name = artifact_name(f"{place.parent}/datasets/a{self.number()}")
        fields = ArtifactFields(visibility=VISIBLE[place.label])

        def make() -> str:
            wanted = NewArtifact(name.namespace, Kind.DATASET, name.artifact, fields)
            made = self._app.catalog.catalog.create(system_caller(), wanted, NO_KEY, validate_only=False)
            GrantsSql().add(made, Grant(GRANTED, "system", 0.0))
            return str(made.name)

        return self._write(make)

    def new_trash(self, place: Place) -> str:
        """Make such a dataset and put it into the trash."""
        name = self.new_artifact(place)
        gone = functools.partial(
            self._app.catalog.catalog.delete, system_caller(), artifact_name(name), NO_KEY
        )
        self._write(lambda: str(gone()))
        return name

    def new_version(self, place: Place) -> str:
        """Add a READY version to the dataset of a place; return its name."""
        return self._add_version(place.dataset)

    def new_deleted_version(self, place: Place) -> str:
        """Put such a version into the trash."""
        name = self.new_version(place)
        self.keeper(place).catalog.DeleteVersion(catalog_pb2.DeleteVersionRequest(name=name, force=True))
        return name

    def new_alias(self, place: Place) -> str:
        """Point an alias at the version of a place; return its name."""
        name = f"{place.dataset}/aliases/a{self.number()}"
        alias = catalog_pb2.SetAliasRequest(name=name, version=place.version)
        return self.keeper(place).catalog.SetAlias(alias).alias.name

    def new_approval(self, place: Place) -> str:
        """Let the server ask for the approval of a new version; return the approval's name."""
        reference = version_name(self.new_version(place))
        ask = self._app.catalog.approvals.request
        return self._write(lambda: ask(system_caller(), reference, "", NO_KEY).name)

    def new_upload(self, place: Place) -> str:
        """Begin an upload that could be committed; return its name."""
        name, pusher = self.new_open_upload(place), Pusher(self.keeper(place).transfer, ())
        pusher.put_missing(name, UPLOADED)
        pusher.manifest(name, UPLOADED)
        return name

    def new_open_upload(self, place: Place) -> str:
        """Begin an upload; return its name."""
        artifact = f"{place.parent}/datasets/u{self.number()}"
        return Pusher(self.keeper(place).transfer, ()).begin(artifact)

    def new_job(self, place: Place, *, start: bool = False) -> str:
        """Make a training job; return its name."""
        request = training_pb2.CreateTrainingJobRequest(
            dataset=place.dataset, output_artifact=f"{place.parent}/models/j{self.number()}", start=start
        )
        return self.keeper(place).training.CreateTrainingJob(request).training_job.name

    def new_waiting_job(self, place: Place) -> str:
        """Make one that waits for a worker."""
        return self.new_job(place, start=True)

    def new_paused_job(self, place: Place) -> str:
        """Make one that is paused."""
        name = self.new_waiting_job(place)
        self.keeper(place).training.PauseTrainingJob(training_pb2.PauseTrainingJobRequest(name=name))
        return name

    def new_claim(self, place: Place) -> str:
        """Let the worker that has work claim one job more; return `name attempt`."""
        self.new_waiting_job(place)
        return self._claim()

    def new_operation(self, place: Place) -> str:
        """Start a validation, which waits; return its name."""
        request = operations_pb2.StartValidationRequest(version=self.new_version(place))
        return self.keeper(place).operations.StartValidation(request).operation.name

    def new_namespace(self, place: Place) -> str:
        """Make a namespace with the members of the team; return its name."""
        namespace, members = f"{TEAM}-{self.number()}", MembersSql()

        def make() -> str:
            members.add_namespace(namespace, 0.0)
            for user, role in MEMBERS.items():
                members.put(Member(namespace, user, role, 0.0))
            self._app.identity.rights_changed()
            return f"namespaces/{namespace}"

        return self._write(make)

    def new_user(self, place: Place) -> str:
        """Make a user; return the name."""
        user_id = f"user-{self.number()}"
        return self.stubs["admin"].auth.CreateUser(auth_pb2.CreateUserRequest(user_id=user_id)).user.name

    def new_token(self, user: str) -> str:
        """Make a token of a user; return its name."""
        made = self.stubs["admin"].auth.CreateToken(auth_pb2.CreateTokenRequest(parent=f"users/{user}"))
        return made.token.name

    def new_login(self, place: Place) -> str:
        """Sign nina in, whose password was looked at when she was made; return her refresh token."""
        people, secret = self._app.people, self.server.token(NINA)

        def make() -> str:
            nina = people.identity.authenticate(secret)
            return people.logins.open(nina, LoginsSql().password(NINA)).refresh_token

        return self._write(make)

    def new_checkpoint_upload(self, place: Place) -> str:
        """Let the worker that has work begin to upload a checkpoint; return the upload's name."""
        name, attempt = self.work.split()
        target = transfer_pb2.NewCheckpoint(
            training_job=name,
            step=self.number(),
            attempt=int(attempt),
            kind=transfer_pb2.CHECKPOINT_KIND_PERIODIC,
        )
        request = transfer_pb2.BeginUploadRequest(target=transfer_pb2.UploadTarget(checkpoint=target))
        return self.stubs["assignd"].transfer.BeginUpload(request).upload.name

    @contextlib.contextmanager
    def one_more_owner(self) -> Iterator[Stubs]:
        """Give stubs of somebody who owns the team for the length of a with block, and no longer."""
        name = f"namespaces/{TEAM}/members/otto"
        stubs, admin = self._otto, self.stubs["admin"].auth
        admin.SetMember(auth_pb2.SetMemberRequest(name=name, role=auth_pb2.MEMBER_ROLE_OWNER))
        yield stubs
        admin.RemoveMember(auth_pb2.RemoveMemberRequest(name=name))

    # --- credentials that are no good -------------------------------------------------------------------

    def bad(self, word: str, scopes: frozenset[str]) -> Stubs:
        """Return stubs with a token of an administrator that expired, was revoked, or lacks these scopes."""
        key = (word, scopes if word.startswith("without") else frozenset())
        if key not in self._bad:
            self._bad[key] = self.server.stubs(self._bad_token(word, scopes))
        return self._bad[key]

    def _bad_token(self, word: str, scopes: frozenset[str]) -> str:
        admin = self.stubs["admin"].auth
        if word == "expired":
            moment = duration_pb2.Duration(nanos=1000)
            return admin.CreateToken(auth_pb2.CreateTokenRequest(ttl=moment)).secret
        if word == "revoked":
            made = admin.CreateToken(auth_pb2.CreateTokenRequest())
            admin.RevokeToken(auth_pb2.RevokeTokenRequest(name=made.token.name))
            return made.secret
        mine = admin.GetMe(auth_pb2.GetMeRequest()).scopes
        return admin.CreateToken(auth_pb2.CreateTokenRequest(scopes=sorted({*mine} - scopes))).secret

    # --- setting up -------------------------------------------------------------------------------------

    @property
    def _app(self) -> App:
        return self.server.app

    def _write(self, rule: Callable[[], str]) -> str:
        return self._app.database.write(rule).result(100)

    def _people(self) -> None:
        members = MembersSql()

        def make() -> str:
            members.add_namespace(TEAM, 0.0)
            for user, role in MEMBERS.items():
                members.put(Member(TEAM, user, role, 0.0))
            self._app.identity.rights_changed()
            return ""

        self._write(make)
        self.stubs["admin"].auth.ChangePassword(
            auth_pb2.ChangePasswordRequest(name=f"users/{NINA}", new_password=PASSWORD)
        )

    def _things(self) -> None:
        places = [Place("own", user) for user in USERS.values()]
        places += [Place(label, TEAM) for label in VISIBLE if label != "own"]
        for place in places:
            pusher = Pusher(self.keeper(place).transfer, ())
            for name in (place.dataset, place.model):
                pusher.push(FILES, artifact=name)
                visibility = getattr(catalog_pb2, f"VISIBILITY_{VISIBLE[place.label].value}")
                readers = [f"users/{GRANTED}"] if place.namespace == TEAM else []
                self.keeper(place).catalog.SetAccess(
                    catalog_pb2.SetAccessRequest(name=name, visibility=visibility, add_readers=readers)
                )
            alias = catalog_pb2.SetAliasRequest(name=f"{place.dataset}/aliases/prod", version=place.version)
            self.keeper(place).catalog.SetAlias(alias)
        for name in ("datasets/public", "models/public"):
            self._approve(f"namespaces/{TEAM}/{name}/versions/1")

    def _approve(self, version: str) -> None:
        asked = catalog_pb2.RequestApprovalRequest(version=version)
        approval = self.stubs["owner"].catalog.RequestApproval(asked).approval
        self.stubs["admin"].catalog.DecideApproval(
            catalog_pb2.DecideApprovalRequest(
                name=approval.name, decision=catalog_pb2.APPROVAL_DECISION_APPROVE, comment="Good."
            )
        )

    def _work(self) -> None:
        register = workers_pb2.RegisterWorkerRequest(display_name="one")
        self.worker = self.stubs["assignd"].workers.RegisterWorker(register).worker.name
        self.job = self.new_waiting_job(Place("private", TEAM))
        self.work = self._claim()
        assert self.work.split()[0] == self.job
        running = Mover(self.server).begin(self.new_operation(Place("private", TEAM)))
        self.stubs["body"] = self.server.stubs(running)

    def _claim(self) -> str:
        request = workers_pb2.ClaimWorkRequest(worker=self.worker)
        work = self.stubs["assignd"].workers.ClaimWork(request).assignment
        return f"{work.name} {work.attempt}"

    def _add_version(self, dataset: str) -> str:
        target = NewVersion(artifact_name(dataset))
        tree = TreeFacts(bytes(32), 1, 100, 100, "jsonl")
        commit = functools.partial(self._app.catalog.versions.commit, system_caller(), target, tree)
        return self._write(lambda: str(commit(VersionOrigin(), 1.8e9).name))


@contextlib.contextmanager
def world(folder: Path) -> Iterator[World]:
    """Serve such a world for the length of a with block."""
    settings = {
        "calls_per_second": 0.0,
        "public_calls_per_second": 0.0,
        "approval_evidence": (),
        "worker_lease_seconds": 600.0,
        "operation_lease_seconds": 600.0,
        "namespaces_per_member": 10_000,
        "operation_quota": 0,
        "generation_wait_seconds": 1.0,
    }
    with waiting_server(folder, **settings) as server:
        yield World(server)
