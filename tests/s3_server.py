"""S3 on this machine, as moto plays it, with the account of the tests in the environment"""
from contextlib import contextmanager

import pytest


class Counting:
    "A WSGI application that counts its requests"
    def __init__(self, app): self.app, self.seen = app, []
    def __call__(self, environ, start):
        self.seen.append(
            (environ["REQUEST_METHOD"], environ["PATH_INFO"], "HTTP_X_AMZ_COPY_SOURCE" in environ)
        )
        return self.app(environ, start)


@contextmanager
def s3_server():
    "A server that holds one empty bucket, `media`; what an earlier server of this process held is gone"
    import boto3
    import s3fs
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in dict(
            AWS_ENDPOINT_URL=f"http://{host}:{port}",
            AWS_ACCESS_KEY_ID="x",
            AWS_SECRET_ACCESS_KEY="x",
            AWS_DEFAULT_REGION="us-east-1",
            AWS_EC2_METADATA_DISABLED="true",
        ).items():
            patch.setenv(name, value)
        server._server.app = counting = Counting(server._server.app)
        for backend in s3_backends[DEFAULT_ACCOUNT_ID].values(): backend.reset()
        s3fs.S3FileSystem.clear_instance_cache()
        boto3.client("s3").create_bucket(Bucket="media")
        try:
            yield counting
        finally:
            server.stop()
            s3fs.S3FileSystem.clear_instance_cache()
