"""`ecg callbacks`: the messages that the service sends to backends about their jobs

The list shows what a backend has not accepted. URLs are shown without their secrets.
"""

from typing import Annotated

import typer

from ecg_audio_nb.cli.options import OutputOption, argument, command_group, exit_on, open_queue, option

callbacks = command_group("List and resend callbacks: messages to backends about jobs.")


def _open_outbox(output):
    from ecg_audio_nb.service.webhooks import prepare

    queue = open_queue(output)
    prepare(queue)
    return queue


@callbacks.command("list")
def callbacks_list(
    output: OutputOption = ".",
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
        rows = messages(_open_outbox(output), *states, limit=limit)
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
    output: OutputOption = ".",
):
    """Send messages again under the same ids, with a fresh count of attempts.

    The running service sends them within seconds; without one, the next `ecg serve` does.
    """
    import shlex

    with exit_on(ValueError, OSError):
        from ecg_audio_nb.service.webhooks import replay

        queue = _open_outbox(output)
        for key in keys:
            for message in replay(queue, key, shlex.quote(output)):
                typer.echo(f"queued again: {message.id} of {message.job}")
