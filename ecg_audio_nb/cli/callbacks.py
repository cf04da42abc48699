"""`ecg callbacks`: the messages that the service sends to backends about their jobs

The list shows what a backend has not accepted. URLs are shown without their secrets. Without `-o` the queue
of this folder is taken, or else that of the service in `ECG_DATA_DIR`.
"""

from typing import Annotated, Optional

import typer

from ecg_audio_nb.cli.options import argument, command_group, exit_on, open_queue, option

callbacks = command_group("List and resend callbacks: messages to backends about jobs.")


FolderOption = Annotated[
    Optional[str],
    option("Folder of the service (default: this one, or ECG_DATA_DIR/service).", "-o", "--output"),
]


def _open_outbox(folder):
    from ecg_audio_nb.service.webhooks import prepare

    queue = open_queue(folder)
    prepare(queue)
    return queue


def _usual_folder():
    "This folder if a queue lies in it, else the service's"
    from pathlib import Path

    from ecg_audio_nb.settings import load_settings

    if Path(".jobs/queue.sqlite").exists():
        return "."
    return str(load_settings().runtime.data_dir / "service")


@callbacks.command("list")
def callbacks_list(
    output: FolderOption = None,
    everything: Annotated[bool, option("Also list delivered messages.", "--all")] = False,
    limit: Annotated[int, option("List at most this many messages, the latest ones.", "--limit")] = 200,
    as_json: Annotated[bool, option("Print one JSON list, with the messages' content.", "--json")] = False,
):
    "List undelivered messages, oldest first."
    import json
    from dataclasses import asdict

    from ecg_audio_nb.audio.fetch import redact
    from ecg_audio_nb.service.webhooks import STATES, messages, outcome_text

    states = STATES if everything else ("waiting", "sending", "dead", "gone")
    with exit_on(ValueError, OSError):
        rows = messages(_open_outbox(output or _usual_folder()), *states, limit=limit)
    if as_json:
        plain = [{**asdict(m), "url": redact(m.url), "body": json.loads(m.body)} for m in rows]
        typer.echo(json.dumps(plain))
        return
    for message in rows:
        answer = ""
        if message.answer is not None:
            outcome = outcome_text(message.status, message.answer)
            answer = f"  ({outcome})" if message.status is None else f"  ({outcome}: {message.answer})"
        where = redact(message.url)
        typer.echo(f"{message.id}  {message.state:<9}  {message.tries:>3}  {message.job}  {where}{answer}")


@callbacks.command("replay")
def callbacks_replay(
    keys: Annotated[list[str], argument("ID...", "Ids of jobs, or beginnings of message ids.")],
    output: FolderOption = None,
):
    """Send messages again under the same ids, with a fresh count of attempts.

    The running service sends them within seconds; without one, the next `ecg serve` does.
    """
    import shlex

    with exit_on(ValueError, OSError):
        from ecg_audio_nb.service.webhooks import replay

        folder = output or _usual_folder()
        queue = _open_outbox(folder)
        for key in keys:
            for message in replay(queue, key, shlex.quote(folder)):
                typer.echo(f"queued again: {message.id} of {message.job}")
