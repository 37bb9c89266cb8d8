"""Tables of who may come in: namespaces, users, credentials, logins, and requests that may be repeated."""

import peewee

from ingot.server.storage.tables.base import Table


class Namespace(Table):
    """What owns artifacts; every user has one of the same id. One that is deleted keeps its id taken."""

    id = peewee.TextField(primary_key=True)
    created = peewee.FloatField()
    deleted = peewee.FloatField(null=True)
    approval = peewee.TextField(default="", constraints=[peewee.SQL("DEFAULT ''")])  # JSON


class Member(Table):
    """A user who belongs to a namespace."""

    namespace = peewee.TextField()
    user = peewee.TextField()
    role = peewee.TextField()
    created = peewee.FloatField()

    class Meta:
        primary_key = peewee.CompositeKey("namespace", "user")
        without_rowid = True
        indexes = ((("user", "role"), False), (("namespace", "role"), False))


class Account(Table):
    """What a namespace has, and may have; a quota that is NULL is the server's default."""

    namespace = peewee.TextField(primary_key=True)
    size_bytes = peewee.IntegerField()
    stored_bytes = peewee.IntegerField()
    size_quota = peewee.IntegerField(null=True)
    stored_quota = peewee.IntegerField(null=True)
    revision = peewee.IntegerField()
    overhead_bytes = peewee.IntegerField(default=0, constraints=[peewee.SQL("DEFAULT 0")])


class User(Table):
    """A person."""

    id = peewee.TextField(primary_key=True)
    uid = peewee.TextField(unique=True)
    display_name = peewee.TextField()
    role = peewee.TextField()
    created = peewee.FloatField()
    disabled = peewee.IntegerField(default=0)


class ApiToken(Table):
    """A credential; the number in its name is its key, and its secret is kept as a digest only."""

    id = peewee.IntegerField(primary_key=True)
    user = peewee.ForeignKeyField(User, index=False)
    digest = peewee.BlobField(unique=True)
    display_name = peewee.TextField()
    role = peewee.TextField()
    scopes = peewee.TextField()  # separated by spaces
    created = peewee.FloatField()
    expires = peewee.FloatField(null=True)
    used = peewee.FloatField(null=True)
    revoked = peewee.FloatField(null=True)
    maker = peewee.TextField(default="", constraints=[peewee.SQL("DEFAULT ''")])  # id of a user, or system
    login = peewee.IntegerField(default=0, constraints=[peewee.SQL("DEFAULT 0")])  # number, 0 for none
    parent = peewee.IntegerField(
        default=0, constraints=[peewee.SQL("DEFAULT 0")]
    )  # id of a token, 0 for none

    class Meta:
        indexes = ((("user", "id"), False), (("maker",), False), (("parent",), False))


class Credential(Table):
    """A secret of a user for an outside host, sealed (sealing.py)."""

    user = peewee.ForeignKeyField(User, index=False)
    host = peewee.TextField()
    sealed = peewee.BlobField()
    created = peewee.FloatField()
    updated = peewee.FloatField()

    class Meta:
        primary_key = peewee.CompositeKey("user", "host")
        without_rowid = True


class Password(Table):
    """The hash of a user's password."""

    user = peewee.ForeignKeyField(User, column_name="user", primary_key=True)
    hashed = peewee.TextField()
    changed = peewee.FloatField()

    class Meta:
        without_rowid = True


class Login(Table):
    """A user who signed in with a password; `generation` is that of the refresh token that is good now."""

    number = peewee.IntegerField(primary_key=True)
    user = peewee.ForeignKeyField(User, column_name="user", index=False)
    nonce = peewee.BlobField()
    generation = peewee.IntegerField()
    created = peewee.FloatField()
    refreshed = peewee.FloatField()
    expires = peewee.FloatField(index=True)
    ended = peewee.FloatField(null=True)

    class Meta:
        indexes = ((("user", "number"), False),)


class Request(Table):
    """A request that was carried out, so that a repetition finds its result."""

    principal = peewee.TextField()
    method = peewee.TextField()
    request_id = peewee.TextField()
    digest = peewee.BlobField()
    result = peewee.TextField()
    created = peewee.FloatField(index=True)

    class Meta:
        primary_key = peewee.CompositeKey("principal", "method", "request_id")
        without_rowid = True


class Counter(Table):
    """The last number given to a word."""

    word = peewee.TextField(primary_key=True)
    value = peewee.IntegerField()
