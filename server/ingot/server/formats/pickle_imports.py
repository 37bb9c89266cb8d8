"""What a pickle may import: a list of what model files need, and everything else judged by where it is from.

Loading a pickle calls what it imports, so a name decides. Names that models need are SAFE. Everything else of
Python itself and of the libraries that nearly every place has (they are where ways to run code are found anew
each month) is UNSAFE without being listed one by one: a list of bad names is never complete. A module that
nobody else has, such as the one with the class of somebody's model, is UNKNOWN: loading needs it to be
installed, so whoever loads has decided to run it. A dotted name reaches into what a module imported
(`collections`, `_sys.modules`), so it is never safe; `_SUSPECT` catches the same of one step.
"""

import re
import sys
from enum import StrEnum


class Verdict(StrEnum):
    """What importing a name means."""

    SAFE = "safe"
    UNKNOWN = "unknown"
    UNSAFE = "unsafe"


_BUILTINS = frozenset(
    [
        "set",
        "frozenset",
        "bytearray",
        "bytes",
        "str",
        "int",
        "float",
        "bool",
        "complex",
        "list",
        "dict",
        "tuple",
        "object",
        "slice",
        "range",
        "xrange",
        "long",
        "unicode",
        "Exception",
        "ValueError",
        "TypeError",
        "KeyError",
        "NoneType",
        "Ellipsis",
        "NotImplemented",
    ]
)
_REBUILD = re.compile(r"_rebuild_[a-z0-9_]*(tensor|parameter|storage)[a-z0-9_]*")
_SAFE: dict[str, frozenset[str]] = {
    "builtins": _BUILTINS,
    "__builtin__": _BUILTINS,
    "collections": frozenset({"OrderedDict", "defaultdict", "deque", "Counter"}),
    "_codecs": frozenset({"encode"}),
    "copyreg": frozenset({"_reconstructor"}),
    "copy_reg": frozenset({"_reconstructor"}),
    "datetime": frozenset({"datetime", "date", "time", "timedelta", "timezone"}),
    "decimal": frozenset({"Decimal"}),
    "fractions": frozenset({"Fraction"}),
    "uuid": frozenset({"UUID"}),
    "pathlib": frozenset({"Path", "PurePath", "PosixPath", "PurePosixPath", "WindowsPath"}),
    "array": frozenset({"array", "_array_reconstructor"}),
    "argparse": frozenset({"Namespace"}),
    "types": frozenset({"SimpleNamespace"}),
    "numpy": frozenset({"dtype", "ndarray", "matrix", "record", "recarray", "poly1d"}),
    "numpy.ma": frozenset({"MaskedArray"}),
    "numpy.ma.core": frozenset({"MaskedArray", "_mareconstruct"}),
    "numpy.rec": frozenset({"recarray", "record"}),
    "numpy.random.mtrand": frozenset({"RandomState"}),
    "torch": frozenset({"Size", "device", "Tensor", "Generator"}),
    "torch.nn.parameter": frozenset({"Parameter", "Buffer"}),
    "torch.storage": frozenset({"UntypedStorage", "TypedStorage"}),
    "torch.serialization": frozenset({"_get_layout"}),
    "torch.jit._pickle": frozenset(
        [
            "build_intlist",
            "build_tensorlist",
            "build_doublelist",
            "build_boollist",
            "build_tensor_from_id",
            "restore_type_tag",
        ]
    ),
    "scipy.interpolate": frozenset({"interp1d"}),
    "scipy.interpolate._interpolate": frozenset({"interp1d"}),
    "scipy.spatial._ckdtree": frozenset({"cKDTree"}),
    "scipy._lib.array_api_compat.numpy._aliases": frozenset({"asarray"}),
    "joblib.numpy_pickle": frozenset({"NumpyArrayWrapper", "NDArrayWrapper", "ZNDArrayWrapper"}),
    "joblib.numpy_pickle_compat": frozenset({"NDArrayWrapper", "ZNDArrayWrapper"}),
}
_TORCH_TYPES = re.compile(
    r"(\w*Storage|b?float(16|32|64|8_\w+)?|u?int(8|16|32|64)?|q?u?int\w+|bfloat16|half|double|long|short|bool"
    r"|complex(32|64|128)|per_\w+_affine\w*|strided|sparse_\w+)"
)
# Functions of numbers alone, which models keep as a part: what a layer or a transformation does to values.
_TORCH_FUNCTIONS = re.compile(
    r"relu6?|r?relu|leaky_relu|prelu|gelu|[csr]?elu|silu|mish|hard(tanh|swish|sigmoid|shrink)|soft(plus|sign|shrink)"
    r"|tanh(shrink)?|(log)?sigmoid|(log_)?softmax|softmin|glu"
)
_NUMPY_TYPES = re.compile(
    r"bool_?|u?int(8|16|32|64|c|p)?|u?(byte|short|longlong)|u?long|float(16|32|64|128)|half|single|(long)?double"
    r"|complex(64|128|256)|c(single|double|longdouble)|str_|bytes_|void|object_|datetime64|timedelta64"
)
_NUMPY_FUNCTIONS = re.compile(
    r"add|subtract|multiply|(true_|floor_)?divide|power|mod|fmod|remainder|negative|positive|absolute|fabs|rint|sign"
    r"|exp2?|expm1|log(2|10|1p)?|sqrt|cbrt|square|reciprocal|arc(sin|cos|tan)h?|arctan2|(sin|cos|tan)h?"
    r"|deg2rad|rad2deg|f?(maximum|minimum)|floor|ceil|trunc|isfinite|isinf|isnan|logical_(and|or|not|xor)"
    r"|greater(_equal)?|less(_equal)?|(not_)?equal|logaddexp2?|hypot|heaviside|clip"
)
_SCIPY_SPARSE = re.compile(r"(bsr|coo|csc|csr|dia|dok|lil)_(matrix|array)")
_SKLEARN_FUNCTIONS = {
    re.compile(r"sklearn\.metrics(\.\w+)+"): re.compile(r"_passthrough_scorer|\w+_(score|error|loss)"),
    re.compile(r"sklearn\.feature_selection\.\w+"): re.compile(
        r"f_(classif|regression|oneway)|r_regression|chi2|mutual_info_(classif|regression)"
    ),
}
_NUMPY_CORE = re.compile(r"numpy\.(_)?core\.(multiarray|numeric)")
_RANDOM = re.compile(r"numpy\.random\.(_\w+|bit_generator)")
_RANDOM_MAKERS = ("__randomstate_ctor", "__generator_ctor", "__bit_generator_ctor")
_CLASS = re.compile(r"[A-Z]\w*|_[A-Z]\w*|__pyx_unpickle_\w+|newObj")
_WITH_CLASSES = re.compile(  # whose classes hold data
    r"(sklearn|torch\.nn\.modules|torch\.nn\.utils\.(weight_norm|spectral_norm|prune)|torch\.ao\.nn|torch\.optim"
    r"|scipy\.sparse|scipy\.interpolate|scipy\.spatial|numpy\.polynomial|pandas\.core|pandas\._libs"
    r"|xgboost|lightgbm|catboost)(\.|$)"
)
_TESTS = re.compile(r"(^|\.)_?(tests?|testing|conftest|externals|datasets|computation|clipboard)(\.|$)")
_SUSPECT = re.compile(
    r"(os|sys|subprocess|system|popen\w*|Popen|eval|exec\w*|compile|__import__|import_module|getattr|open|"
    r"spawn\w*|runstring|loads?|read_pickle|Unpickler|FunctionType|CodeType|partial|rmtree|unlink|remove|"
    r"check_output|check_call|call|run|request|urlopen|CDLL|LoadLibrary|PyDLL)"
)
_COMMON = frozenset(  # libraries that are nearly everywhere; what is not listed above is refused
    [
        "numpy",
        "torch",
        "torchvision",
        "torchaudio",
        "scipy",
        "pandas",
        "sklearn",
        "joblib",
        "cloudpickle",
        "dill",
        "pip",
        "setuptools",
        "distutils",
        "pkg_resources",
        "wheel",
        "requests",
        "urllib3",
        "aiohttp",
        "httpx",
        "yaml",
        "IPython",
        "ipykernel",
        "jupyter_client",
        "pytest",
        "_pytest",
        "nose",
        "tensorflow",
        "keras",
        "jax",
        "transformers",
        "datasets",
        "huggingface_hub",
        "accelerate",
        "fsspec",
        "paramiko",
        "fabric",
        "psutil",
        "numba",
        "matplotlib",
        "PIL",
        "cffi",
        "pydantic",
        "jinja2",
        "click",
        "flask",
        "django",
        "sqlalchemy",
        "ray",
        "dask",
        "triton",
        "__builtin__",
        "commands",
        "copy_reg",
        "cPickle",
        "cStringIO",
        "popen2",
        "httplib",
        "urllib2",
        "exceptions",
        "__main__",
        "nt",
        "posix",
        "ntpath",
        "posixpath",
        "test",
        "idlelib",
        "lib2to3",
        "imp",
        "asyncore",
        "smtpd",
    ]
)
_OLD_DATA = frozenset({"__main__"})  # a class of the script that wrote the file
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_name(text: str) -> bool:
    """Return whether a text can name a module or something in one."""
    return _NAME.fullmatch(text) is not None


