"""Check `.keras` files: a zip with the configuration, the weights as HDF5 and perhaps assets.

The configuration says what Keras imports and calls (`keras_config.py`); the weights are walked as any HDF5
(`model_h5.py`); whatever else is in the zip is looked through for pickles that run code.
"""

import shutil
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

from ingot.server.core.params import FileReport
from ingot.server.formats import keras_config, model_h5
from ingot.server.formats import zip_entries as zips
from ingot.server.formats.cursor import report_unsafe
from ingot.server.formats.pickle_pieces import Damaged, Window
from ingot.server.formats.pickle_scan import Scan
from ingot.server.formats.seam import Family, FileSource, Format, Head, Inspection
from ingot.server.formats.zip_entries import Part

NAME = "keras"
_CONFIG, _METADATA = "config.json", "metadata.json"
_LOCAL_NAME = 30  # where the name of the first entry begins


def check(inspection: Inspection) -> FileReport:
    """Check the configuration, the weights and all other entries."""
    scan = Scan(inspection.findings, inspection.rules, inspection.progress)
    statistics: dict[str, object] = {}
    try:
        with zips.archive(inspection.source) as archive:
            statistics = _Entries(inspection, archive, scan).run()
    except Damaged as damage:
        scan.damaged(damage, 0)
    except zips.BROKEN as failure:
        scan.damaged(Damaged(f"The zip cannot be read: {failure}", "zip_damaged"), 0)
    inspection.progress(inspection.source.size)
    return FileReport(
        path=inspection.path,
        size_bytes=inspection.source.size,
        format=NAME,
        validator=NAME,
        statistics=statistics,
    )


class _Entries:
    def __init__(self, inspection: Inspection, archive: zipfile.ZipFile, scan: Scan) -> None:
        self._to = inspection
        self._archive = archive
        self._scan = scan
        self._statistics: dict[str, object] = {}

    def run(self) -> dict[str, object]:
        """Look at every entry and return the counts."""
        seen = zips.Seen()
        for entry in self._archive.infolist():
            try:
                start = zips.check_entry(self._to.source, entry, seen)
                self._look_at(entry, start)
            except Damaged as damage:
                self._scan.damaged(damage, entry.header_offset)
            except zips.BROKEN as failure:
                broken = Damaged(f"{entry.filename[:100]!r}: {failure}", "zip_damaged")
                self._scan.damaged(broken, entry.header_offset)
        seen.finish(self._archive)
        if _CONFIG not in seen.names:
            message = f"There is no {_CONFIG}; expected the configuration of a model, as Keras 3 saves it."
            self._to.findings.error("invalid_config", message, byte_offset=0)
        return {"entries": len(seen.names), **self._statistics}

    def _look_at(self, entry: zipfile.ZipInfo, start: int) -> None:
        name = entry.filename
        if name == _CONFIG:
            self._configuration(entry, start)
        elif name.endswith(".h5"):
            self._weights(entry, start)
        elif entry.compress_type == zipfile.ZIP_STORED:
            window = Window(self._to.source, start, start + entry.file_size)
            self._scan.quietly(window, start, f"{name[:100]}: ")
        else:
            with self._archive.open(entry) as opened:
                self._scan.quietly(Window(zips.Opened(opened, entry.file_size)), 0, f"{name[:100]}: ")

    def _configuration(self, entry: zipfile.ZipInfo, start: int) -> None:
        try:
            if entry.file_size > keras_config.MOST_BYTES:
                raise keras_config.ConfigError(f"it has {entry.file_size} bytes")
            unsafe, unknown = keras_config.findings(self._archive.read(entry))
        except keras_config.ConfigError as failure:
            self._to.findings.error("invalid_config", f"{_CONFIG}: {failure}", byte_offset=start)
            return
        for message in unsafe:
            report_unsafe(self._to, message, start)
        for message in unknown:
            self._to.findings.warning("unknown_import", message, byte_offset=start)

    def _weights(self, entry: zipfile.ZipInfo, start: int) -> None:
        inside, size = f"{entry.filename[:100]}: ", entry.file_size
        if entry.compress_type == zipfile.ZIP_STORED:
            source = Part(self._to.source, start, size)
            found = model_h5.walk(replace(self._to, source=source), size, start, inside)
        else:  # HDF5 is read here and there, which packed bytes cannot be; offsets are then in the entry
            with tempfile.NamedTemporaryFile(dir=self._to.folder) as file:
                with self._archive.open(entry) as opened:
                    shutil.copyfileobj(opened, file)
                file.flush()
                with FileSource(Path(file.name)) as unpacked:
                    found = model_h5.walk(replace(self._to, source=unpacked), size, 0, inside)
        self._statistics[entry.filename[:100]] = found


def _recognises(head: Head) -> bool:
    names = (_CONFIG.encode(), _METADATA.encode())
    first = head.data[_LOCAL_NAME:].startswith(names)
    return head.data.startswith(zips.MAGIC) and first and all(each in head.data for each in names)


FORMATS = (Format(NAME, Family.MODEL, check, (".keras",), (), _recognises),)
