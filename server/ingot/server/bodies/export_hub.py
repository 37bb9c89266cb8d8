"""Export a version to a repository of the Hub: pulled into the operation's folder, then committed.

What the repository holds already does not travel; when it holds everything there is no commit.
"""

from ingot.client import TransferProgress
from ingot.server.bodies.work import Work
from ingot.server.core import params
from ingot.server.core.hosts import host_of
from ingot.server.sources.hub_commits import HubPlace, HubWriter


def run(work: Work[params.ExportParams]) -> params.ExportResult:
    """Let the repository hold the version."""
    wanted = work.params.destination
    assert isinstance(wanted, params.HubExport)
    (version,) = work.params.versions
    folder = work.folder / "tree"

    def tell(now: TransferProgress) -> None:
        work.progress(now.bytes_moved + now.bytes_reused, now.bytes_total, phase="reading", message=version)

    done = work.client.pull(version, folder, force=True, on_progress=tell)
    files = [file.path for file in work.client.trees.manifest(version).files]
    work.progress(0, done.size_bytes, phase="sending", message=wanted.repository)
    endpoint = work.settings.text("hub_endpoint")
    place = HubPlace(wanted.repository, wanted.repository_kind, wanted.branch, wanted.private)
    writer = HubWriter(endpoint, work.secrets.get(host_of(endpoint), ""))
    commit = writer.hold(place, folder, files, wanted.message or f"Export {version} from Ingot")
    work.log(f"{commit.url} holds {done.digest}" + ("" if commit.changed else ", as it did before"))
    return params.ExportResult(
        path=commit.repository,
        url=commit.url,
        versions=work.params.versions,
        file_count=len(files),
        size_bytes=done.size_bytes,
        written_bytes=done.size_bytes if commit.changed else 0,
    )
