"""Log or download artifacts: the client of peers/mlflow_proxy.py, run by a Python that has mlflow.

python peers/mlflow_client.py push KEY PLACE | pull KEY NAME FOLDER
"""

import sys
from pathlib import Path

import mlflow

_EXPERIMENT = "0"


def main(verb: str, key: str, place: str, folder: str = "") -> None:
    """Do one thing with the run that has the key for its name."""
    client = mlflow.MlflowClient()
    runs = client.search_runs([_EXPERIMENT], f"attributes.run_name = '{key}'")
    run = (runs[0] if runs else client.create_run(_EXPERIMENT, run_name=key)).info.run_id
    if verb == "pull":
        mlflow.artifacts.download_artifacts(run_id=run, artifact_path=place, dst_path=folder)
    elif Path(place).is_dir():
        client.log_artifacts(run, place, Path(place).name)
    else:
        client.log_artifact(run, place)


if __name__ == "__main__":
    main(*sys.argv[1:])
