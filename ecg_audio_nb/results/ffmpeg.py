"""FFmpeg as a program: find one that can draw captions, probe a file's picture, draw captions into it.

Errors are `FFmpegError`; the message says what is wrong and, where possible, what to do.
"""
import os, re, shutil, subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

BACKGROUND = (1280, 720) # pixels: size of the dark picture that sound alone gets
_INSTALL = "apt install ffmpeg, brew install ffmpeg, conda install -c conda-forge ffmpeg"


class FFmpegError(ValueError):
    "Captions can't be drawn"


def _listed(tool, kind): # kind: "filters" or "encoders"
    "Ask ffmpeg what it was built with"
    command = [tool, "-hide_banner", f"-{kind}"]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


def find()->str: # path of the program
    "Find the first ffmpeg on the PATH that was built with libass; raises `FFmpegError`"
    tools = [tool for folder in os.get_exec_path() if (tool := shutil.which("ffmpeg", path=folder))]
    for tool in tools:
        if re.search(r"^\s*\S+\s+ass\s", _listed(tool, "filters"), re.M): return tool
    reason = f"{tools[0]} was built without libass" if tools else "there is none"
    raise FFmpegError(f"burning captions in needs an ffmpeg with libass on the PATH, and {reason}. Install "
                      f"one ({_INSTALL}), "
                      "or play the .ass file beside the video: VLC and mpv do")


def _first_video(container):
    "Return the first video stream that is no cover picture, or None"
    from av.stream import Disposition
    return next((s for s in container.streams.video if not s.disposition & Disposition.attached_pic), None)


def _shown_size(frame, video)->tuple[int, int]: # width, height
    "Return the size of a frame as players show it: square pixels, rotated"
    width = round(frame.width * (video.sample_aspect_ratio or 1))
    return (frame.height, width) if frame.rotation % 180 else (width, frame.height)


def probe(path)->tuple[tuple[int, int]|None, float|None]: # width and height, pixels; seconds
    "Find the size of a file's picture, as shown, and its duration; None if it has none; raises `FFmpegError`"
    import av
    url, options = f"file:{os.path.abspath(path)}", {"protocol_whitelist": "file"}
    try:
        with av.open(url, options=options, metadata_errors="replace") as container:
            seconds = container.duration / 1e6 if container.duration else None
            video = _first_video(container)
            if not video and not container.streams.audio:
                raise FFmpegError("it has neither picture nor sound")
            if not video: return None, seconds
            return _shown_size(next(container.decode(video)), video), seconds
    except (av.error.FFmpegError, StopIteration) as e:
        reason = getattr(e, "strerror", None) or "its video stream is empty"
        raise FFmpegError(f"no picture can be read from it ({reason})") from None


def _command(tool, media, part, size, seconds)->list[str]:
    "Build the call; it runs in the folder of captions.ass, a name that needs no quoting in a filter"
    command = [tool, "-hide_banner", "-nostdin", "-v", "error", "-y", "-protocol_whitelist", "file",
               "-i", f"file:{os.path.abspath(media)}"]
    if not size:
        dark = f"color=c=0x14161A:s={BACKGROUND[0]}x{BACKGROUND[1]}:r=25"
        command += ["-f", "lavfi", "-i", f"{dark}:d={seconds:.3f}" if seconds else dark]
    command += ["-map", "0:V:0" if size else "1:v", "-map", "0:a?", "-c:a", "copy"]
    command += ["-vf", "ass=captions.ass,pad=ceil(iw/2)*2:ceil(ih/2)*2"] # most encoders take even sizes only
    if part.suffix != ".webm" and " libx264 " in _listed(tool, "encoders"):
        command += ["-c:v", "libx264", "-crf", "18", "-preset", "fast", "-pix_fmt", "yuv420p"]
    if not size: command += ["-shortest"]
    if part.suffix in (".mp4", ".m4v", ".mov"): command += ["-movflags", "+faststart"]
    return [*command, "-progress", "pipe:1", f"file:{part}"]


def _follow(process, seconds, progress):
    "Read ffmpeg's progress until it ends"
    for line in process.stdout:
        time = re.match(r"out_time_us=(\d+)", line)
        if time and progress and seconds: progress(min(int(time[1]) / 1e6 / seconds, 1.0))
    process.wait()


# what ffmpeg adds to the error that stopped it
_AFTERMATH = re.compile(r"Error (initializing|opening|while opening|submitting|writing|muxing|sending) |"
                        r"Could not write header|Conversion failed|Nothing was written|Terminating thread|"
                        r"Task finished with error|Exiting|Last message repeated")


def _reason(lines)->str:
    "Find the error that stopped ffmpeg among its last lines, without the address of the object that met it"
    lines = [re.sub(r"^(\[[^]]* @ 0x[0-9a-f]+\] *)+", "", line.strip()) for line in lines]
    causes = [line for line in lines if line and not _AFTERMATH.match(line)]
    return (causes or lines or [""])[-1].rstrip(" -")


def draw(tool, media, ass, part:Path, size, seconds, progress=None)->None:
    "Draw captions into a picture, or a dark one for sound alone; after an error `part` may be incomplete"
    with TemporaryDirectory() as folder, open(Path(folder) / "errors", "w+b") as errors:
        shutil.copyfile(ass, Path(folder) / "captions.ass")
        command = _command(tool, media, part, size, seconds)
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=errors,
                                   text=True)
        try: _follow(process, seconds, progress)
        finally:
            if process.poll() is None: process.kill()
            process.wait()
            process.stdout.close()
        errors.seek(0)
        lines = errors.read().decode(errors="replace").strip().splitlines()
    if process.returncode:
        raise FFmpegError(_reason(lines) or f"ffmpeg ended with {process.returncode}")
