"""Facts of models and datasets, from the rules to the wire."""

from ingot.server.core.facts import VersionFacts
from ingot.server.core.names import Kind
from ingot.v1 import catalog_pb2 as pb


def model_facts(facts: VersionFacts | None, kind: Kind) -> pb.ModelFacts | None:
    """Return the facts of a model; None for a dataset, and when nothing is known."""
    if facts is None or kind is not Kind.MODEL or not facts.of_model:
        return None
    return pb.ModelFacts(
        parameter_count=facts.parameters,
        architecture=facts.architecture,
        dtypes=facts.dtypes,
        tensor_count=facts.tensors,
        validated=facts.validated,
    )


def dataset_facts(facts: VersionFacts | None, kind: Kind) -> pb.DatasetFacts | None:
    """Return the facts of a dataset; None for a model, and when nothing is known."""
    if facts is None or kind is not Kind.DATASET or not facts.of_dataset:
        return None
    return pb.DatasetFacts(
        record_count=facts.records or 0,
        columns=facts.columns,
        estimated=facts.estimated,
        validated=facts.validated,
    )
