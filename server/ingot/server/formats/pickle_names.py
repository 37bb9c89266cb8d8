"""Names that model files need, and modules that nearly every place has: what `pickle_imports` judges by.

Looked up, not read through. A function is here only when it computes with numbers and calls nothing that it
is given; a class when making one, and setting what it holds, runs no code of the file. `scipy.stats` is not:
its distributions run text that they are made with.
"""

import re

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
SAFE: dict[str, frozenset[str]] = {
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
    "pandas": frozenset(
        ["DataFrame", "Series", "Categorical", "Timestamp", "Timedelta", "Period", "Interval", "NA", "NaT"]
    ),
    "scipy.interpolate": frozenset({"interp1d"}),
    "scipy.interpolate._interpolate": frozenset({"interp1d"}),
    "scipy.spatial._ckdtree": frozenset({"cKDTree"}),
    "scipy._lib.array_api_compat.numpy._aliases": frozenset({"asarray"}),
    "joblib.numpy_pickle": frozenset({"NumpyArrayWrapper", "NDArrayWrapper", "ZNDArrayWrapper"}),
    "joblib.numpy_pickle_compat": frozenset({"NDArrayWrapper", "ZNDArrayWrapper"}),
}
CLASS = re.compile(r"[A-Z]\w*|_[A-Z]\w*|__pyx_unpickle_\w+|newObj")
PATTERNS = tuple(  # of modules, and of names in them
    (re.compile(module), re.compile(name))
    for module, name in (
        (
            r"torch",
            (
                r"\w*Storage|b?float(16|32|64|8_\w+)?|u?int(8|16|32|64)?|q?u?int\w+|bfloat16|half|double|long|short|bool"
                r"|complex(32|64|128)|per_\w+_affine\w*|strided|sparse_\w+"
            ),
        ),
        (
            r"torch|torch\.nn\.functional|torch\._C\._nn",  # what layers keep as their activation
            (
                r"r?relu|relu6|leaky_relu|prelu|gelu|[cs]?elu|silu|mish|hard(tanh|swish|sigmoid|shrink)|tanh(shrink)?"
                r"|soft(plus|sign|shrink|min)|(log)?sigmoid|(log_)?softmax|glu"
            ),
        ),
        (
            r"torch\.(_utils|_tensor)",
            r"_rebuild_[a-z0-9_]*(tensor|parameter|storage)[a-z0-9_]*|_rebuild_from_type_v2",
        ),
        (
            r"numpy",
            (
                r"bool_?|u?int(8|16|32|64|c|p)?|u?(byte|short|long|longlong)|float(16|32|64|128)|half|single|(long)?double"
                r"|complex(64|128|256)|c(single|double|longdouble)|str_|bytes_|void|object_|datetime64|timedelta64"
            ),
        ),
        (
            r"numpy",  # ufuncs, which FunctionTransformer keeps
            (
                r"add|subtract|multiply|(true_|floor_)?divide|f?mod|power|remainder|negative|positive|absolute|fabs|rint"
                r"|sign|exp2?|expm1|log(2|10|1p)?|sqrt|cbrt|square|reciprocal|(arc)?(sin|cos|tan)h?|arctan2|deg2rad"
                r"|rad2deg|f?(maximum|minimum)|floor|ceil|trunc|is(finite|inf|nan)|logical_(and|or|not|xor)|hypot|clip"
                r"|(greater|less)(_equal)?|(not_)?equal|logaddexp2?|heaviside"
            ),
        ),
        (r"numpy\._?core\.(multiarray|numeric)", r"_reconstruct|scalar|_frombuffer"),
        (
            r"numpy\.random\.(_\w+|bit_generator)",
            rf"{CLASS.pattern}|__(randomstate|generator|bit_generator)_ctor",
        ),
        (r"scipy\.sparse\.\w+", r"(bsr|coo|csc|csr|dia|dok|lil)_(matrix|array)"),
        (r"sklearn\.metrics(\._\w+)+", r"_passthrough_scorer|\w+_(score|error|loss)"),
        (
            r"sklearn\.feature_selection\._\w+",
            r"f_(classif|regression|oneway)|r_regression|chi2|mutual_info_(classif|regression)",
        ),
        (r"pandas", r"\w+(Index|Dtype)|Index"),
        (
            r"pandas\.(_libs|core\.indexes)\.[\w.]+",
            r"_new_\w*Index|_unpickle_(block|timestamp)|_(timedelta|nat)_unpickle|__nat_unpickle",
        ),
    )
)
WITH_CLASSES = re.compile(  # whose classes hold data
    r"(sklearn|torch\.nn\.modules|torch\.nn\.utils\.(weight_norm|spectral_norm|prune)|torch\.ao\.nn|torch\.optim"
    r"|scipy\.(sparse|interpolate|spatial)|numpy\.polynomial|pandas\.(core|arrays|_libs)|xgboost|lightgbm|catboost)"
    r"(\.|$)"
)
TESTS = re.compile(r"(^|\.)_?(tests?|testing|conftest|externals|datasets|computation|clipboard)(\.|$)")
SUSPECT = re.compile(
    r"(os|sys|subprocess|system|popen\w*|Popen|eval|exec\w*|compile|__import__|import_module|getattr|open|"
    r"spawn\w*|runstring|loads?|read_pickle|Unpickler|FunctionType|CodeType|partial|rmtree|unlink|remove|"
    r"check_output|check_call|call|run|request|urlopen|CDLL|LoadLibrary|PyDLL)"
)
COMMON = frozenset(  # libraries that are nearly everywhere; what is not listed above is refused
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
        "deepspeed",
        "safetensors",
        "tokenizers",
        "peft",
        "diffusers",
        "bitsandbytes",
        "sentencepiece",
        "tensorboard",
        "onnx",
        "onnxruntime",
        "sympy",  # torch needs it; it runs text as Python
        "mpmath",
        "networkx",
        "markupsafe",
        "filelock",
        "tqdm",
        "regex",
        "packaging",
        "six",
        "attr",
        "attrs",
        "py",
        "pluggy",
        "pygments",
        "certifi",
        "charset_normalizer",
        "idna",
        "h5py",
        "hjson",
        "msgpack",
        "ninja",
        "cpuinfo",
        "pynvml",
        "einops",
        "threadpoolctl",
        "google",
        "grpc",
        "pyarrow",
        "virtualenv",
        "gunicorn",
        "twisted",
        "tornado",
        "zmq",
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
OTHER_STANDARD = frozenset(  # of Pythons older and newer than this one: who loads may have another
    [
        "_android_support",
        "_apple_support",
        "_bootsubprocess",
        "_colorize",
        "_interpchannels",
        "_interpqueues",
        "_interpreters",
        "_ios_support",
        "_py_warnings",
        "_pyrepl",
        "_sysconfig",
        "aifc",
        "annotationlib",
        "asynchat",
        "audioop",
        "binhex",
        "cgi",
        "cgitb",
        "chunk",
        "compression",
        "crypt",
        "dummy_threading",
        "formatter",
        "imghdr",
        "macpath",
        "mailcap",
        "msilib",
        "nis",
        "nntplib",
        "ossaudiodev",
        "parser",
        "pipes",
        "profiling",
        "sndhdr",
        "spwd",
        "sunau",
        "symbol",
        "telnetlib",
        "uu",
        "xdrlib",
    ]
)
