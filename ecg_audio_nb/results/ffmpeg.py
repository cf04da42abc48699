"""FFmpeg as a program: find one that can draw captions, ask a file for its picture, draw them into it

What goes wrong is an `FFmpegFault`: its message tells the fault and, where it can, the way out.
"""
import os, re, shutil, subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

BACKGROUND = (1280, 720) # pixels, of the dark picture behind sound alone


class FFmpegFault(ValueError):
    "What keeps captions from being drawn"


def _listed(tool, what): # "filters" or "encoders"
    return subprocess.run([tool, "-hide_banner", f"-{what}"], capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


def find()->str:
    "The first ffmpeg on the PATH that was built with libass"
    tools = [tool for folder in os.get_exec_path() if (tool := shutil.which("ffmpeg", path=folder))]
    for tool in tools:
        if re.search(r"^\s*\S+\s+ass\s", _listed(tool, "filters"), re.M): return tool
    found = f"{tools[0]} was built without libass" if tools else "there is none"
    raise FFmpegFault(f"burning captions in needs an ffmpeg with libass on the PATH, and {found}. Install one (apt install ffmpeg, "
                      "brew install ffmpeg, conda install -c conda-forge ffmpeg), or play the .ass file beside the video: VLC and mpv do")


def probe(path)->tuple[tuple[int, int]|None, float|None]:
    "The size of a file's picture in pixels, as shown (None for sound alone), and its seconds (None if it does not say)"
    import av
    try:
        with av.open(f"file:{os.path.abspath(path)}", options={"protocol_whitelist": "file"}, metadata_errors="replace") as container:
            seconds = container.duration / 1e6 if container.duration else None
            cover = av.stream.Disposition.attached_pic
            video = next((s for s in container.streams.video if not s.disposition & cover), None)
            if not video and not container.streams.audio: raise FFmpegFault("it has neither picture nor sound")
            if not video: return None, seconds
            frame = next(container.decode(video))
            width = round(frame.width * (video.sample_aspect_ratio or 1))
            return ((frame.height, width) if frame.rotation % 180 else (width, frame.height)), seconds
    except (av.error.FFmpegError, StopIteration) as e:
        raise FFmpegFault(f"no picture can be read from it ({getattr(e, 'strerror', None) or 'its video stream is empty'})") from None


def _command(tool, media, part, size, seconds):
    "The call; captions.ass is in the folder it runs in, because that name needs none of a filter's three layers of quoting"
    x264 = part.suffix != ".webm" and " libx264 " in _listed(tool, "encoders")
    dark = f"color=c=0x14161A:s={BACKGROUND[0]}x{BACKGROUND[1]}:r=25" + (f":d={seconds:.3f}" if seconds else "")
    return [tool, "-hide_banner", "-nostdin", "-v", "error", "-y", "-protocol_whitelist", "file", "-i", f"file:{os.path.abspath(media)}",
            *([] if size else ["-f", "lavfi", "-i", dark]),
            "-map", "0:V:0" if size else "1:v", "-map", "0:a?", "-c:a", "copy",
            "-vf", "ass=captions.ass,pad=ceil(iw/2)*2:ceil(ih/2)*2", # most encoders take even sizes only
            *(["-c:v", "libx264", "-crf", "18", "-preset", "fast", "-pix_fmt", "yuv420p"] if x264 else []),
            *([] if size else ["-shortest"]),
            *(["-movflags", "+faststart"] if part.suffix in (".mp4", ".m4v", ".mov") else []),
            "-progress", "pipe:1", f"file:{part}"]


def draw(tool, media, ass, part:Path, size, seconds, progress=None)->None:
    "Draw captions into a picture, or a dark one behind sound; `part` may be left half written"
    with TemporaryDirectory() as folder, open(Path(folder) / "said", "w+b") as said:
        shutil.copyfile(ass, Path(folder) / "captions.ass")
        run = subprocess.Popen(_command(tool, media, part, size, seconds), cwd=folder, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=said, text=True)
        try:
            for line in run.stdout:
                at = re.match(r"out_time_us=(\d+)", line)
                if at and progress and seconds: progress(min(int(at[1]) / 1e6 / seconds, 1.0))
            run.wait()
        finally:
            if run.poll() is None: run.kill()
            run.wait()
            run.stdout.close()
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    if run.returncode: raise FFmpegFault(lines[-1] if lines else f"ffmpeg ended with {run.returncode}")
