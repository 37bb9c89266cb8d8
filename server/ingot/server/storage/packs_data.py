"""The shelf as a data process sees it: it reads packs and finishes new ones, which the main process takes.

Other than DiskPacks it puts nothing on the shelf and removes nothing from it. Packs are finished and synced
in the ingest folder of this process and stay there until the main process has renamed them; space is set
apart there, too. What the main process does to packs is not told here but seen: by the file itself.
"""

from collections.abc import Sequence

from ingot.server.core.packs import ChunkPlace, PackId, SealedPack
from ingot.server.storage import pack_files, pack_ingest
from ingot.server.storage.packs_disk import DiskPacks


class DataPacks(DiskPacks):
    """A shelf that another process owns; make it while that process runs."""

    def promise(self, size: int, chunks: int) -> int:
        """Return what a stream needs: the main process has set it apart."""
        return self.need_of(size, chunks)

    def unreserve(self, size: int) -> None:
        """Nothing is set apart here."""

    @property
    def ingest(self) -> str:
        """The name of the folder where packs of this process are finished."""
        return self._ingest.name

    def publish(self, finished: Sequence[tuple[pack_ingest.PackSink, SealedPack]]) -> None:
        """Keep finished packs where they are, under names by which they are found."""
        for sink, sealed in finished:
            assert isinstance(sink, pack_files.PackWriter)
            sink.rename(self._ingest / self.file_of(sealed))

    def file_of(self, pack: SealedPack) -> str:
        """Return the name of the file of a finished pack."""
        return f"{pack.id}.pack"

    def delete(self, pack: PackId) -> bool:
        """Remove a finished pack, unless the main process has taken it."""
        (self._ingest / f"{pack}.pack").unlink(missing_ok=True)
        return True

    def let_go(self) -> None:
        """Close packs that the main process has removed or changed, so that their space becomes free."""
        with self._lock:
            known = list(self._files.items())
        for pack, file in known:
            if not file.is_as_opened():
                self._forget(pack)

    def _is_verified(self, file: pack_files.PackReader, place: ChunkPlace) -> bool:
        """Believe what was found before only of a file that is as it was."""
        return self._verified.has(place) and file.is_as_opened()
