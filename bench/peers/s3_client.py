"""Put and get objects of bucket `bench`: the client of peers/versitygw.py, run by a Python that has boto3.

python peers/s3_client.py push PREFIX PLACE | pull PREFIX FOLDER | read KEY OFFSET LENGTH
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
from boto3.s3.transfer import TransferConfig

BUCKET = "bench"
_THREADS = TransferConfig().max_concurrency  # for files too, each with one request


def push(prefix: str, place: Path) -> None:
    """Upload a file or a folder."""
    s3 = boto3.client("s3")
    files = [each for each in place.rglob("*") if each.is_file()] if place.is_dir() else [place]

    def upload(file: Path) -> None:
        s3.upload_file(str(file), BUCKET, f"{prefix}/{file.relative_to(place.parent)}")

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(upload, files))


def pull(prefix: str, folder: Path) -> None:
    """Download everything below a prefix; what it names is the first part of the paths."""
    s3 = boto3.client("s3")
    above = len(prefix.rpartition("/")[0]) + 1

    def download(key: str) -> None:
        place = folder / key[above:]
        place.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(BUCKET, key, str(place))

    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(download, [each["Key"] for page in pages for each in page.get("Contents", ())]))


def read(key: str, offset: int, length: int) -> None:
    """Read a range and print how many bytes came in how many seconds."""
    s3 = boto3.client("s3")
    s3.head_bucket(Bucket=BUCKET)
    begun = time.perf_counter()
    found = s3.get_object(Bucket=BUCKET, Key=key, Range=f"bytes={offset}-{offset + length - 1}")
    print(len(found["Body"].read()), time.perf_counter() - begun)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["push", prefix, place]:
            push(prefix, Path(place))
        case ["pull", prefix, folder]:
            pull(prefix, Path(folder))
        case ["read", key, offset, length]:
            read(key, int(offset), int(length))
