"""The check of files whose format has none of its own: that they can be read, and whether they are programs.

Programs are told by how they begin (ELF, PE, Mach-O, Java class, `#!`) or by their name. A program under the
name of data is an error; one that says what it is, such as the Python code of a model, is a warning, because
loading an artifact that brings code may run it.
"""

from ingot.server.core.params import FileReport
from ingot.server.formats.seam import READ_BYTES, Family, Format, Head, Inspection

NAME = "plain"
_PROGRAMS = (
    b"\x7fELF",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
)
_PE_POINTER = 0x3C  # where an MZ file says where its PE header is


def check(inspection: Inspection) -> FileReport:
    """Read a file to its end; what it holds is not looked at."""
    done = 0
    while piece := inspection.source.read(READ_BYTES):
        done += len(piece)
        inspection.progress(done)
    return FileReport(
        path=inspection.path,
        size_bytes=inspection.source.size,
        format=extension(inspection.path),
        validator=NAME,
    )


def check_program(inspection: Inspection) -> FileReport:
    """Report a program, and read it to its end."""
    report = check(inspection)
    named = extension(inspection.path)
    if f".{named}" in _PROGRAM_NAMES or not named or inspection.rules.allow_unsafe:
        inspection.findings.warning(
            "program", "This file is a program; whoever runs it trusts its author.", byte_offset=0
        )
    else:
        message = f"This file is a program, though it is named .{named}; expected content without code."
        inspection.findings.error("hidden_program", message, byte_offset=0)
    return report.model_copy(update={"format": "program"})


def unknown(path: str) -> Format:
    """Return the format of a file that no other format fits; its name is the extension of the file."""
    return Format(extension(path) or "none", Family.OTHER, check)


def extension(path: str) -> str:
    """Return what follows the last dot of a file's name, in lower case."""
    stem, dot, last = path.rpartition("/")[2].rpartition(".")
    return last.lower() if dot and stem else ""


def _is_program(head: Head) -> bool:
    data = head.data
    if data.startswith(_PROGRAMS):
        return True
    if data.startswith(b"#!"):
        return data[2:64].lstrip(b" \t").startswith(b"/")
    if data.startswith(b"MZ") and len(data) >= _PE_POINTER + 4:
        header = int.from_bytes(data[_PE_POINTER : _PE_POINTER + 4], "little")
        return data[header : header + 4] == b"PE\0\0"
    return False


_PROGRAM_NAMES = (
    *(".py", ".pyc", ".pyd", ".sh", ".bash", ".js", ".rb", ".pl", ".ps1", ".bat", ".cmd", ".vbs"),
    *(".so", ".dylib", ".dll", ".exe", ".com", ".msi", ".class", ".jar", ".bin"),
)

FORMATS = (
    Format(
        "program",
        Family.OTHER,
        check_program,
        extensions=tuple(each for each in _PROGRAM_NAMES if each not in (".bin", ".com")),
        recognises=_is_program,
    ),
)
