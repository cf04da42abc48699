"""What could break its process, tried in one of its own: `python -P probe.py NAME [ARGUMENT...]` prints one JSON object"""
import ctypes, json, os, sys


def _load(path):
    "None, or what the loader says"
    try: ctypes.CDLL(path)
    except OSError as e: return str(e)


def _mapped(name):
    "The file that a loaded library's name led to; None if it is not loaded"
    with open("/proc/self/maps") as maps: files = {line.split(maxsplit=5)[5].strip() for line in maps if "/" in line}
    stem = name.split(".so")[0] + ".so"
    return next((f for f in sorted(files) if os.path.basename(f).startswith(stem)), None)


def _alone(work):
    "What `work` returns, from a fork that nothing has been loaded into; a crash is an answer too"
    out, end = os.pipe()
    if not (child := os.fork()):
        os.write(end, json.dumps(work()).encode())
        os._exit(0)
    os.close(end)
    with open(out, "rb") as f: said = f.read()
    status = os.waitpid(child, 0)[1]
    return json.loads(said) if said else f"the process ended with status {status}"


def libraries(*paths):
    "Each library alone: its fault, or None"
    return {"faults": {p: fault for p in paths if (fault := _alone(lambda p=p: _load(p)))}}


def found(*names):
    "Which file each library's name leads to in a process that has loaded nothing; None: none"
    return {n: _alone(lambda n=n: None if _load(n) else _mapped(n)) for n in names}


def torch(whole="", *names):
    "Import torch, up to its last native part or the whole; then which libraries can be had by name"
    class Stop:
        def find_spec(self, name, path=None, target=None):
            if not whole and "torch._C" in sys.modules and name.startswith("torch"): raise KeyboardInterrupt
    sys.meta_path.insert(0, Stop())
    version = None
    try:
        import torch
        version = torch.__version__
    except KeyboardInterrupt: pass
    return {"version": version, "by_name": {n: None if _load(n) else _mapped(n) for n in names}}


def _sibling(name):
    "A plain module of this folder, without its package"
    from importlib.util import module_from_spec, spec_from_file_location
    spec = spec_from_file_location(name, os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ctranslate2():
    "Import CTranslate2 without torch and load cuBLAS as the package does; where there is no GPU too"
    sys.modules["torch"] = None
    import ctranslate2
    loaded, problem = _sibling("cuda").preload_cuda()
    version, count = getattr(ctranslate2, "__version__", None), getattr(ctranslate2, "get_cuda_device_count", int)
    try: devices = count()
    except RuntimeError as e: devices = str(e)
    by_name = None if problem or _load("libcublas.so.12") else _mapped("libcublas.so.12")
    return {"version": version, "file": ctranslate2.__file__, "devices": devices, "cublas": by_name, "problem": problem}


def nvml():
    "What the driver says of the cards"
    import pynvml as nv
    try: nv.nvmlInit()
    except nv.NVMLError as e: return {"fault": str(e), "cards": []}
    text = lambda s: s.decode() if isinstance(s, bytes) else s
    def asked(call, *args):
        try: return call(*args)
        except nv.NVMLError: return None
    cards, version = [], nv.nvmlSystemGetCudaDriverVersion()
    for i in range(nv.nvmlDeviceGetCount()):
        h = nv.nvmlDeviceGetHandleByIndex(i)
        memory, busy, ecc = nv.nvmlDeviceGetMemoryInfo(h), asked(nv.nvmlDeviceGetUtilizationRates, h), asked(nv.nvmlDeviceGetEccMode, h)
        others = asked(nv.nvmlDeviceGetComputeRunningProcesses, h) or []
        cards.append({"name": text(nv.nvmlDeviceGetName(h)), "total_mb": memory.total >> 20, "free_mb": memory.free >> 20,
                      "capability": asked(nv.nvmlDeviceGetCudaComputeCapability, h), "busy": busy and busy.gpu, "ecc": ecc and bool(ecc[0]),
                      "errors": asked(nv.nvmlDeviceGetTotalEccErrors, h, nv.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nv.NVML_AGGREGATE_ECC),
                      "throttle": asked(nv.nvmlDeviceGetCurrentClocksThrottleReasons, h),
                      "celsius": asked(nv.nvmlDeviceGetTemperature, h, nv.NVML_TEMPERATURE_GPU), "processes": [p.pid for p in others]})
    return {"driver": text(nv.nvmlSystemGetDriverVersion()), "cuda": f"{version // 1000}.{version % 1000 // 10}", "cards": cards}


def media(*codecs):
    "Which decoders PyAV brings"
    import av
    def has(name):
        try: return bool(av.Codec(name, "r"))
        except Exception: return False
    return {"version": av.__version__, "lacks": [c for c in codecs if not has(c)]}


def cut(source, target, start, seconds):
    "A piece of a recording's sound, 16 kHz, mono, as a WAV file"
    import av, wave
    resample, rate = av.AudioResampler("s16", "mono", 16000), 16000
    with av.open(source) as c: sound = b"".join(bytes(o.planes[0])[:o.samples * 2] for f in c.decode(audio=0) for o in resample.resample(f))
    with wave.open(target, "wb") as w:
        w.setnchannels(1), w.setsampwidth(2), w.setframerate(rate)
        w.writeframes(sound[int(float(start) * rate) * 2:][:int(float(seconds) * rate) * 2])
    return {"seconds": float(seconds)}


def card_work():
    "Data to the GPU and back with CTranslate2, and a small matrix product where torch is installed, with seconds"
    import importlib.util, time
    _sibling("cuda").preload_cuda()
    import ctranslate2, numpy as np
    began, ones = time.perf_counter(), np.ones((4, 4), np.float32)
    moved = ctranslate2.StorageView.from_array(ones).to_device(ctranslate2.Device.cuda)
    back = np.array(moved.to_device(ctranslate2.Device.cpu))
    out = {"right": moved.device == "cuda" and bool((back == ones).all()), "ctranslate2_s": time.perf_counter() - began}
    if not importlib.util.find_spec("torch"): return out
    import torch
    began, a = time.perf_counter(), torch.ones(512, 512, device="cuda")
    return out | {"right": out["right"] and float((a @ a)[0, 0]) == 512, "product_s": time.perf_counter() - began}


PROBES = {f.__name__: f for f in (libraries, found, torch, ctranslate2, nvml, media, cut, card_work)}

if __name__ == "__main__":
    print("\n" + json.dumps(PROBES[sys.argv[1]](*sys.argv[2:])))