def judge(module: str, name: str) -> Verdict:
    """Return what it means that a pickle imports `name` of `module`."""
    if "." not in name and _is_safe(module, name):
        return Verdict.SAFE
    if not is_name(module) or not is_name(name):
        return Verdict.UNSAFE
    top = module.partition(".")[0]
    if top in _OLD_DATA and _CLASS.fullmatch(name):
        return Verdict.UNKNOWN
    if top in sys.stdlib_module_names or top in _COMMON or top in ("nt", "posix"):
        return Verdict.UNSAFE
    if any(_SUSPECT.fullmatch(part) for part in name.split(".")):
        return Verdict.UNSAFE
    return Verdict.UNKNOWN


def _is_safe(module: str, name: str) -> bool:
    if name in _SAFE.get(module, ()):
        return True
    if module == "torch" and _TORCH_TYPES.fullmatch(name):
        return True
    if module in ("torch", "torch.nn.functional", "torch._C._nn"):
        return _TORCH_FUNCTIONS.fullmatch(name) is not None
    if module == "numpy":
        return any(each.fullmatch(name) for each in (_NUMPY_TYPES, _NUMPY_FUNCTIONS))
    if module.startswith("scipy.sparse.") and _SCIPY_SPARSE.fullmatch(name):
        return True
    if module in ("torch._utils", "torch._tensor"):
        return _REBUILD.fullmatch(name) is not None or name == "_rebuild_from_type_v2"
    if _NUMPY_CORE.fullmatch(module):
        return name in ("_reconstruct", "scalar", "_frombuffer")
    if _RANDOM.fullmatch(module):
        return _CLASS.fullmatch(name) is not None or name in _RANDOM_MAKERS
    if not _WITH_CLASSES.match(module) or _TESTS.search(module):
        return False
    if any(where.fullmatch(module) and what.fullmatch(name) for where, what in _SKLEARN_FUNCTIONS.items()):
        return True
    return _CLASS.fullmatch(name) is not None and _SUSPECT.fullmatch(name) is None
