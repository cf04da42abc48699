"""`ecg serve`: transcription over HTTP

The service's jobs lie in `ECG_DATA_DIR/service`, a folder like a batch's: `ecg jobs list -o .../service`
shows them.
"""

from typing import Annotated


from ecg_audio_nb.cli.options import ProfileOption, exit_on, option, overrides, set_option

NETWORK = "Network"


def serve(
    host: Annotated[
        str, option("Address to listen on; any but 127.0.0.1 needs API keys.", "--host", group=NETWORK)
    ] = "127.0.0.1",
    port: Annotated[int, option("Port to listen on, 1 to 65535.", "--port", group=NETWORK)] = 8080,
    without_keys: Annotated[
        bool, option("Accept requests without an API key.", "--without-keys", group=NETWORK)
    ] = False,
    root_path: Annotated[
        str | None,
        option("Path below which a proxy offers the service, such as /ecg.", "--root-path", group=NETWORK),
    ] = None,
    profile: ProfileOption = None,
    set_: set_option("A setting of `ecg settings`, or server.KEY of the service; repeatable.") = None,
):
    """Serve transcription over HTTP.

    Runs as one process that keeps the models loaded. Reads ECG_API_KEYS, ECG_BACKEND_URL and
    ECG_WEBHOOK_SECRET from the environment. SIGTERM stops it after the current stage; unfinished jobs run
    again at the next start.
    """
    with exit_on(ValueError, ImportError, OSError):
        from ecg_audio_nb.models import keep_heaps
        from ecg_audio_nb.service.app import hard_exit, log_as_json, server_settings
        from ecg_audio_nb.service.app import serve as run
        from ecg_audio_nb.settings import load_settings

        keep_heaps()
        given = overrides(set_ or [])
        of_service = [key for key in given if key.startswith("server.")]
        own = {key.removeprefix("server."): given.pop(key) for key in of_service}
        if root_path is not None:
            own["root_path"] = root_path
        limits = server_settings(own, profile)
        settings = load_settings(given, profile)
        log_as_json()
        run(settings, limits, host, port, without_keys)
    hard_exit()
