"""What could crash its process, tried in one of its own

`python -P probe.py NAME [ARGUMENT...]` prints one JSON object.
"""

import ctypes
import json
import os
import sys


def _load(path):
    "Load a library: None, or the loader's error"
    try:
        ctypes.CDLL(path)
    except OSError as e:
        return str(e)
    return None


def _mapped(name):
    "The file that a loaded library's name led to; None if it is not loaded"
    with open("/proc/self/maps") as maps:
        paths = {line.split(maxsplit=5)[5].strip() for line in maps if "/" in line}
    stem = name.split(".so")[0] + ".so"
    matching = [path for path in sorted(paths) if os.path.basename(path).startswith(stem)]
    return matching[0] if matching else None


def _in_fork(work):
    "Run `work` in a fork that has loaded nothing and return its answer; a crash is an answer too"
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, json.dumps(work()).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read()
    status = os.waitpid(child, 0)[1]
    return json.loads(answer) if answer else f"the process ended with status {status}"


def libraries(*paths):
    "Load each library by itself: the errors, by path"
    errors = {path: _in_fork(lambda path=path: _load(path)) for path in paths}
    return {"errors": {path: error for path, error in errors.items() if error}}


def resolve(*names):
    "Which file each library's name leads to in a process that has loaded nothing; None: none"
    return {name: _in_fork(lambda name=name: None if _load(name) else _mapped(name)) for name in names}


class _StopAtNativePart:
    "Ends the import of torch once its native part is loaded"

    def find_spec(self, name, path=None, target=None):
        if "torch._C" in sys.modules and name.startswith("torch"):
            raise KeyboardInterrupt


def torch(whole="", *names):
    "Import torch, up to its native part or the whole; then which libraries can be loaded by name"
    if not whole:
        sys.meta_path.insert(0, _StopAtNativePart())
    version = None
    try:
        import torch

        version = torch.__version__
    except KeyboardInterrupt:
        pass
    return {"version": version, "by_name": {n: None if _load(n) else _mapped(n) for n in names}}


def _sibling(name):
    "Import a plain module of this folder without its package"
    from importlib.util import module_from_spec, spec_from_file_location

    folder = os.path.dirname(os.path.abspath(__file__))
    spec = spec_from_file_location(name, os.path.join(folder, f"{name}.py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ctranslate2():
    "Import CTranslate2 without torch and load cuBLAS as the package does, also where there is no GPU"
    sys.modules["torch"] = None
    import ctranslate2

    problem = _sibling("cuda").preload_cuda()[1]
    try:
        devices = getattr(ctranslate2, "get_cuda_device_count", int)()
    except RuntimeError as e:
        devices = str(e)
    cublas = None if problem or _load("libcublas.so.12") else _mapped("libcublas.so.12")
    return {
        "version": getattr(ctranslate2, "__version__", None),
        "file": ctranslate2.__file__,
        "devices": devices,
        "cublas": cublas,
        "problem": problem,
    }


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


def nvml():
    "What the driver says of the GPUs"
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as e:
        return {"error": str(e), "gpus": []}
    version = pynvml.nvmlSystemGetCudaDriverVersion()
    return {
        "driver": _text(pynvml.nvmlSystemGetDriverVersion()),
        "cuda": f"{version // 1000}.{version % 1000 // 10}",
        "gpus": [_gpu(pynvml, i) for i in range(pynvml.nvmlDeviceGetCount())],
    }


def _gpu(nv, index):
    "One GPU; None for what it does not tell"
    handle = nv.nvmlDeviceGetHandleByIndex(index)

    def ask(call, *args):
        try:
            return call(handle, *args)
        except nv.NVMLError:
            return None

    memory, usage = nv.nvmlDeviceGetMemoryInfo(handle), ask(nv.nvmlDeviceGetUtilizationRates)
    ecc, processes = ask(nv.nvmlDeviceGetEccMode), ask(nv.nvmlDeviceGetComputeRunningProcesses)
    kinds = nv.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nv.NVML_AGGREGATE_ECC
    return {
        "name": _text(nv.nvmlDeviceGetName(handle)),
        "total_mb": memory.total >> 20,
        "free_mb": memory.free >> 20,
        "capability": ask(nv.nvmlDeviceGetCudaComputeCapability),
        "busy": usage and usage.gpu,
        "ecc": ecc and bool(ecc[0]),
        "errors": ask(nv.nvmlDeviceGetTotalEccErrors, *kinds),
        "throttle": ask(nv.nvmlDeviceGetCurrentClocksThrottleReasons),
        "celsius": ask(nv.nvmlDeviceGetTemperature, nv.NVML_TEMPERATURE_GPU),
        "processes": [process.pid for process in processes or []],
    }


def media(*codecs):
    "Which decoders PyAV brings"
    import av

    def has(name):
        try:
            return bool(av.Codec(name, "r"))
        except Exception:
            return False

    return {"version": av.__version__, "lacks": [codec for codec in codecs if not has(codec)]}


def cut(source, target, start, seconds):
    "Write a part of a recording's sound as a WAV file, 16 kHz, mono"
    import wave

    import av

    rate = 16000
    resampler, parts = av.AudioResampler("s16", "mono", rate), []
    with av.open(source) as container:
        for frame in container.decode(audio=0):
            for out in resampler.resample(frame):
                parts.append(bytes(out.planes[0])[: out.samples * 2])
    first, length = int(float(start) * rate) * 2, int(float(seconds) * rate) * 2
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"".join(parts)[first : first + length])
    return {"seconds": float(seconds)}


def gpu_work():
    "Data to the GPU and back with CTranslate2, and a small matrix product with torch, with seconds"
    import importlib.util
    import time

    _sibling("cuda").preload_cuda()
    import ctranslate2
    import numpy as np

    start, ones = time.perf_counter(), np.ones((4, 4), np.float32)
    on_gpu = ctranslate2.StorageView.from_array(ones).to_device(ctranslate2.Device.cuda)
    back = np.array(on_gpu.to_device(ctranslate2.Device.cpu))
    right = on_gpu.device == "cuda" and bool((back == ones).all())
    answer = {"right": right, "ctranslate2_s": time.perf_counter() - start}
    if not importlib.util.find_spec("torch"):
        return answer
    import torch

    start, matrix = time.perf_counter(), torch.ones(512, 512, device="cuda")
    right = right and float((matrix @ matrix)[0, 0]) == 512
    return answer | {"right": right, "product_s": time.perf_counter() - start}


PROBES = {f.__name__: f for f in (libraries, resolve, torch, ctranslate2, nvml, media, cut, gpu_work)}

if __name__ == "__main__":
    print("\n" + json.dumps(PROBES[sys.argv[1]](*sys.argv[2:])))
