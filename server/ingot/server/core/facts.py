"""Facts about a version that are read from its files: what a model consists of, what a dataset holds.

They come from the headers of the files soon after the version is ready, and better ones from a validation,
which reads everything. Kept as JSON beside the version, so bounded.
"""

from collections.abc import Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from ingot.server.core.names import VersionName

MOST_COLUMNS = 200
MOST_DTYPES = 32
MOST_NAME = 200  # characters of a column or an architecture
LARGEST = 2**63 - 1


class VersionFacts(BaseModel):
    """What the files of a version say; what nobody could tell is empty."""

    model_config = ConfigDict(frozen=True)

    parameters: int = Field(default=0, description="Numbers in the tensors of a model.")
    tensors: int = 0
    architecture: str = Field(default="", description="For example LlamaForCausalLM.")
    dtypes: tuple[str, ...] = Field(default=(), description="Types of the tensors, the most frequent first.")
    records: int | None = Field(default=None, description="Records of all data files.")
    estimated: bool = Field(default=False, description="The records were estimated from a part of them.")
    columns: tuple[str, ...] = Field(default=(), description="Names of the fields of the records.")
    validated: bool = Field(default=False, description="A validation read all of it.")

    @property
    def of_model(self) -> bool:
        """Return whether they tell anything about a model."""
        return bool(self.parameters or self.tensors or self.architecture or self.dtypes)

    @property
    def of_dataset(self) -> bool:
        """Return whether they tell anything about a dataset."""
        return self.records is not None or bool(self.columns)


class FactsStore(Protocol):
    """Facts of versions, named by their uids, and which versions are still to be read."""

    def want(self, version_uid: str) -> None:
        """Queue a version to be read, unless it was."""
        ...

    def wanted(self, size: int) -> Sequence[tuple[str, VersionName]]:
        """Return up to `size` versions that are to be read, with their names, the newest first."""
        ...

    def skip(self, version_uid: str) -> None:
        """Take a version off the queue: nothing can be read of it."""
        ...

    def put(self, version_uid: str, facts: VersionFacts) -> bool:
        """Store the facts of a version and take it off the queue; return whether they are stored.

        What a validation told stays, unless another validation tells anew. The artifact shows them when
        `latest` points at the version.
        """
        ...
